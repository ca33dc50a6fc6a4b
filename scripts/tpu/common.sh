# shellcheck shell=bash
# What the scripts of this folder share: options, and commands that are printed before they run.
#
# Every script is called as   SCRIPT ACTION NAME [OPTIONS] [-- ARGUMENTS OF inters_jax.train]
# With --dry-run nothing runs: each command is printed, and where an answer of the cloud decides, both ways are.

set -euo pipefail

DRY_RUN=false
TRAIN=()

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

note() { printf '# %s\n' "$*"; }

# Words as one string that a shell reads back as the same words.
quoted() {
  local word text=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@%,+-]+$ ]] || word=${word@Q}
    text+="$word "
  done
  printf '%s' "${text% }"
}

# Print a command so that it can be pasted into a shell; run it unless this is a dry run.
run() {
  printf '%s\n' "$(quoted "$@")"
  [[ $DRY_RUN == true ]] || "$@"
}

# The same command until it succeeds: a cloud that has just made a machine may not yet reach it.
retry() {
  local tries
  for ((tries = 1; tries <= 5; tries++)); do
    if run "$@"; then return 0; fi
    note "failed; once more in 20 s ($tries of 5)"
    sleep 20
  done
  note "gave up"
  return 1
}

# The training command of every machine. Restarting it is always right: it goes on from the newest checkpoint.
train_command() { printf 'python -m inters_jax.train %s' "$(quoted "$@")"; }

need() {
  local name
  for name in "$@"; do
    [[ -n ${!name:-} ]] || fail "--$(tr '[:upper:]_' '[:lower:]-' <<<"$name") is missing"
  done
}

need_training() {
  [[ ${#TRAIN[@]} -gt 0 ]] || fail "what to train is missing: ... -- --gin_file=mistral.gin --gin.MODEL_DIR=gs://..."
  [[ " ${TRAIN[*]}" == *" --gin.MODEL_DIR=gs://"* ]] ||
    note "without --gin.MODEL_DIR=gs://... the run is on the machine alone and is lost with it"
}

# Options into variables: --zone=Z is ZONE. The first argument lists the options of the script, flags end in "!".
parse() {
  local known=" $1 dry-run! " option name value
  shift
  [[ $# -ge 2 ]] || fail "usage: ${0##*/} ACTION NAME [OPTIONS] [-- ARGUMENTS OF inters_jax.train]"
  ACTION=$1 NAME=$2
  shift 2
  [[ $NAME =~ ^[a-z]([a-z0-9-]*[a-z0-9])?$ ]] ||
    fail "$NAME: a name has lower-case letters, digits and hyphens, and begins with a letter"
  while [[ $# -gt 0 ]]; do
    option=$1
    shift
    if [[ $option == -- ]]; then
      TRAIN=("$@")
      return
    fi
    name=${option%%=*}
    name=${name#--}
    if [[ $option == --* && $known == *" $name! "* ]]; then
      [[ $option != *=* ]] || fail "--$name takes no value"
      value=true
    elif [[ $option == --* && $known == *" $name "* ]]; then
      if [[ $option == *=* ]]; then
        value=${option#*=}
      else
        [[ $# -gt 0 ]] || fail "--$name needs a value"
        value=$1
        shift
      fi
    else
      fail "$option is not known; the options are:$(tr -d '!' <<<"${known% }" | sed 's/ / --/g')"
    fi
    printf -v "$(tr '[:lower:]-' '[:upper:]_' <<<"$name")" '%s' "$value"
  done
}

# Where the repository is: its state of the last commit goes to the machines.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
