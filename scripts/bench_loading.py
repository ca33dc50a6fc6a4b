"""Measures the memory that loading a model takes on the host above the model itself.

    python scripts/bench_loading.py                           # 1.24 B parameters in bfloat16, five files
    python scripts/bench_loading.py --folder <model folder> --dtype float32
    python scripts/bench_loading.py --mesh fsdp=4             # four CPU devices, each keeping its part

A checkpoint of the shape of Llama-3.2-1B with random bfloat16 weights is written first (2.5 GB in the folder
for temporary files, removed at the end). A fresh process then loads it while a thread reads the process's
memory from the operating system. Printed: the bytes of the parameters, and the peak above what was there
before and the parameters: of the memory that the process owns, and with the pages of the mapped checkpoint,
which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

LLAMA_1B = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131072,
    "rope_theta": 500000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


def write_checkpoint(folder: Path, layers: int, files: int) -> None:
    """Random bfloat16 tensors, divided over files in the order of the layers."""
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save_file

    from inters_jax.models.decoder import abstract_model
    from inters_jax.models.hf.config_json import config_from_hf
    from inters_jax.models.hf.families import tensors
    from inters_jax.models.hf.folder import INDEX, shapes_by_path

    description = {**LLAMA_1B, "num_hidden_layers": layers}
    config = config_from_hf(description)
    shapes = shapes_by_path(abstract_model(config)[1])
    wanted: dict[str, tuple[int, ...]] = {}
    rows = tensors(config)
    for layer in range(layers):
        for row in rows:
            if row.stacked or not layer:
                inner = [shapes[path][1 if row.stacked else 0 :] for path in row.paths]
                wanted[row.name.format(layer=layer)] = row.file_shape(inner)
    total = sum(math.prod(shape) for shape in wanted.values())
    generator = np.random.default_rng(0)
    places: dict[str, str] = {}
    held: dict[str, np.ndarray] = {}
    written = 0
    for number, (name, shape) in enumerate(wanted.items(), start=1):
        # Random bits of numbers between 0.0078 and 2: cheap, and no two alike.
        bits = generator.integers(0x3C00, 0x4000, shape, dtype=np.uint16)
        held[name] = bits.view(ml_dtypes.bfloat16)
        if number == len(wanted) or sum(a.size for a in held.values()) > total / files:
            written += 1
            file = f"model-{written:05d}.safetensors"
            save_file(held, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(held, file)
            held = {}
    (folder / "config.json").write_text(json.dumps(description))
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 2 * total}, "weight_map": places}))


def memory() -> dict[str, int]:
    """Bytes of this process: `anonymous` (its own) and `all` (with mapped files)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    size = lambda key: int(fields[key].split()[0]) * 1024  # noqa: E731
    return {"anonymous": size("RssAnon"), "all": size("VmRSS")}


def measure(folder: str, dtype: str, mesh: str) -> None:
    """Loads in this process and prints one JSON line."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from inters_jax.mesh import make_mesh, parameter_shardings
    from inters_jax.models.decoder import abstract_model, logical_axes
    from inters_jax.models.hf.config_json import config_from_hf
    from inters_jax.models.hf.folder import load

    jax.jit(lambda x: x + 1)(jnp.zeros(8)).block_until_ready()  # the backend itself is not what we measure
    _, params = abstract_model(config_from_hf(folder), param_dtype=dtype)
    shardings = parameter_shardings(make_mesh(mesh), logical_axes(params), params) if mesh else None
    before, peak, done = memory(), memory(), threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            for key, value in memory().items():
                peak[key] = max(peak[key], value)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model = load(folder, dtype=dtype, param_shardings=shardings)
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    jax.block_until_ready(leaves)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    size = sum(leaf.nbytes for leaf in leaves)
    stacked = model.layers.mlp.up.kernel[...]
    layer = sum(leaf.nbytes for leaf in leaves if leaf.shape[0] == stacked.shape[0]) // stacked.shape[0]
    above = {f"{key}_above": peak[key] - before[key] - size for key in peak}
    print(json.dumps({"parameters": size, "one_layer": layer, "seconds": seconds, **above}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", help="a model folder; without it one is made and removed")
    parser.add_argument("--dtype", default="bfloat16", help="of the loaded parameters")
    parser.add_argument("--mesh", default="", help="such as fsdp=4: so many devices of the CPU")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--files", type=int, default=5)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.folder, args.dtype, args.mesh)
        return
    environment = dict(os.environ)
    if args.mesh:
        count = math.prod(int(part.split("=")[1]) for part in args.mesh.split(","))
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={count}"
    with tempfile.TemporaryDirectory(prefix="bench_loading.") as work:
        folder = args.folder or work
        if not args.folder:
            write_checkpoint(Path(folder), args.layers, args.files)
        command = [sys.executable, __file__, "--measure", "--folder", folder, "--dtype", args.dtype]
        done = subprocess.run(
            [*command, "--mesh", args.mesh], env=environment, check=True, capture_output=True, text=True
        )
    found = json.loads(done.stdout.splitlines()[-1])
    mega = lambda key: f"{found[key] / 1e6:,.0f} MB"  # noqa: E731
    print(f"parameters           {mega('parameters')} as {args.dtype}, one layer {mega('one_layer')}")
    print(
        f"peak above them      {mega('anonymous_above')}; with pages of the mapped files {mega('all_above')}"
    )
    print(f"time                 {found['seconds']:.1f} s")


if __name__ == "__main__":
    main()
