"""The manifest of a result: what identifies the model, the tokenizer, the device and the libraries."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, file_sha256

LIBRARIES = (
    "inters-jax",
    "jax",
    "jaxlib",
    "flax",
    "numpy",
    "seqio",
    "tensorflow",
    "tokenizers",
    "transformers",
)


def versions() -> dict[str, str]:
    """Installed versions of Python and of the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def tokenizer_of(loaded: Any) -> str:
    """The tokenizer path of a LoadedModel.

    Raises:
      UserError: the model came without a tokenizer.
    """
    if loaded.tokenizer_path is None:
        raise UserError(f"{loaded.description}: the model came without a tokenizer; set TOKENIZER")
    return str(loaded.tokenizer_path)


def manifest_of(loaded: Any, **more: Any) -> dict[str, Any]:
    """Everything that identifies a result.

    Args:
      loaded: a LoadedModel.
      **more: what the command adds.
    """
    import jax  # slow to start, and comparing results needs none

    tokenizer = Path(tokenizer_of(loaded))
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return {
        "model": loaded.description,
        "model_fingerprint": loaded.fingerprint,
        "hub": loaded.hub,
        "tokenizer": tokenizer.name if tokenizer.suffix else tokenizer.name + "/",
        "tokenizer_sha256": file_sha256(file) if file.is_file() else None,
        "dtype": loaded.model.precision.name,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        **more,
    }


def output_folder(output_dir: str | None, model_dir: Any, *names: str) -> Path:
    """OUTPUT_DIR, or by default the folder `names` inside a local model folder.

    Raises:
      UserError: neither is given.
    """
    if output_dir is not None:
        return Path(output_dir)
    if isinstance(model_dir, str | Path) and Path(model_dir).is_dir():
        return Path(model_dir, *names)
    raise UserError("the model is not a local folder: set OUTPUT_DIR")
