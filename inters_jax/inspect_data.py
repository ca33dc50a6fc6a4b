"""`python -m inters_jax.inspect_data`: show a token store as one HTML page.

    python -m inters_jax.inspect_data --gin.STORE_DIR=stores/inters \\
        --gin.OUTPUT=page.html

The page shows sequences token by token with their loss mask, what was left out and why, lengths, mixing
rates and the shares drawn, and packed rows. It needs no network and no server.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from inters_jax.command_line import run_command
from inters_jax.data import provenance
from inters_jax.data.token_store import TokenStore
from inters_jax.inspection import numbers, rendering, sampling, token_text
from inters_jax.reports import inspection_page
from inters_jax.settings.tools import InspectSettings
from seqio_tasks import own_data
from seqio_tasks.base import write_text


def inspect_data(settings: InspectSettings) -> Path:
    """Write a page about a token store."""
    begin = time.monotonic()
    own_data.register(settings.datasets)
    store = TokenStore.open(settings.store_dir)
    shown = sampling.named_tasks(store, settings.tasks or None)
    texts = token_text.open_texts(store.manifest, settings.tokenizer)
    sample = sampling.choose(
        store, shown, texts, examples=settings.examples, budget=settings.max_bytes, seed=settings.seed
    )
    found: dict[sampling.Pick, rendering.Rendering] = {}
    reasons: dict[str, str] | None = None
    if settings.render:
        file = token_text.find_tokenizer(settings.tokenizer or store.manifest["tokenizer"]["name"])
        raw = provenance.raw_folder(settings.raw_dir)
        found, reasons = rendering.render(store, sample.picks, raw_dir=raw, tokenizer=file)
    epoch = numbers.epoch_numbers(store, settings.seed)
    # A row needs one position less than its sequence has tokens, but training gives it all of them.
    positions = settings.max_length or store.manifest["settings"].get("max_length") or store.longest
    text = inspection_page.page(
        store,
        tasks=[numbers.task_numbers(store, task) for task in shown],
        epoch=epoch,
        packed=numbers.packed_numbers(store, epoch, max_length=positions, seed=settings.seed),
        sample=sample,
        renderings=found,
        not_rendered=reasons,
        seed=settings.seed,
    )
    target = Path(settings.output)
    write_text(target, text)
    for task, reason in (reasons or {}).items():
        print(f"template and shots unknown: {task}: {reason}")
    total = sum(store.sequences(task, pass_) for task in shown for pass_ in range(store.passes(task)))
    print(
        f"{target}: {len(sample.picks):,} of {total:,} examples, {len(shown)} tasks, "
        f"{len(text.encode()) / 1e6:.1f} MB, in {time.monotonic() - begin:.1f} s"
    )
    return target


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_command(inspect_data)
