#!/usr/bin/env bash
# A training job on Cloud TPU VMs: one or many hosts, one or many slices, on demand, reserved or spot.
#
#   scripts/tpu/vm.sh keep run1 --zone=us-west4-a --type=v5litepod-8 --spot -- \
#       --gin_file=mistral.gin --gin.MODEL_DIR=gs://bucket/run1
#
# Actions
#   create   request the machines (a queued resource) and wait until they are available
#   setup    copy the repository (its last commit) to every host and install it
#   start    start training on every host as a service that restarts after a failure
#   follow   print the log of the first host, until interrupted
#   status   print the state of the machines and of the service
#   keep     create, setup and start, again whenever spot machines are preempted; delete when training is done
#   delete   release the machines
#
# Options
#   --zone --project     of the machines (default project: gcloud's)
#   --type               v5litepod-8, v5p-8, v6e-8, v4-32, ... (accelerator type)
#   --slices             number of slices of that type, connected by the data-centre network (1)
#   --spot | --reserved  cheaper machines that may be preempted, or those of a reservation
#   --runtime            software version of the machines (default: by type)
#   --service-account    account of the machines, for access to buckets
#   --extras             pip extras to install (tpu,gcs)
#   --every              seconds between checks of the machines (60)
#   --dry-run            print every command, run none

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ZONE='' PROJECT='' TYPE='' SLICES=1 SPOT=false RESERVED=false RUNTIME='' SERVICE_ACCOUNT='' EXTRAS=tpu,gcs EVERY=60
parse 'zone project type slices spot! reserved! runtime service-account extras every' "$@"
need ZONE
[[ $SPOT == false || $RESERVED == false ]] || fail 'choose one of --spot and --reserved'
[[ $SLICES =~ ^[1-9][0-9]*$ ]] || fail "--slices=$SLICES must be a whole number of at least 1"

place=("--zone=$ZONE")
[[ -z $PROJECT ]] || place+=("--project=$PROJECT")
tpus=(gcloud compute tpus)
SERVICE=inters-train

nodes=("$NAME")
if [[ $SLICES -gt 1 ]]; then
  nodes=()
  for ((slice = 0; slice < SLICES; slice++)); do nodes+=("$NAME-$slice"); done
fi

runtime() {
  case $TYPE in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-* | v5e-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
    *) fail "--type=$TYPE has no default software version; set --runtime" ;;
  esac
}

create() {
  need TYPE
  local asked=("${tpus[@]}" queued-resources create "$NAME" "${place[@]}" "--accelerator-type=$TYPE")
  [[ -n $RUNTIME ]] || RUNTIME=$(runtime)
  asked+=("--runtime-version=$RUNTIME")
  if [[ $SLICES -gt 1 ]]; then
    asked+=("--node-count=$SLICES" "--node-prefix=$NAME")
  else
    asked+=("--node-id=$NAME")
  fi
  [[ $SPOT == false ]] || asked+=(--spot)
  [[ $RESERVED == false ]] || asked+=(--reserved)
  [[ -z $SERVICE_ACCOUNT ]] || asked+=("--service-account=$SERVICE_ACCOUNT")
  run "${asked[@]}"
  wait_until_there
}

# ACTIVE, WAITING_FOR_RESOURCES, PROVISIONING, SUSPENDING, SUSPENDED, FAILED, ...; NONE if there is no such resource.
state() {
  "${tpus[@]}" queued-resources describe "$NAME" "${place[@]}" '--format=value(state.state)' 2>/dev/null ||
    echo NONE
}

look=("${tpus[@]}" queued-resources describe "$NAME" "${place[@]}" '--format=value(state.state)')

wait_until_there() {
  if [[ $DRY_RUN == true ]]; then
    run "${look[@]}"
    note "every $EVERY s until it prints ACTIVE"
    return
  fi
  local now
  while true; do
    now=$(state)
    note "$NAME: $now"
    case $now in
      ACTIVE) return ;;
      FAILED | SUSPEND* | NONE) return 1 ;;
    esac
    sleep "$EVERY"
  done
}

# Runs a command on every host of every slice.
everywhere() {
  local node
  for node in "${nodes[@]}"; do
    retry "${tpus[@]}" tpu-vm ssh "$node" "${place[@]}" --worker=all "--command=$1" || return 1
  done
}

setup() (
  folder=.
  if [[ $DRY_RUN == false ]]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
  fi
  archive=$folder/inters-jax.tar.gz
  run git -C "$ROOT" archive --format=tar.gz "--output=$archive" HEAD
  for node in "${nodes[@]}"; do
    retry "${tpus[@]}" tpu-vm scp "$archive" "$node:inters-jax.tar.gz" "${place[@]}" --worker=all || return 1
  done
  # The machines' own Python is too old; uv installs one.
  everywhere "rm -rf inters-jax && mkdir inters-jax && tar -xzf inters-jax.tar.gz -C inters-jax &&\
 python3 -m pip install --quiet --upgrade --target .uv --require-hashes -r inters-jax/scripts/tpu/uv.txt &&\
 .uv/bin/uv venv --clear --python 3.11 venv && . inters-jax/scripts/environment.sh &&\
 .uv/bin/uv pip install --python venv/bin/python -c inters-jax/\$(constraints_for venv/bin/python)\
 ./inters-jax[$EXTRAS]"
)

start() {
  need_training
  local -a service=(
    --setenv=INTERS_HOSTS=cluster    # the environment does not name the other hosts: JAX asks the machine
    --setenv=INTERS_STOPPED_EXIT=75  # a run that was told to stop is not finished: the service restarts
    --property=Restart=on-failure --property=RestartSec=30
    --property=TimeoutStopSec=120    # SIGTERM, and time to save a checkpoint
  )
  everywhere "rm -f done; sudo systemctl reset-failed $SERVICE 2>/dev/null;\
 sudo systemd-run --unit=$SERVICE --uid=\$(id -u) --working-directory=\$HOME --setenv=HOME=\$HOME\
 --setenv=PATH=\$HOME/venv/bin:/usr/bin:/bin $(quoted "${service[@]}")\
 /bin/bash -c $(quoted "$(train_command "${TRAIN[@]}") && touch done")"
}

follow() {
  run "${tpus[@]}" tpu-vm ssh "${nodes[0]}" "${place[@]}" --worker=0 "--command=journalctl -n 100 -f -u $SERVICE"
}

# DONE, loaded (running, or about to restart), not-found; empty when the machine did not answer.
ask=("${tpus[@]}" tpu-vm ssh "${nodes[0]}" "${place[@]}" --worker=0
  "--command=test -e done && echo DONE || systemctl show --property=LoadState --value $SERVICE")

status() {
  run "${tpus[@]}" queued-resources describe "$NAME" "${place[@]}"
  run "${tpus[@]}" tpu-vm ssh "${nodes[0]}" "${place[@]}" --worker=all \
    "--command=systemctl --no-pager status $SERVICE"
}

delete() { run "${tpus[@]}" queued-resources delete "$NAME" "${place[@]}" --force --quiet; }

keep() {
  need_training
  if [[ $DRY_RUN == true ]]; then
    create && setup && start
    note "every $EVERY s:"
    run "${look[@]}"
    run "${ask[@]}"
    note 'when it prints DONE:'
    delete
    note 'when the machines were preempted (SUSPENDED or FAILED):'
    delete
    note 'and again from the beginning; training resumes from its newest checkpoint'
    return
  fi
  while true; do
    case $(state) in
      NONE) create || note 'no machines yet' ;;
      ACTIVE)
        case $("${ask[@]}" 2>/dev/null || true) in
          DONE)
            note 'training is done'
            delete
            return
            ;;
          not-found) { setup && start; } || note 'the machines are not ready yet' ;;
        esac
        ;;
      FAILED | SUSPENDED)
        note 'the machines were preempted; requesting new ones'
        delete || note 'they are not deleted yet'
        ;;
    esac
    sleep "$EVERY"
  done
}

case $ACTION in
  create | setup | start | follow | status | keep | delete) "$ACTION" ;;
  *) fail "$ACTION is not an action; choose create, setup, start, follow, status, keep or delete" ;;
esac
