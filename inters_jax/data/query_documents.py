"""The arrays of a batch about documents of queries, which a ranking loss reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answers:
    """Arrays [sequences of the epoch] about documents of queries.

    positions: the position of a sequence that predicts its answer; -1: the sequence is no such document.
    """

    positions: np.ndarray  # int64
    grades: np.ndarray  # float32
    teacher: np.ndarray  # float32

    @classmethod
    def none_of(cls, sequences: int) -> Answers:
        """Of sequences that are no documents of queries."""
        return cls(np.full(sequences, -1), *(np.zeros(sequences, np.float32) for _ in range(2)))


def batch_arrays(
    answers: Answers,
    examples: np.ndarray,
    lengths: np.ndarray,
    rows: Sequence[np.ndarray],
    *,
    length: int,
    slots: int,
) -> dict[str, np.ndarray]:
    """Where each document of a row has its answer, its query, its grade and its teacher's score.

        sequence            0    1    2        the first is an ordinary example of another task
        examples            0    1    1        1 and 2 are the documents of one query
        lengths             4    3    3
        answers.positions  -1    2    1        row: 0 1 2 3 | 4 5 6 | 7 8 9 | padding
        positions                6    8
        groups                   1    1

    Args:
      answers: of the sequences of an epoch.
      examples: int64 [n], the example of every sequence; the documents of a query follow each other.
      lengths: int64 [n], positions that a sequence takes.
      rows: the sequences of each row of a batch.
      length: positions of a row.
      slots: documents that a row can have.

    Returns:
      `inters_jax.training.ranking_step.DOCUMENT_KEYS`, [rows, slots].

    >>> answers = Answers(np.array([-1, 2, 1]), *np.array([[0, 1, 0], [0, 9, 5]], np.float32))
    >>> examples, lengths = np.array([0, 1, 1]), np.array([4, 3, 3])
    >>> made = batch_arrays(answers, examples, lengths, [np.array([0, 1, 2])], length=12, slots=3)
    >>> for name, array in made.items():
    ...     print(name.removeprefix("decoder_document_"), array.tolist())
    positions [[6, 8, 12]]
    groups [[1, 1, 0]]
    grades [[1.0, 0.0, 0.0]]
    teacher [[9.0, 5.0, 0.0]]
    """
    positions = np.full((len(rows), slots), length, np.int32)
    groups = np.zeros((len(rows), slots), np.int32)
    grades, teacher = (np.zeros((len(rows), slots), np.float32) for _ in range(2))
    for row, members in enumerate(rows):
        starts = np.cumsum(lengths[members]) - lengths[members]
        asked = answers.positions[members] >= 0
        own, count = members[asked], int(asked.sum())
        positions[row, :count] = starts[asked] + answers.positions[own]
        groups[row, :count] = np.cumsum(np.diff(examples[own], prepend=-1) != 0)
        grades[row, :count], teacher[row, :count] = answers.grades[own], answers.teacher[own]
    names = ("positions", "groups", "grades", "teacher")
    arrays = (positions, groups, grades, teacher)
    return {f"decoder_document_{name}": array for name, array in zip(names, arrays, strict=True)}
