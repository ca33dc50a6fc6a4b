"""Lets the tests of this folder import their helper modules by name; every test begins without bindings."""

import sys
from pathlib import Path

import gin
import pytest

sys.path.insert(0, str(Path(__file__).parent))

# A module of another project: it registers its tasks when it is imported, which is for its test to do.
collect_ignore = ["other_project"]


@pytest.fixture(autouse=True)
def unlocked_gin():
    """A process runs one command and its configuration stays locked; tests run many in one process."""
    gin.clear_config()
