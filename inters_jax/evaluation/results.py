"""results.json: what `evaluate` and `rerank` write about a model.

A result is one JSON object: `manifest` (what was measured, with what, from which files: `manifest`),
`metrics` (task or ranking -> metric -> value) and `counts`. Pages and tables are made in `reports`,
comparisons in `comparison`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seqio_tasks.base import UserError, file_sha256, read_json, write_text

# Shown first, in this order, when a task has them; the others follow by name.
HEADLINES = (
    "nDCG@10", "RR@10", "R@100", "accuracy", "macro_f1", "exact_match", "f1", "set_f1", "rouge_l", "bleu_1",
)  # fmt: skip


def headline_first(names: Iterable[str]) -> list[str]:
    """Sort metric names: the usual headline metrics first, the others by name.

    >>> headline_first(["zeta", "f1", "nDCG@10"])
    ['nDCG@10', 'f1', 'zeta']
    """
    return sorted(names, key=lambda n: (HEADLINES.index(n) if n in HEADLINES else len(HEADLINES), n))


def figure(value: Any) -> str:
    """A metric value as tables and logs show it.

    >>> figure(0.123456), figure(12), figure(None)
    ('0.1235', '12', '-')
    """
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def read_result(path: str | Path) -> dict[str, Any]:
    """Read a results.json, given as the file or its folder.

    Raises:
      UserError: the file does not exist, is not JSON, or is not a result.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{path}: no such file; evaluate and rerank write results.json in their OUTPUT_DIR")
    value = read_json(path)
    if not isinstance(value, dict) or not {"metrics", "manifest"} <= value.keys():
        raise UserError(f"{path}: not a result of evaluate or rerank: metrics or manifest are missing")
    for name in ("manifest", "metrics", "paper_metrics", "files"):
        part = value.get(name, {})
        nested = [] if name == "manifest" or not isinstance(part, dict) else list(part.values())
        if not isinstance(part, dict) or not all(isinstance(one, dict) for one in nested):
            raise UserError(f"{path}: {name} is {part!r:.80}, not what evaluate and rerank write")
    return value


def wrong_file(folder: Path, result: Mapping[str, Any], owner: str) -> str | None:
    """What is wrong with the files that figures were computed from; None if they are unchanged.

    Args:
      folder: of the result.
      result: its content.
      owner: a task; "" for the files of a reranking.
    """
    files = (result.get("files") or {}).get(owner)
    if not files:
        of_task = f" for {owner}" if owner else ""
        return f"{folder / 'results.json'}: lists no files{of_task}; it was made by an older version"
    for name, digest in files.items():
        path = folder / owner / name
        if not path.is_file():
            return f"{path}: missing; its result cannot be verified"
        if file_sha256(path) != digest:
            return f"{path}: changed, not the file that this result was made from (its sha256 differs)"
    return None


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON; arrays become lists, and NaN is refused because other programs cannot read it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """JSON values for numpy and jax scalars and arrays, bytes and paths."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
