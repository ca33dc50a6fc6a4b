# shellcheck shell=bash
# Shared by the scripts of this folder: options, and commands that are printed before they run.
#
# Every script is called as   SCRIPT ACTION NAME [OPTIONS] [-- ARGUMENTS OF inters_jax.train]
# With --dry-run nothing runs: every command is printed, and both branches where an answer of the cloud decides.

set -euo pipefail

DRY_RUN=false
TRAIN=()

fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 2
}

note() { printf '# %s\n' "$*"; }

# Quotes words as one string that a shell splits into the same words.
quoted() {
  local word text=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=@%,+-]+$ ]] || word=${word@Q}
    text+="$word "
  done
  printf '%s' "${text% }"
}

# Prints a command in a form that can be pasted into a shell, and runs it unless this is a dry run.
run() {
  printf '%s\n' "$(quoted "$@")"
  [[ $DRY_RUN == true ]] || "$@"
}

# Repeats a command until it succeeds: a machine that was just created may not be reachable yet.
retry() {
  local tries
  for ((tries = 1; tries <= 5; tries++)); do
    if run "$@"; then return 0; fi
    note "failed; trying again in 20 s ($tries of 5)"
    sleep 20
  done
  note "gave up"
  return 1
}

# The training command of every machine. Restarting it is always safe: it resumes from the newest checkpoint.
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
    note "without --gin.MODEL_DIR=gs://... the run is only on the machine and is lost with it"
}

# Reads options into variables: --zone=Z sets ZONE. The first argument lists the script's options; flags end in "!".
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

# The repository; its last commit is copied to the machines.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
