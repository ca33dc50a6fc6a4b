"""Error messages say where, what, and what to do."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from seqio_tasks.base import DataError, MissingData


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("broken"), "broken"),
        (DataError("broken", todo="mend it"), "broken; mend it"),
        (DataError("broken", path=Path("a") / "b.tsv"), f"{Path('a') / 'b.tsv'}: broken"),
        (MissingData("broken", path="b.tsv", line=3, todo="mend it"), "b.tsv:3: broken; mend it"),
    ],
)
def test_message(error: DataError, message: str) -> None:
    assert str(error) == message
    assert isinstance(error, ValueError)


def test_error_survives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(MissingData("broken", path="b.tsv", line=3, todo="mend it")))
    assert isinstance(error, MissingData)
    assert (str(error), error.line, error.todo) == ("b.tsv:3: broken; mend it", 3, "mend it")
