#!/usr/bin/env bash
# A training job on GKE through xpk (pip install xpk): TPU slices, or GPU machines with --device-type.
#
#   scripts/tpu/gke.sh create cluster1 --zone=us-west4-a --type=v5litepod-16 --spot
#   scripts/tpu/gke.sh start run1 --cluster=cluster1 --zone=us-west4-a --type=v5litepod-16 -- \
#       --gin_file=mistral.gin --gin.MODEL_DIR=gs://bucket/run1
#
# Actions
#   create   create the cluster NAME with its machines
#   start    submit the training job NAME to --cluster; it is restarted after failures and preemptions
#   follow   print the log of the first host of the job NAME, until interrupted
#   wait     wait until the job NAME has ended
#   stop     delete the job NAME
#   delete   delete the cluster NAME
#
# Options
#   --cluster            of the job
#   --zone --project     of the cluster
#   --type               TPU type, such as v5litepod-16, v5p-8, v6e-16
#   --device-type        GPU machines instead, such as h100-mega-80gb-8, h200-141gb-8
#   --slices             number of slices of that type (1); --nodes for GPU machines
#   --spot | --on-demand | --reservation=NAME   (create) how the machines are obtained
#   --image              base image to which the repository is added (python:3.11)
#   --restarts           number of failures after which the job is given up (50)
#   --dry-run            print every command, run none

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

CLUSTER='' ZONE='' PROJECT='' TYPE='' DEVICE_TYPE='' SLICES=1 NODES=1 SPOT=false ON_DEMAND=false RESERVATION=''
IMAGE=python:3.11 RESTARTS=50
parse 'cluster zone project type device-type slices nodes spot! on-demand! reservation image restarts' "$@"
need ZONE

place=("--zone=$ZONE")
[[ -z $PROJECT ]] || place+=("--project=$PROJECT")

machines() {
  [[ -n $TYPE || -n $DEVICE_TYPE ]] || fail '--type (TPU) or --device-type (GPU) is missing'
  [[ -z $TYPE || -z $DEVICE_TYPE ]] || fail 'choose one of --type and --device-type'
  if [[ -n $TYPE ]]; then
    wanted=("--tpu-type=$TYPE" "--num-slices=$SLICES")
  else
    wanted=("--device-type=$DEVICE_TYPE" "--num-nodes=$NODES")
  fi
}

create() {
  machines
  local kinds=()
  [[ $SPOT == false ]] || kinds+=(--spot)
  [[ $ON_DEMAND == false ]] || kinds+=(--on-demand)
  [[ -z $RESERVATION ]] || kinds+=("--reservation=$RESERVATION")
  [[ ${#kinds[@]} -eq 1 ]] || fail 'choose one of --spot, --on-demand and --reservation=NAME'
  run xpk cluster create "--cluster=$NAME" "${wanted[@]}" "${kinds[@]}" "${place[@]}"
}

start() {
  need CLUSTER
  need_training
  machines
  local extra=tpu
  [[ -n $TYPE ]] || extra=cuda
  # On SIGTERM a training process saves a checkpoint first, within two minutes. If it fails, the job is restarted.
  run xpk workload create "--workload=$NAME" "--cluster=$CLUSTER" "${wanted[@]}" \
    "--base-docker-image=$IMAGE" "--script-dir=$ROOT" "--max-restarts=$RESTARTS" --restart-on-user-code-failure \
    --termination-grace-period-seconds=120 --env=INTERS_STOPPED_EXIT=75 "${place[@]}" \
    "--command=. scripts/environment.sh && pip install -q -c \$(constraints_for python) .[$extra,gcs] &&\
 $(train_command "${TRAIN[@]}")"
}

follow() {
  need CLUSTER
  local region=${ZONE%-*}
  run gcloud container clusters get-credentials "$CLUSTER" "--location=$region" \
    ${PROJECT:+"--project=$PROJECT"}
  local first="jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0"
  run kubectl logs --follow "--selector=$first" --all-containers --tail=100
}

wait_for_it() {
  need CLUSTER
  run xpk workload list "--cluster=$CLUSTER" "--wait-for-job-completion=$NAME" "${place[@]}"
}

stop() {
  need CLUSTER
  run xpk workload delete "--workload=$NAME" "--cluster=$CLUSTER" --force "${place[@]}"
}

delete() { run xpk cluster delete "--cluster=$NAME" --force "${place[@]}"; }

case $ACTION in
  create | start | follow | stop | delete) "$ACTION" ;;
  wait) wait_for_it ;;
  *) fail "$ACTION is not an action; choose create, start, follow, wait, stop or delete" ;;
esac
