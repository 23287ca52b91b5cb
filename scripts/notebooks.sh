#!/usr/bin/env bash
# Runs the notebooks headless, in an environment of their own, and compares them with what is committed:
# `scripts/notebooks.sh [01|02|03] [--write|--open]`. Of all three, and then also checks the matplotlib figures and that the notebooks'
# runs are what their commands make; or of the one that is named. --write puts the outputs into the notebooks instead; --open opens them in
# JupyterLab. 01 and 02 run in Deno's kernel: Deno comes from npm when it is first needed.
# Needs the built command (npm run build) and Python 3.11 with venv. Prints `N passed, N failed` as its last line.
set -euo pipefail

deno_version=2.9.6
jupyterlab_version=4.6.6
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=${KVLENS_NOTEBOOK_ENV:-$root/notebooks/.venv}

refuse() { echo "notebooks.sh: $1" >&2; exit "$2"; }
which=all
mode=check
for argument in "$@"; do
  case $argument in
    01|02|03) which=$argument ;;
    --write|--open) mode=${argument#--} ;;
    *) refuse "found $argument, expected 01, 02 or 03, and --write or --open" 2 ;;
  esac
done
command -v node >/dev/null || refuse 'node is not installed' 1
command -v python3 >/dev/null || refuse 'python3 is not installed (Debian: apt install python3 python3-venv)' 1
[ -f "$root/dist/cli/main.js" ] || refuse 'dist/cli/main.js is missing: npm run build' 1
if ! [ -x "$environment/bin/python" ]; then
  python3 -m venv "$environment" || refuse 'python3 cannot make an environment (Debian: apt install python3-venv)' 1
fi
python=$environment/bin/python
requirements=(-r "$root/notebooks/requirements.txt")
if [ "$mode" = open ]; then requirements+=("jupyterlab==$jupyterlab_version"); fi
"$python" -m pip install -qq --disable-pip-version-check "${requirements[@]}"

# Deno's own --install writes into the home folder: the kernel is registered in the environment instead.
if [ "$which" != 03 ]; then
  deno=$(cd "$environment" && npx --yes "deno@$deno_version" eval 'console.log(Deno.execPath())') || refuse "deno@$deno_version cannot be had from npm" 1
  "$python" - "$environment" "$deno" <<'PYTHON'
import json, pathlib, sys

environment, deno = sys.argv[1:]
folder = pathlib.Path(environment, "share", "jupyter", "kernels", "deno")
folder.mkdir(parents=True, exist_ok=True)
argv = [deno, "jupyter", "--kernel", "--conn", "{connection_file}"]
# Nothing is asked of a server, and no colours: outputs are compared.
quiet = {"DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1", "DENO_DIR": str(pathlib.Path(environment, "deno"))}
spec = {"argv": argv, "display_name": "Deno", "language": "typescript", "env": quiet}
(folder / "kernel.json").write_text(json.dumps(spec))
PYTHON
fi

notebooks=("$root"/notebooks/0*.ipynb)
if [ "$which" != all ]; then notebooks=("$root"/notebooks/"$which"-*.ipynb); fi
if [ "$mode" = open ]; then
  target=$root/notebooks
  if [ "$which" != all ]; then target=${notebooks[0]}; fi
  exec "$environment/bin/jupyter" lab "$target"
fi

# Nobody's own settings of Jupyter or matplotlib take part.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export IPYTHONDIR=$work/ipython JUPYTER_CONFIG_DIR=$work/jupyter JUPYTER_DATA_DIR=$work/data JUPYTER_RUNTIME_DIR=$work/runtime
export MPLCONFIGDIR=$work/matplotlib SOURCE_DATE_EPOCH=0 PYTHONDONTWRITEBYTECODE=1
export JUPYTER_PATH=$environment/share/jupyter
source "$root/test/counting.sh"

# First: they also make matplotlib look for its fonts, which it does once.
if [ "$which" = all ] || [ "$which" = 03 ]; then count 'Figures' "$python" "$root/test/python/check_figures.py"; fi
machine=$(node --input-type=module -e 'const { thisMachine } = await import(process.argv[1]); console.log(thisMachine().hash)' "$root/dist/divergence/gates/machine.js")
options=(--machine "$machine")
if [ "$mode" = write ]; then options+=(--write); fi
for notebook in "${notebooks[@]}"; do
  count "$(basename "$notebook")" "$python" "$root/test/python/check_notebook.py" "$notebook" "${options[@]}"
done
if [ "$which" = all ]; then count 'Runs' node "$root/scripts/notebook-runs.mjs" --check; fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
