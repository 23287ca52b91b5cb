#!/usr/bin/env bash
# All checks that need Python, in an environment of their own: `test/python/run.sh [--reference]`.
#
# Arrow files by pyarrow, polars and pandas; the notebook's loader; graphs by onnx and ONNX Runtime for Python; a study's
# statistics by scipy and statsmodels; the training recipe's problems; corrupted copies that must be noticed; the parts of bench/gpu; with --reference
# also parity with Hugging Face's transformers and the GPU witness on the CPU (a large download).
# Needs the built command (npm run build) and Python 3.11. Prints `N passed, N failed` as its last line.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$here")")
environment=${KVLENS_PYTHON_ENV:-$here/.venv-checks}
model=${KVLENS_CHECK_MODEL:-mini-llama}
reference=no
for argument in "$@"; do
  case $argument in
    --reference) reference=yes ;;
    *) echo "run.sh: found $argument, expected --reference or nothing" >&2; exit 2 ;;
  esac
done

command -v node >/dev/null || { echo 'run.sh: node is not installed' >&2; exit 1; }
command -v python3 >/dev/null || { echo 'run.sh: python3 is not installed (Debian: apt install python3 python3-venv)' >&2; exit 1; }
[ -f "$root/dist/cli/main.js" ] || { echo 'run.sh: dist/cli/main.js is missing: npm run build' >&2; exit 1; }

requirements=(-r "$here/requirements.txt")
if [ "$reference" = yes ]; then requirements+=(-r "$here/requirements-reference.txt"); fi
if ! [ -x "$environment/bin/python" ]; then
  python3 -m venv "$environment" || { echo 'run.sh: python3 cannot make an environment (Debian: apt install python3-venv)' >&2; exit 1; }
fi
"$environment/bin/python" -m pip install -qq --disable-pip-version-check "${requirements[@]}"
python=$environment/bin/python
kvlens=(node "$root/dist/cli/main.js")
tsx=(node "$root/node_modules/tsx/dist/cli.mjs")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$root/test/counting.sh"

# unittest's own summary as a count.
unit_tests() {
  local output status=0 ran bad
  output=$(cd "$1" && "$python" -m unittest 2>&1) || status=$?
  ran=$(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' <<<"$output")
  bad=$(grep -cE '^(FAIL|ERROR): ' <<<"$output" || true)
  if [ "$status" -ne 0 ]; then echo "$output"; [ "$bad" -gt 0 ] || bad=1; fi
  echo "$((${ran:-0} > bad ? ${ran:-0} - bad : 0)) passed, $bad failed"
  return "$status"
}

"${tsx[@]}" "$here/print-schemas.mts" >"$work/schemas.json"
export KVLENS_SCHEMAS=$work/schemas.json

# A checkpoint folder has no prompts of its own.
prompts=()
if [ -n "${KVLENS_CHECK_PROMPTS:-}" ]; then prompts=(--prompts "$KVLENS_CHECK_PROMPTS"); fi

echo 'Commands'
succeeds 'a run with saved activations' \
  "${kvlens[@]}" diverge "$model" "${prompts[@]}" --limit 4 --max-new-tokens 24 --save-activations --quiet --out "$work/run"
succeeds 'a run in bf16 with every hook, two rows per decode step' \
  "${kvlens[@]}" diverge "$model" "${prompts[@]}" --limit 1 --max-new-tokens 8 --precision bf16 --hooks all --decode-rows 2 \
  --save-activations --quiet --out "$work/run-all"
succeeds 'a capture of the tokens that check_onnx.py runs' \
  "${kvlens[@]}" capture "$model" --tokens 1,17,44,9,120,3,71,8 --hooks logits --arm uncached --quiet --out "$work/capture"
succeeds 'a capture of the cached arm in float64' \
  "${kvlens[@]}" capture "$model" --tokens 1,17,44,9 --hooks all --precision fp64 --max-new-tokens 3 --quiet --out "$work/capture-64"
succeeds 'an export per layer' "${kvlens[@]}" export "$model" --quiet --out "$work/graphs"
succeeds 'an export as a single file' "${kvlens[@]}" export "$model" --single-file --quiet --out "$work/single"
succeeds 'statistics of random inputs' "${tsx[@]}" "$here/dump-statistics.mts" "$work/statistics.json"
succeeds 'a run of made-up rows' "${tsx[@]}" "$here/write-sample-run.mts" "$work/sample" "$work/sample-raw"
for run in run run-all; do
  succeeds "the values of $run, recomputed without the store" \
    "${tsx[@]}" "$here/dump-activations.mts" "$model" "$work/$run" "$work/$run-raw"
done

count 'Arrow: made-up rows' "$python" "$here/check_arrow.py" "$work/sample" --raw "$work/sample-raw"
count 'Arrow: a run' "$python" "$here/check_arrow.py" "$work/run" --raw "$work/run-raw"
count 'Arrow: a run in bf16 with every hook' "$python" "$here/check_arrow.py" "$work/run-all" --raw "$work/run-all-raw"
count 'Arrow: a capture' "$python" "$here/check_arrow.py" "$work/capture"
count 'Arrow: a capture in float64' "$python" "$here/check_arrow.py" "$work/capture-64"
count 'Loader' "$python" "$here/check_loader.py" "$work/sample" "$work/sample-raw" "$work/run-all" "$work/run-all-raw" \
  --capture "$work/capture"
count 'Graphs' "$python" "$here/check_onnx.py" "$work/graphs" "$work/single" --capture "$work/capture"
count 'Statistics' "$python" "$here/check_statistics.py" "$work/statistics.json"
count 'Corrupted copies' "$python" "$here/self_test.py" --sample "$work/sample" "$work/sample-raw" \
  --run "$work/run" "$work/run-raw" --graphs "$work/graphs" --statistics "$work/statistics.json"
count 'Training problems' unit_tests "$root/data/training"
gpu=$root/test/gpu
"${tsx[@]}" "$gpu/print-parts.mts" >"$work/parts.json"
count 'GPU witness: draws, distances and columns' "$python" "$gpu/check_parts.py" "$work/parts.json"
count 'GPU witness: comparisons and refusals' "$python" "$gpu/check_compare.py"
if [ "$reference" = yes ]; then
  count 'GPU witness: both protocols' "$python" "$gpu/check_arms.py"
  sampling=(--temperature 0.8 --top-k 20 --seed 5)
  for strategy in greedy sampled; do
    options=(--precision fp32 --limit 3 --max-new-tokens 40)
    if [ "$strategy" = sampled ]; then options+=("${sampling[@]}"); fi
    succeeds "a $strategy run beside the GPU witness" \
      "${kvlens[@]}" diverge mini-mistral "${options[@]}" --quiet --out "$work/beside-$strategy"
    succeeds "a $strategy run of the GPU witness on this CPU" \
      "$python" "$root/bench/gpu/witness.py" mini-mistral --device cpu "${options[@]}" --out "$work/witness-$strategy"
    count "GPU witness, $strategy: tokens" "$python" "$gpu/check_witness.py" "$work/witness-$strategy" "$work/beside-$strategy"
    count "GPU witness, $strategy: Arrow" "$python" "$here/check_arrow.py" "$work/witness-$strategy"
    succeeds "GPU witness, $strategy: kvlens's reader" "${tsx[@]}" "$gpu/read-run.mts" "$work/witness-$strategy"
    succeeds "GPU witness, $strategy: the comparison" \
      "$python" "$root/bench/gpu/compare.py" "$work/witness-$strategy" "$work/beside-$strategy"
  done
  checkpoints=()
  for folder in "$root"/data/checkpoints/*/; do checkpoints+=(--checkpoint "$folder"); done
  if [ -d "$model" ]; then checkpoints+=(--checkpoint "$model"); fi
  parity=$root/test/parity
  count 'Hugging Face: expected values' "$python" "$parity/make_fixtures.py" "$work/parity" \
    --against "$parity/fixtures" "${checkpoints[@]}"
  count 'Hugging Face: parity' "${tsx[@]}" "$parity/compare.mts" "$work/parity"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
