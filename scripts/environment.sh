# shellcheck shell=bash
# Sourced by the scripts that install: creates or reuses a virtual environment and installs into it.
# INTERS_VENV names its folder (default .venv), PYTHON the interpreter.

# constraints_for PYTHON: the file of tested versions for this interpreter. JAX 0.11 and newer need Python 3.12.
constraints_for() {
  "$1" -c 'import sys; print("constraints-3.12.txt" if sys.version_info >= (3, 12) else "constraints.txt")'
}

# python_series PYTHON: 3.11, 3.12, ...
python_series() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# install_into_environment EXTRA: installs ".[EXTRA]", or "." if EXTRA is empty. Installs again only if the requirements
# have changed, so later runs start at once.
install_into_environment() {
  local extra="$1" venv="${INTERS_VENV:-.venv}" python="${PYTHON:-python3}" constraints stamp want
  if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    echo "inters-jax needs Python 3.11, 3.12 or 3.13; $python is $("$python" --version). Set PYTHON=..." >&2
    return 1
  fi
  if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
  elif [ -n "${PYTHON:-}" ] && [ "$(python_series "$PYTHON")" != "$(python_series "$venv/bin/python")" ]; then
    echo "$venv has Python $(python_series "$venv/bin/python"), PYTHON=$PYTHON is $(python_series "$PYTHON");" \
      "name another folder with INTERS_VENV=..." >&2
    return 1
  fi
  constraints="$(constraints_for "$venv/bin/python")"
  stamp="$venv/.inters-jax-${extra:-core}"
  want="$(cat setup.py "$constraints" | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    echo "Installing inters-jax into $venv (once; about 2 GB, most of it TensorFlow for SeqIO) ..."
    "$venv/bin/python" -m pip install --quiet --upgrade pip
    # setuptools prints long warnings about editable installs, which cannot be avoided.
    # --no-compile: most of the modules are never imported; Python compiles the others when they are.
    PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --quiet --no-compile -c "$constraints" \
      -e ".${extra:+[$extra]}"
    echo "$want" > "$stamp"
  fi
  unset PYTHONDONTWRITEBYTECODE  # without kept bytecode, every process spends 10 s on compiling TensorFlow and JAX
  # shellcheck source=/dev/null
  . "$venv/bin/activate"
}
