#!/usr/bin/env bash
# A study as a Slurm job array, on a Slurm of one node that is set up here and gone afterwards: `test/slurm/run.sh`.
# Tasks are told to stop, queued again and killed midway; the merged study must have the bytes of one that was run as a whole.
#
# Needs the built command, and root. Debian's slurm-wlm is installed if it is missing; where that cannot be, nothing is run.
# Prints `N passed, N failed` as its last line.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
skip() { echo "skipped: $1"; echo '0 passed, 0 failed'; exit 0; }
[ -f "$root/dist/cli/main.js" ] || { echo 'run.sh: dist/cli/main.js is missing: npm run build' >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || skip 'Slurm on one node (it needs root)'
missing() { local tool; for tool in munged slurmctld slurmd sbatch; do command -v "$tool" >/dev/null || return 0; done; return 1; }
if missing; then
  command -v apt-get >/dev/null || skip 'Slurm on one node (no slurm-wlm, and no apt-get)'
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm; } >/dev/null 2>&1 ||
    skip 'Slurm on one node (slurm-wlm cannot be installed)'
  missing && skip 'Slurm on one node (slurm-wlm lacks its daemons)'
fi

work=$(mktemp -d)
source "$root/test/counting.sh"
daemons=()
clean_up() {
  scancel --user root >/dev/null 2>&1 || true
  for _ in $(seq 50); do [ -n "$(squeue --noheader 2>/dev/null)" ] || break; sleep 0.2; done
  # Last started, first ended.
  for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
    kill "${daemons[i]}" 2>/dev/null || true
    wait "${daemons[i]}" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean_up EXIT

# A port that nobody listens on.
free_port() { node -e 'const s = require("net").createServer().listen(0, () => { console.log(s.address().port); s.close(); })'; }

start_slurm() {
  mkdir -p "$work"/{state,spool,munge}
  chmod 755 "$work" "$work/munge"
  head -c 1024 /dev/urandom >"$work/munge/key"
  chmod 600 "$work/munge/key"
  cat >"$work/slurm.conf" <<EOF
ClusterName=kvlens
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MailProg=/bin/true
KillWait=5
MinJobAge=3600
ReturnToService=2
NodeName=node NodeHostname=$(hostname) NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
  export SLURM_CONF=$work/slurm.conf
  munged --foreground --force --key-file "$work/munge/key" --socket "$work/munge/socket" --pid-file "$work/munge/pid" \
    --log-file "$work/munge/log" --seed-file "$work/munge/seed" >"$work/munged.log" 2>&1 &
  daemons+=($!)
  wait_for 60 test -S "$work/munge/socket"
  slurmctld -D -f "$work/slurm.conf" >"$work/slurmctld.log" 2>&1 &
  daemons+=($!)
  slurmd -D -f "$work/slurm.conf" -N node >"$work/slurmd.log" 2>&1 &
  daemons+=($!)
  wait_for 60 node_is_idle
}
node_is_idle() { [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ]; }

# Try until it succeeds, for so many seconds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# What Slurm says of a job or a task: one field of `scontrol show job`.
field() { scontrol --oneliner show job "$1" 2>/dev/null | grep -oE "(^| )$2=[^ ]*" | head -n 1 | cut -d = -f 2; }
is_state() { [ "$(field "$1" JobState)" = "$2" ]; }
# True once a task runs for the second time. Slurm waits two minutes before it starts what was queued again, counted from when
# all is cleaned up after the first time; a test need not.
runs_again() {
  if [ "$(field "$1" Restarts)" = 1 ]; then
    case $(field "$1" JobState) in
      RUNNING | COMPLETED) return 0 ;;
      PENDING) scontrol update JobId="$1" StartTime=now 2>/dev/null || true ;;
    esac
  fi
  return 1
}

export KVLENS="node $root/dist/cli/main.js"
out=$work/out
shard() { echo "$out/shard-$1-of-4"; }
journal() { echo "$(shard "$1")/journal.jsonl"; }
has_lines() { [ -f "$(journal "$1")" ] && [ "$(wc -l <"$(journal "$1")")" -ge "$2" ]; }
# Keep what a shard has finished so far: whole lines, as a kill leaves them.
keep() { head -n "$(wc -l <"$(journal "$1")")" "$(journal "$1")" >"$work/kept-$1"; }
# What was finished before is the beginning of what is there at the end: it was not made again.
went_on() { [ "$(wc -l <"$work/kept-$1")" -ge 2 ] && cmp -n "$(stat -c %s "$work/kept-$1")" "$work/kept-$1" "$(shard "$1")/units.jsonl"; }

cat >"$work/study.json" <<'EOF'
{ "name": "array", "models": ["mini-llama"], "strategies": ["greedy", "t1.0-k50"], "precisions": ["fp32"],
  "prompts": { "limit": 28 }, "maxNewTokens": 60, "profile": { "prompts": 4 }, "patching": { "prompts": 2, "every": 16 },
  "placebo": { "arms": 0 } }
EOF
submit() { (cd "$work" && sbatch --parsable "$@"); }
array() { submit --cpus-per-task=1 "$@" "$root/scripts/slurm/study-array.sh" "$work/study.json" "$out"; }

echo 'Slurm'
if ! start_slurm; then
  tail -n 5 "$work"/{munged,slurmctld,slurmd}.log
  skip 'Slurm on one node (its daemons do not run here)'
fi
$KVLENS study "$work/study.json" --out "$work/whole" --quiet >/dev/null

process_of() { node -p 'JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).pid' "$(shard "$1")/.journal.jsonl.owner"; }
# Where a process stands still, Slurm may take as long as it likes to say what comes next: there is work left.
stands_still() { has_lines "$1" 2 && kill -STOP "$(process_of "$1")"; }
# proc(5): pending signals as a bit mask in hexadecimal; SIGTERM is bit 14.
was_told() { (($(sed -n 's/^ShdPnd:[[:space:]]*/0x/p' "/proc/$(process_of "$1")/status") & 1 << 14)); }
job=$(array --array=1-4)
for task in 1 2 3; do
  succeeds "task $task makes units of its own shard" wait_for 240 stands_still "$task"
  keep "$task"
done
# As before the time limit: a signal for the script alone.
scancel --signal=TERM --batch "${job}_1"
succeeds 'the script tells kvlens' wait_for 120 was_told 1
kill -CONT "$(process_of 1)"
scontrol requeue "${job}_2"
succeeds 'a task’s process is killed, as where memory runs out' kill -KILL "$(process_of 3)"
merge=$(submit --dependency="afterany:$job" "$root/scripts/slurm/study-merge.sh" "$out")
waits_for_shards() { [ "$(squeue --noheader --job "$merge" --format %T:%r)" = PENDING:Dependency ]; }
succeeds 'the merge waits for the shards' wait_for 30 waits_for_shards
for task in 1 2 3; do
  succeeds "task $task is queued again, and started" wait_for 240 runs_again "${job}_$task"
done
for task in 1 2 3 4; do
  succeeds "task $task is completed" wait_for 600 is_state "${job}_$task" COMPLETED
done
log() { echo "$work/kvlens-study-${job}_$1.log"; }
succeeds 'the task that was told to stop ended kvlens cleanly' grep -q '^kvlens: interrupted after' "$(log 1)"
succeeds 'and queued itself again' grep -q '^study-array.sh: out of time; queued again' "$(log 1)"
succeeds 'so did the one whose process was killed' \
  grep -q '^study-array.sh: kvlens was killed (signal 9); queued again' "$(log 3)"
for task in 1 2 3; do
  succeeds "task $task went on where it stopped" went_on "$task"
done
succeeds 'the merge is completed' wait_for 300 is_state "$merge" COMPLETED
for file in "$work"/whole/*; do
  name=$(basename "$file")
  if [ "$name" = manifest.json ]; then continue; fi
  succeeds "$name has the bytes of the study run as a whole" cmp "$file" "$out/merged/$name"
done
identity() { node -p 'JSON.stringify(JSON.parse(require("fs").readFileSync(process.argv[1], "utf8")).identity)' "$1/manifest.json"; }
succeeds 'the manifest says the same study' test "$(identity "$work/whole")" = "$(identity "$out/merged")"
succeeds 'and no more files are there' test "$(ls -A "$work/whole")" = "$(ls -A "$out/merged")"

before=$(stat -c %Y%s "$(shard 2)"/* | tr -d '\n')
again=$(KVLENS_SHARDS=4 array --array=2)
succeeds 'a finished shard that is submitted again is completed at once' wait_for 240 is_state "${again}_2" COMPLETED
succeeds 'and changes nothing' test "$before" = "$(stat -c %Y%s "$(shard 2)"/* | tr -d '\n')"

out=$work/cancelled
job=$(array --array=1-4%1)
succeeds 'a task runs, to be cancelled' wait_for 240 test -f "$(journal 1)"
scancel "$job"
succeeds 'a cancelled task stays cancelled' wait_for 240 is_state "${job}_1" CANCELLED
sleep 2
succeeds 'and is not queued again' test "$(field "${job}_1" JobState):$(field "${job}_1" Restarts)" = CANCELLED:0

if [ "$failed" -gt 0 ]; then tail -n 20 "$work"/*.log; scontrol --oneliner show job; fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
