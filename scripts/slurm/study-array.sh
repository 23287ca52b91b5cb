#!/usr/bin/env bash
#SBATCH --job-name=kvlens-study
#SBATCH --output=%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#
# One shard of a study per array task; a task that is ended and queued again goes on where it stopped. docs/slurm.md is the guide.
#
#   sbatch --array=1-N [SBATCH OPTIONS] study-array.sh STUDY OUT [KVLENS OPTIONS]
#
# STUDY is a file, or the name of a study that ships with kvlens. Shards go to OUT/shard-I-of-N; study-merge.sh joins them.
# Environment: KVLENS, the command, if it is neither on the PATH nor in ./node_modules/.bin; KVLENS_WORKERS, if the study has
# more than one thread per operation (default: the task's CPUs); KVLENS_SHARDS, N, where only some tasks are submitted again.
set -euo pipefail

say() { echo "study-array.sh: $*" >&2; }
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then say 'found no array task, expected sbatch --array=1-N'; exit 2; fi
if [ $# -lt 2 ]; then say "found ${*:-nothing}, expected STUDY OUT [KVLENS OPTIONS]"; exit 2; fi
study=$1 out=$2
shift 2
shards=${KVLENS_SHARDS:-$SLURM_ARRAY_TASK_MAX}
shard=$out/shard-$SLURM_ARRAY_TASK_ID-of-$shards
task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

if [ -n "${KVLENS:-}" ]; then read -ra kvlens <<<"$KVLENS"
elif command -v kvlens >/dev/null; then kvlens=(kvlens)
elif [ -x node_modules/.bin/kvlens ]; then kvlens=(node_modules/.bin/kvlens)
else say 'kvlens not found: set KVLENS, or submit from a folder with node_modules/.bin/kvlens'; exit 2
fi
if [ -f "$study" ]; then which=("$study"); else which=(--preset "$study"); fi

# Finished units, and measured gates: a line each.
lines() { if [ -f "$shard/journal.jsonl" ]; then wc -l <"$shard/journal.jsonl"; else echo 0; fi; }

# Time is nearly up, or the task is to make room: kvlens finishes the units under way, and the shell waits for it.
told=no
stopped=no
stop() {
  told=yes
  stopped=yes
  if [ -n "${process:-}" ]; then kill -TERM "$process" 2>/dev/null || true; fi
}
trap stop TERM

before=$(lines)
"${kvlens[@]}" study "${which[@]}" "$@" --out "$shard" --shard "$SLURM_ARRAY_TASK_ID/$shards" --resume \
  --workers "${KVLENS_WORKERS:-${SLURM_CPUS_PER_TASK:-1}}" &
process=$!
if [ "$stopped" = yes ]; then kill -TERM "$process" 2>/dev/null || true; fi
# `wait` returns early when a trapped signal arrives.
while told=no status=0; wait "$process" || status=$?; [ "$told" = yes ]; do :; done

if [ "$status" -eq 1 ] && [ -f "$shard/units.jsonl" ]; then
  # The shard is finished, and its gates are part of what the merge says.
  say 'a gate failed; the merge will say so'
  exit 0
fi
if [ "$status" -ne 130 ] || [ "$stopped" = no ]; then exit "$status"; fi

# A task that was cancelled, or that Slurm queues again by itself, does not run any more.
if [ "$(squeue --noheader --job "$task" --format %T 2>/dev/null)" != RUNNING ]; then exit "$status"; fi
if [ "$(lines)" -le "$before" ]; then
  say 'no unit was finished within the time limit, so that another turn would not either: give more --time'
  exit "$status"
fi
say 'out of time; queued again'
scontrol requeue "$task"
