#!/usr/bin/env bash
# Installs what the tests need and runs them: linters, types, doctests, all tests.
#   bash scripts/test.sh                 everything
#   bash scripts/test.sh -m "not slow"   the fast subset (under four minutes on two cores)
# Further arguments are passed to pytest. INTERS_TEST_WORKERS is the number of processes (default 2, about 3 GB each).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
install_into_environment test
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}" JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}"
# Beside the linters, so that the modules that tests import are compiled once and not in every process.
python -m pytest --collect-only -qq >/dev/null 2>&1 &
ruff check .
ruff format --check .
mypy
wait
# The order of files is that of tests/conftest.py, the longest first.
exec python -m pytest -n "${INTERS_TEST_WORKERS:-2}" --dist loadfile --no-loadscope-reorder "$@"
