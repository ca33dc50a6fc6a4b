"""The protocol `paper`: what the released evaluation code of INTERS computes, besides `standard`.

Each difference between the two is one switch of `PaperProtocol`, with an example in docs/metrics.md. All on
is `paper`, all off is `standard`. The switches only concern what is computed from saved predictions and runs.
What the released code does earlier, when it queries the model (prompts truncated at the beginning, the token
of Yes and No, shuffled candidates, its sorting and its sliding window), cannot be recovered from saved files;
docs/metrics.md lists it.
"""

from __future__ import annotations

import dataclasses

from seqio_tasks.base import UserError, nearest


@dataclasses.dataclass(frozen=True)
class PaperProtocol:
    """Switches, in the order of docs/metrics.md.

    Generated text
      split_at_blanks: BLEU compares the words between spaces ("mat." is not "mat"), not 13a tokens.
      nltk_smoothing: BLEU like NLTK's corpus_bleu with smoothing method 4, not sacrebleu's exponential one.
      first_reference: BLEU and ROUGE use one reference, the target.
      character_f1: F1 of answers counts characters, not words.
      no_answer_is_text: "unanswerable" is an ordinary word, not the empty answer.
      squad_words: answers of TriviaQA are compared by SQuAD's words, not those of its own script.
      single_digit_markers: items of a list begin at 1., [1] or (1) with one digit, anywhere.
      literal_items: items are compared as they are, with case, spaces and full stops.
      characters_as_items: a list without any marker is the set of its characters.
      empty_lists_disagree: an empty list where an empty list is expected counts 0, not 1.
      literal_turns: conversations have one accuracy instead of F1: turns by their marker ("1." is not "[1]"),
        compared literally, mean over conversations.
    Rankings
      saturated_scores: documents are ordered by the float32 probability of Yes, which is 1.0 for a difference
        of 17 or more, not by the difference.
      ties_as_given: equal scores keep the order given, instead of document id order.
      exponential_gain: a grade gains 2**grade - 1 in nDCG, not the grade.
      negative_gain: a negative grade lowers nDCG, instead of counting 0.
      skip_queries_without_relevant: they are left out of RR and recall, not counted as 0.
      undefined_ndcg: one query without a relevant document makes mean nDCG undefined; the measure is then
        missing, and `queries_undefined` counts such queries.
      skip_missing_queries: judged queries without results are left out, not counted as 0.
      skip_short_lists: pairwise and listwise methods leave out queries with fewer candidates than the depth.
      ten_candidates: of a collection in parts (CQADupStack) the first ten candidates are reranked.
    """

    split_at_blanks: bool = True
    nltk_smoothing: bool = True
    first_reference: bool = True
    character_f1: bool = True
    no_answer_is_text: bool = True
    squad_words: bool = True
    single_digit_markers: bool = True
    literal_items: bool = True
    characters_as_items: bool = True
    empty_lists_disagree: bool = True
    literal_turns: bool = True
    saturated_scores: bool = True
    ties_as_given: bool = True
    exponential_gain: bool = True
    negative_gain: bool = True
    skip_queries_without_relevant: bool = True
    undefined_ndcg: bool = True
    skip_missing_queries: bool = True
    skip_short_lists: bool = True
    ten_candidates: bool = True


SWITCHES = tuple(field.name for field in dataclasses.fields(PaperProtocol))


def only(*names: str) -> PaperProtocol:
    """The protocol with only these switches on.

    >>> only("character_f1").character_f1, only("character_f1").literal_turns
    (True, False)
    """
    if unknown := set(names) - set(SWITCHES):
        name = sorted(unknown)[0]
        raise UserError(
            f"no switch is called {name!r}{nearest(name, SWITCHES)}; known: {', '.join(SWITCHES)}"
        )
    return PaperProtocol(**{name: name in names for name in SWITCHES})


PAPER = PaperProtocol()
STANDARD = only()
PROTOCOLS = {"standard": STANDARD, "paper": PAPER}


def protocol_of(name: str | PaperProtocol) -> PaperProtocol:
    """A protocol by its name; one given as switches is returned."""
    if isinstance(name, PaperProtocol):
        return name
    if name not in PROTOCOLS:
        raise UserError(f"no protocol is called {name!r}; there are {' and '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
