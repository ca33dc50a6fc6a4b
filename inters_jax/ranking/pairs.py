"""The pair of the catalog that a collection is judged by: what to measure, what grades mean, and its wording.

Two collections of the same form may differ in what is right: in TREC Deep Learning a passage of grade 1 does
not answer, in ArguAna the query itself is a document. The pair says so, whatever the folder is called.
"""

from __future__ import annotations

import logging

from inters_jax.ranking.collection import Collection
from inters_jax.ranking.errors import RerankError
from seqio_tasks import catalog
from seqio_tasks.base import nearest
from seqio_tasks.catalog import Pair
from seqio_tasks.catalog.evaluation_only import EvaluationPair
from seqio_tasks.sources import retrieval_sets

log = logging.getLogger(__name__)


def ranking_pair(name: str) -> Pair:
    """The ranking pair with this name or dataset: one that is trained, or one for evaluation only.

    Raises:
      RerankError: there is none.

    >>> ranking_pair("arguana").name, ranking_pair("trec_dl_2020").name
    ('inters_argument_retrieval_arguana', 'inters_ood_trec_dl_2020')
    """
    pairs = _pairs()
    for pair in pairs:
        if name in (pair.name, pair.dataset):
            return pair
    near = nearest(name, [known for pair in pairs for known in (pair.dataset, pair.name)], most=1)
    raise RerankError(f"PAIR {name!r} is no ranking task{near or f'; choose one of {_datasets()}'}")


def pair_of(data: Collection, given: Pair | None) -> Pair:
    """The pair that a collection is judged by: the given one, else the one with the collection's name.

    A collection that has the name of another dataset than the given pair, with other rules, is warned of.

    Raises:
      RerankError: no pair is given, and none has the collection's name.
    """
    if given is None and not data.dataset:
        raise RerankError(
            f"no ranking task is named after the collection {data.name!r}: set PAIR=ms_marco (general "
            f"retrieval), or the pair whose wording, measures and grades hold: one of {_datasets()}"
        )
    named = ranking_pair(data.dataset) if data.dataset else None
    if given is None:
        assert named is not None
        return named
    if named is not None and (differences := _differences(named, given)):
        log.warning(
            "%s has the name of %s, but PAIR=%s decides: %s; set PAIR=%s if it is that collection",
            data.source, named.dataset, given.dataset, ", ".join(differences), named.dataset,
        )  # fmt: skip
    return given


def wording_of(pair: Pair) -> Pair:
    """The pair whose templates ask about a collection: its own, or that of a trained pair."""
    return catalog.pair(pair.wording) if isinstance(pair, EvaluationPair) else pair


def _differences(named: Pair, given: Pair) -> list[str]:
    """What is measured otherwise with one pair than with another."""
    ours, theirs = (retrieval_sets.collection(pair.dataset) for pair in (given, named))
    found = []
    if given.metrics != named.metrics:
        found.append(f"measures are {', '.join(given.metrics)} and not {', '.join(named.metrics)}")
    if ours.grades != theirs.grades:
        found.append("grades have another meaning")
    if ours.own_document != theirs.own_document:
        left_out = "left out" if ours.own_document else "kept"
        found.append(f"the candidate with the id of its query is {left_out}")
    return found


def _pairs() -> list[Pair]:
    return [*(pair for pair in catalog.known() if pair.kind == "rank"), *catalog.EVALUATION_ONLY]


def _datasets() -> str:
    return ", ".join(dict.fromkeys(pair.dataset for pair in _pairs()))
