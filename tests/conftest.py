"""Lets the tests of this folder import the helper modules beside them by name, and keeps files apart."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqio_tasks import settings

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="module")
def _settings_of_the_file() -> Iterator[None]:
    """A command that ran in this process leaves its RAW_DIR and TOKENIZER to no other file."""
    with settings.override():
        yield
