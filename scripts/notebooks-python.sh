#!/usr/bin/env bash
# Runs the Python notebook headless, in an environment of its own, and compares it with what is committed:
# `scripts/notebooks-python.sh [--write]`. With --write the outputs are written into the notebook instead. Also checks the
# matplotlib figures, and that the notebook's runs are what their commands make.
# Needs the built command (npm run build) and Python 3.11 with venv. Prints `N passed, N failed` as its last line.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=${KVLENS_NOTEBOOK_ENV:-$root/notebooks/.venv}
write=()
case "$*" in
  '') ;;
  --write) write=(--write) ;;
  *) echo "notebooks-python.sh: found $*, expected --write or nothing" >&2; exit 2 ;;
esac
command -v python3 >/dev/null || { echo 'notebooks-python.sh: python3 is not installed (Debian: apt install python3 python3-venv)' >&2; exit 1; }
[ -f "$root/dist/cli/main.js" ] || { echo 'notebooks-python.sh: dist/cli/main.js is missing: npm run build' >&2; exit 1; }
if ! [ -x "$environment/bin/python" ]; then
  python3 -m venv "$environment" || { echo 'notebooks-python.sh: python3 cannot make an environment (Debian: apt install python3-venv)' >&2; exit 1; }
fi
"$environment/bin/python" -m pip install -qq --disable-pip-version-check -r "$root/notebooks/requirements.txt"
python=$environment/bin/python

# Nobody's own settings of Jupyter or matplotlib take part.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export IPYTHONDIR=$work/ipython JUPYTER_CONFIG_DIR=$work/jupyter JUPYTER_DATA_DIR=$work/data JUPYTER_RUNTIME_DIR=$work/runtime
export MPLCONFIGDIR=$work/matplotlib SOURCE_DATE_EPOCH=0 PYTHONDONTWRITEBYTECODE=1
export JUPYTER_PATH=$environment/share/jupyter
source "$root/test/counting.sh"

# First: they also make matplotlib look for its fonts, which it does once.
count 'Figures' "$python" "$root/test/python/check_figures.py"
count 'Notebook' "$python" "$root/test/python/check_notebook.py" "$root/notebooks/03-arrow-in-python.ipynb" "${write[@]}"
count 'Runs' node "$root/scripts/notebook-runs.mjs" --check

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
