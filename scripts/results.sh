#!/usr/bin/env bash
# The experiments of docs/results.md: gin/experiments/small.yaml and small_raw.yaml, two runs at a time, one core each.
#   bash scripts/results.sh sample FOLDER           eight datasets of the packaged synthetic sample
#   bash scripts/results.sh raw FOLDER RAW_DIR      official files: those of the datasets below that are there
# Runs that are finished in FOLDER are not repeated.
set -euo pipefail
cd "$(dirname "$0")/.."
kind="$1" folder="$2"
export JAX_PLATFORMS="${JAX_PLATFORMS:-cpu}" TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
export XLA_FLAGS="--xla_cpu_multi_thread_eigen=false ${XLA_FLAGS:-}" OMP_NUM_THREADS=1
mkdir -p "$folder/data"
folder="$(realpath "$folder")"

case "$kind" in
  sample)
    raw="$PWD/seqio_tasks/sample"
    datasets=(gov2 msrp orcas_i mimics boolq climate_fever scifact beir_scifact)
    list=small
    more=("${@:3}") ;;  # further arguments go to the sweep
  raw)
    raw="$(realpath "$3")"
    datasets=(msrp orcas_i mimics clariq_fkw climate_fever scifact beir_scifact gov2 trec_robust04)
    list=small_raw
    more=("--gin.TOKENIZER=$folder/tokenizer" "${@:4}") ;;
  *) echo "usage: bash scripts/results.sh sample FOLDER | raw FOLDER RAW_DIR  [ARGUMENTS OF inters_jax.sweep]" >&2; exit 2 ;;
esac
for dataset in "${datasets[@]}"; do
  if [ -d "$raw/$dataset" ]; then ln -sfn "$raw/$dataset" "$folder/data/$dataset"
  else echo "$raw/$dataset is not there; its tasks are left out" >&2; fi
done
if [ "$kind" = raw ] && [ ! -d "$folder/tokenizer" ]; then
  python scripts/train_tokenizer.py --raw_dir "$folder/data" --vocab_size 8192 --output "$folder/tokenizer"
fi
python -m inters_jax.sweep --gin.EXPERIMENTS=experiments/$list.yaml --gin.SWEEP_DIR="$folder/runs" \
  --gin.RAW_DIR="$folder/data" --gin.JOBS=2 "${more[@]}"
