#!/usr/bin/env bash
# SmolLM2-135M on one GPU, whole epochs and three seeds: the mixture before and after, and the rerankers of
# docs/results.md, which two CPU cores can only train on a few hundred examples.
#   bash scripts/gpu_result.sh RAW_DIR MODEL FOLDER [--gin.NAME=VALUE ...]      settings go to every run
# A GPU machine without SeqIO needs no official files for training: prepare elsewhere with --gin.PREPARE_ONLY=True, copy
# FOLDER, and run the same line there; of RAW_DIR it needs beir_scifact alone, and `evaluate` fails, `rerank` does not.
# Every run resumes or is skipped when its result is there. Not yet run on a GPU; tried on a CPU with few steps.
set -euo pipefail
cd "$(dirname "$0")/.."
usage="usage: bash scripts/gpu_result.sh RAW_DIR MODEL FOLDER [--gin.NAME=VALUE ...]"
raw="${1:?$usage}" model="${2:?$usage}" folder="${3:?$usage}"
shift 3
settings=(--gin.RAW_DIR="$raw" --gin.MODEL="$model" --gin.EPOCH_EXAMPLES=None --gin.EPOCHS=3 --gin.REMAT=none)

failed=0
python -m inters_jax.sweep --gin.EXPERIMENTS=experiments/smollm2_ranking.yaml --gin.SWEEP_DIR="$folder/ranking" \
  "${settings[@]}" --gin.COLLECTION="$raw/beir_scifact" --gin.MAX_QUERIES=None --gin.DEPTH=100 \
  --gin.ONLY='query generation;yes or no;Pointwise;RankNet;ListNet;ListwiseSoftmax;LambdaLoss;untuned, query generation;untuned, yes or no' \
  "$@" || failed=1
python -m inters_jax.sweep --gin.EXPERIMENTS=experiments/smollm2.yaml --gin.SWEEP_DIR="$folder/mixture" \
  "${settings[@]}" --gin.ONLY='main;untuned' --gin.train.max_length=512 --gin.BATCH_SIZE=32 \
  --gin.MAX_EXAMPLES=None "$@" || failed=1
exit "$failed"
