# Sourced by quickstart.sh and test.sh: makes (or reuses) a virtual environment and installs into it.
# INTERS_VENV names another folder for it, PYTHON another interpreter.

# install_into_environment EXTRA: ".[EXTRA]" when EXTRA is not empty; reinstalls only when the
# requirements changed, so that a second run starts at once.
install_into_environment() {
  local extra="$1" venv="${INTERS_VENV:-.venv}" python="${PYTHON:-python3}" stamp want
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "inters-jax needs Python 3.11 or newer; $python is $("$python" --version). Set PYTHON=..." >&2
    return 1
  fi
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  stamp="$venv/.inters-jax-${extra:-core}"
  want="$(cat setup.py constraints.txt | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing inters-jax into $venv (once; about 2 GB, most of it TensorFlow for SeqIO) ..."
    "$venv/bin/python" -m pip install --quiet --upgrade pip
    # setuptools warns at length about editable installs; nothing to be done about it.
    PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --quiet -c constraints.txt -e ".${extra:+[$extra]}"
    echo "$want" > "$stamp"
  fi
  # shellcheck source=/dev/null
  . "$venv/bin/activate"
}
