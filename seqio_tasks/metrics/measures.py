"""Names of ranking measures: one parser for the three spellings in use.

The standard form is the ir_measures grammar (``nDCG@10``, ``RR(rel=2)@10``, ``AP``); the papers write
``MRR@10``, ``MAP``, ``Recall@100``; trec_eval writes ``ndcg_cut_10`` (also ``ndcg_cut.10``), ``recall_100``,
``recip_rank``. All of them are accepted and always printed in the first form.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from seqio_tasks.base import UserError

NAMES = ("nDCG", "RR", "AP", "P", "R", "Success", "Judged", "Bpref", "Rprec", "NumRet", "NumRel")
COUNTS = ("NumRet", "NumRel")  # summed over queries, not averaged

_ALIASES = {
    "ndcg": "nDCG", "ndcg_cut": "nDCG",
    "rr": "RR", "mrr": "RR", "recip_rank": "RR",
    "ap": "AP", "map": "AP", "map_cut": "AP",
    "p": "P", "precision": "P",
    "r": "R", "recall": "R",
    "success": "Success", "hit": "Success", "hits": "Success",
    "judged": "Judged",
    "bpref": "Bpref",
    "rprec": "Rprec", "r-prec": "Rprec",
    "numret": "NumRet", "num_ret": "NumRet",
    "numrel": "NumRel", "num_rel": "NumRel",
}  # fmt: skip

_NEEDS_CUTOFF = ("P", "R", "Success", "Judged")
_NO_CUTOFF = ("Bpref", "Rprec", "NumRet", "NumRel")

_BETWEEN = re.compile(r"[,\s]+(?![^()]*\))")  # commas inside RR(rel=2,judged_only=True) separate nothing
_IR_MEASURES = re.compile(r"^([A-Za-z_-]+)(?:\(([^()]*)\))?(?:@(\d+))?$")
_TREC_EVAL = re.compile(r"^([A-Za-z_]+?)[_.](\d+)$")


@dataclasses.dataclass(frozen=True)
class Measure:
    """One measure. ``rel`` is the lowest grade that counts as relevant (nDCG reads grades and ignores it)."""

    name: str
    cutoff: int | None = None
    rel: int = 1
    judged_only: bool = False
    exponential: bool = False

    def __str__(self) -> str:
        options = []
        if self.exponential:
            options.append("dcg='exp-log2'")
        if self.judged_only:
            options.append("judged_only=True")
        if self.rel != 1:
            options.append(f"rel={self.rel}")
        arguments = f"({','.join(options)})" if options else ""
        return f"{self.name}{arguments}{'' if self.cutoff is None else f'@{self.cutoff}'}"


def split_measures(names: str | Sequence[str]) -> list[str]:
    """Measure names from a text with commas or blanks between them, or from a list.

    >>> split_measures("nDCG@10, RR(rel=2,judged_only=True)@10 AP")
    ['nDCG@10', 'RR(rel=2,judged_only=True)@10', 'AP']
    """
    parts = _BETWEEN.split(names) if isinstance(names, str) else [str(name) for name in names]
    return [part for part in parts if part]


def is_measure(name: str) -> bool:
    """Whether a metric is a ranking measure.

    >>> is_measure("AP(rel=2)"), is_measure("f1")
    (True, False)
    """
    try:
        parse_measure(name)
    except UserError:
        return False
    return True


def parse_measure(text: str | Measure) -> Measure:
    """Read one measure name.

    Raises:
      UserError: it is not understood.

    >>> [str(parse_measure(name)) for name in ("ndcg_cut_10", "MRR@10", "recall.100", "map", "RR(rel=2)@10")]
    ['nDCG@10', 'RR@10', 'R@100', 'AP', 'RR(rel=2)@10']
    """
    if isinstance(text, Measure):
        return text
    stripped = text.strip()
    match = _IR_MEASURES.match(stripped)
    if match and match.group(1).lower() in _ALIASES:
        name, options, cutoff = match.groups()
    elif (trec := _TREC_EVAL.match(stripped)) and trec.group(1).lower() in _ALIASES:
        name, options, cutoff = trec.group(1), None, trec.group(2)
    else:
        raise UserError(
            f"unknown ranking measure {text!r}; known: {', '.join(NAMES)} with a cutoff (nDCG@10), "
            "spelled as in ir_measures, trec_eval (ndcg_cut_10, recall_100) or papers (MRR@10, MAP)"
        )
    measure = Measure(
        _ALIASES[name.lower()], None if cutoff is None else int(cutoff), **_options(text, options)
    )
    if measure.cutoff is None and measure.name in _NEEDS_CUTOFF:
        raise UserError(f"measure {text!r} needs a cutoff, for example {measure.name}@10")
    if measure.cutoff is not None and measure.name in _NO_CUTOFF:
        raise UserError(f"measure {text!r}: {measure.name} uses the whole ranking and has no cutoff")
    if measure.cutoff == 0:
        raise UserError(f"measure {text!r} has cutoff 0; the smallest is 1")
    if measure.rel < 1:
        raise UserError(
            f"measure {text!r}: rel must be at least 1, because grade 0 means judged not relevant"
        )
    if measure.exponential and measure.name != "nDCG":
        raise UserError(f"measure {text!r}: only nDCG has a gain function to choose")
    if measure.name in ("Judged", "NumRet") and options:  # in ir_measures NumRet(rel=1) is another measure
        raise UserError(f"measure {text!r}: {measure.name} counts documents of any grade, without options")
    if measure.name in ("Bpref", "NumRel") and measure.judged_only:
        raise UserError(f"measure {text!r}: {measure.name} never uses documents without a judgment")
    return measure


def _options(text: object, options: str | None) -> dict[str, Any]:
    """``"rel=2,judged_only=True"`` -> keyword arguments of Measure."""
    parsed: dict[str, Any] = {}
    for part in (options or "").split(","):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if not key:
            continue
        if key == "rel" and value.isdigit():
            parsed["rel"] = int(value)
        elif key == "judged_only" and value in ("True", "False"):
            parsed["judged_only"] = value == "True"
        elif key == "dcg" and value.strip("'\"") in ("log2", "exp-log2"):
            parsed["exponential"] = value.strip("'\"") == "exp-log2"
        else:
            raise UserError(
                f"measure {text!r}: option {part.strip()!r} is not understood; "
                "known: rel=N, judged_only=True and dcg='exp-log2'"
            )
    return parsed
