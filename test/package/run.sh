#!/usr/bin/env bash
# The packed tarball, installed elsewhere: `test/package/run.sh`. Needs the built command (npm run build) and an npm registry.
# Prints `N passed, N failed` as its last line.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source "$root/test/counting.sh"

echo 'Package'
(cd "$root" && npm pack --silent --ignore-scripts --pack-destination "$work" >/dev/null)
mkdir "$work/consumer"
cd "$work/consumer"
echo '{ "name": "consumer", "private": true }' >package.json
# Without the flag the runtime asks for CUDA libraries, which fails offline.
succeeds 'installs without a network beyond the registry' \
  npm install --no-audit --no-fund --onnxruntime-node-install=skip "$work"/kvlens-*.tgz
succeeds 'is a command' npx --no-install kvlens models
succeeds 'runs its model' npx --no-install kvlens diverge mini-llama --limit 1 --max-new-tokens 8 --quiet --out run
succeeds 'runs its exported graphs' \
  npx --no-install kvlens generate node_modules/kvlens/graphs/mini-llama/fp16-ort --tokens 1,17 --max-new-tokens 2
cat >use.mjs <<'EOF'
import { Model } from 'kvlens';
const model = await Model.open('mini-llama');
const { logits, cache } = await model.runWithCache('Tom has 3 apples.\n');
if (logits.shape[2] !== 512 || cache.get('resid_post', 3).shape[2] !== 128) throw new Error('wrong shapes');
EOF
succeeds 'is a library' node use.mjs
# Training code, tests and sources stay out.
succeeds 'ships what it needs and no more' test ! -e node_modules/kvlens/src -a ! -e node_modules/kvlens/data/training

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
