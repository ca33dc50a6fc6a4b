"""Lets the tests of this folder import the helper modules beside them by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
