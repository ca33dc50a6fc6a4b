#!/usr/bin/env bash
# A training job through SkyPilot (pip install "skypilot[gcp]"), which finds machines on any cloud it supports, and other
# ones when these are preempted.
#
#   scripts/tpu/sky.sh start run1 --accelerators=tpu-v6e-8 --spot -- --gin_file=mistral.gin \
#       --gin.MODEL_DIR=gs://bucket/run1
#   scripts/tpu/sky.sh start run2 --accelerators=H100:8 --nodes=2 -- --gin_file=mistral.gin \
#       --gin.MODEL_DIR=gs://bucket/run2
#
# Actions
#   start    create the machines, install, train; again elsewhere after a preemption
#   follow   print the log of the job, until interrupted
#   status   list all jobs
#   delete   cancel the job and release its machines
#
# Options
#   --accelerators       tpu-v5litepod-8, tpu-v6e-8, ... or A100-80GB:8, H100:8, ... (sky show-gpus -a)
#   --nodes              number of machines with these accelerators (1; GPUs only)
#   --infra              where, such as gcp/us-central1 (default: anywhere)
#   --spot               cheaper machines that may be preempted
#   --dry-run            print every command, run none
#
# The jobs are defined in sky_tpu.yaml and sky_gpu.yaml beside this script.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ACCELERATORS='' NODES=1 INFRA='' SPOT=false
parse 'accelerators nodes infra spot!' "$@"

start() {
  need ACCELERATORS
  need_training
  local job=sky_gpu.yaml options=(--name "$NAME" --gpus "$ACCELERATORS")
  if [[ $ACCELERATORS == tpu-* ]]; then
    job=sky_tpu.yaml
    [[ $NODES -eq 1 ]] || fail 'a TPU slice is one node; name a larger slice instead of --nodes'
  else
    options+=(--num-nodes "$NODES")
  fi
  [[ -z $INFRA ]] || options+=(--infra "$INFRA")
  [[ $SPOT == false ]] || options+=(--use-spot)
  run sky jobs launch "${options[@]}" --workdir "$ROOT" --env "TRAIN=$(quoted "${TRAIN[@]}")" --yes \
    --detach-run "$ROOT/scripts/tpu/$job"
}

follow() { run sky jobs logs --name "$NAME"; }

status() { run sky jobs queue; }

delete() { run sky jobs cancel --name "$NAME" --yes; }

case $ACTION in
  start | follow | status | delete) "$ACTION" ;;
  *) fail "$ACTION is not an action; choose start, follow, status or delete" ;;
esac
