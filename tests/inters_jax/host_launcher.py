"""One host of a run on a store that is there already; JAX_COORDINATOR_ADDRESS and the like say which.

python host_launcher.py MODEL_DIR STORE_DIR HEARTBEAT_TIMEOUT '{"train_steps": 24, ...}'

A "model" among the settings is the shape of a DecoderConfig.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from training_stand_ins import run_train

from inters_jax import hosts
from inters_jax.models.config import DecoderConfig


def main():
    run, store, timeout, given = sys.argv[1:]
    settings = json.loads(given)
    if "model" in settings:
        settings["model"] = DecoderConfig(**settings["model"])
    with hosts.one_fate():
        hosts.join_hosts(heartbeat_timeout=int(timeout))
        run_train(Path(run), Path(store), **({"learning_rate": 0.001} | settings))


if __name__ == "__main__":
    main()
