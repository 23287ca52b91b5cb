#!/usr/bin/env bash
#SBATCH --job-name=kvlens-merge
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#
# Join the shards that study-array.sh wrote into OUT, to OUT/merged. No model is needed.
#
#   sbatch --dependency=afterany:ARRAY_JOB study-merge.sh OUT
#
# Environment: KVLENS, the command, if it is neither on the PATH nor in ./node_modules/.bin.
set -euo pipefail

say() { echo "study-merge.sh: $*" >&2; }
if [ $# -ne 1 ]; then say "found ${*:-nothing}, expected OUT"; exit 2; fi
out=$1
if [ -n "${KVLENS:-}" ]; then read -ra kvlens <<<"$KVLENS"
elif command -v kvlens >/dev/null; then kvlens=(kvlens)
elif [ -x node_modules/.bin/kvlens ]; then kvlens=(node_modules/.bin/kvlens)
else say 'kvlens not found: set KVLENS, or submit from a folder with node_modules/.bin/kvlens'; exit 2
fi
shards=("$out"/shard-*-of-*)
if ! [ -d "${shards[0]}" ]; then say "$out holds no shards, expected shard-I-of-N"; exit 3; fi
exec "${kvlens[@]}" study --merge "${shards[@]}" --out "$out/merged" --resume
