"""What is written about a judgment of a model: manifest, metrics as JSON, and tables that people read.

A result is one JSON object: `manifest` (what was judged, with what, from which files), `metrics` (task or
ranking -> name -> value) and `counts`. Pages and tables of results are made in `pages`, comparisons in
`comparison`.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, file_sha256, write_text

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
# Shown first, in this order, when a task has them; the others follow by name.
HEADLINES = (
    "nDCG@10", "RR@10", "R@100", "accuracy", "macro_f1", "exact_match", "f1", "set_f1", "rouge_l", "bleu_1",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Python and the installed versions of the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def tokenizer_of(loaded: Any) -> str:
    """The tokenizer of a LoadedModel; one without is refused."""
    if loaded.tokenizer_path is None:
        raise UserError(f"{loaded.description}: the model came without a tokenizer; set TOKENIZER")
    return str(loaded.tokenizer_path)


def manifest(loaded: Any, **more: Any) -> dict[str, Any]:
    """Everything that identifies a judgment; `loaded` is a LoadedModel, `more` what the command adds."""
    import jax

    tokenizer = Path(tokenizer_of(loaded))
    file = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    return {
        "model": loaded.description,
        "model_fingerprint": loaded.fingerprint,
        "tokenizer": tokenizer.name if tokenizer.suffix else tokenizer.name + "/",
        "tokenizer_sha256": file_sha256(file) if file.is_file() else None,
        "dtype": str(loaded.model.dtype),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "versions": versions(),
        **more,
    }


def output_folder(output_dir: str | None, model_dir: Any, *names: str) -> Path:
    """OUTPUT_DIR, or a folder inside the model's when that is a local one."""
    if output_dir is not None:
        return Path(output_dir)
    if isinstance(model_dir, str | Path) and Path(model_dir).is_dir():
        return Path(model_dir, *names)
    raise UserError("the model is no local folder: set OUTPUT_DIR")


def write_json(path: str | Path, value: Any) -> None:
    """Write readable JSON; NaN is refused, for other programs cannot read it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; the first column is text, the others are numbers.

    >>> print(table(["task", "nDCG@10"], [["a", "0.5000"]]))
    | task | nDCG@10 |
    |------|--------:|
    | a    |  0.5000 |
    """
    body = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in [list(header), *body]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
        return "| " + " | ".join([f"{cells[0]:<{widths[0]}}", *padded[1:]]) + " |"

    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), "|" + "|".join(rule) + "|", *map(line, body)])


def number(value: Any) -> str:
    """A metric value as the tables show it.

    >>> number(0.123456), number(12), number(None)
    ('0.1235', '12', '-')
    """
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def headline_first(names: Iterable[str]) -> list[str]:
    """Metric names, the usual headline metrics first."""
    return sorted(names, key=lambda n: (HEADLINES.index(n) if n in HEADLINES else len(HEADLINES), n))


def read_result(path: str | Path) -> dict[str, Any]:
    """A results.json, or the one in a folder."""
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no such file; evaluate and rerank write results.json in their OUTPUT_DIR")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    if not isinstance(value, dict) or not {"metrics", "manifest"} <= value.keys():
        raise UserError(f"{path}: not a result of evaluate or rerank: metrics or manifest are missing")
    return value


def _plain(value: Any) -> Any:
    """Numpy and jax scalars and arrays for json."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
