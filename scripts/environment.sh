# Sourced by quickstart.sh and test.sh: creates or reuses a virtual environment and installs into it.
# INTERS_VENV names its folder (default .venv), PYTHON the interpreter.

# install_into_environment EXTRA: installs ".[EXTRA]", or "." if EXTRA is empty. Installs again only if the requirements
# have changed, so later runs start at once.
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
    # setuptools prints long warnings about editable installs, which cannot be avoided.
    # --no-compile: most of the modules are never imported; Python compiles the others when they are.
    PYTHONWARNINGS=ignore "$venv/bin/python" -m pip install --quiet --no-compile -c constraints.txt \
      -e ".${extra:+[$extra]}"
    echo "$want" > "$stamp"
  fi
  unset PYTHONDONTWRITEBYTECODE  # without kept bytecode, every process spends 10 s on compiling TensorFlow and JAX
  # shellcheck source=/dev/null
  . "$venv/bin/activate"
}
