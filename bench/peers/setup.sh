#!/usr/bin/env bash
# Make bench/peers/.venv with the pinned peers of bench/compare.mts; --clear makes it anew. Nothing of it is needed to use kvlens.
# PYTHON chooses the interpreter (3.11 or newer). About 2 GB, and some minutes.
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "setup.sh: $("$python" --version 2>&1), expected Python 3.11 or newer; set PYTHON" >&2
  exit 2
fi
if [ "${1:-}" = --clear ]; then rm -rf .venv; fi
if [ ! -x .venv/bin/python ]; then "$python" -m venv .venv; fi
# `+cpu` satisfies the pin `==2.13.0`, and is taken first where it is to be had.
.venv/bin/pip install --quiet 'torch==2.13.0+cpu' 2>/dev/null || echo 'setup.sh: no torch 2.13.0+cpu here, taking the plain wheel' >&2
.venv/bin/pip install --quiet --requirement requirements.txt
.venv/bin/python - <<'PY'
from importlib.metadata import version

names = ("torch", "transformers", "transformer-lens", "nnsight", "onnxruntime", "numpy")
print("peers: " + ", ".join(f"{name} {version(name)}" for name in names))
PY
