#!/usr/bin/env bash
# End to end on a new machine: create an environment, install, train a small model on the packaged synthetic sample, and
# print its metrics before and after. Needs no data and no accelerator; takes under eight minutes on two cores.
#   bash scripts/quickstart.sh [FOLDER]      results go to FOLDER (default runs/quickstart)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh
begin=$SECONDS
install_into_environment ""
echo "environment ready after $((SECONDS - begin)) s"

export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
run="${1:-runs/quickstart}"
python -m inters_jax.train --gin_file=quickstart.gin --gin.MODEL_DIR="$run"
echo "trained after $((SECONDS - begin)) s; evaluating the untrained and the trained model"
python -m inters_jax.evaluate --gin_file=quickstart.gin --gin.MODEL_DIR="$run" --gin.STEP=0 \
  --gin.OUTPUT_DIR="$run/before"
python -m inters_jax.evaluate --gin_file=quickstart.gin --gin.MODEL_DIR="$run" \
  --gin.OUTPUT_DIR="$run/after" --gin.COMPARE_WITH="$run/before/results.json"
echo "done after $((SECONDS - begin)) s; the run is in $run"
