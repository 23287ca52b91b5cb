/** `reproduce.mjs` of a reproduction: a file by itself, with node's own modules and onnxruntime-node. */
export const reproduceScript = `// Run the recorded cases of one operation and compare every bit. Needs onnxruntime-node; exit code 1 if anything differs.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

process.env.ORT_DISABLE_TELEMETRY ??= '1'; // read once, when onnxruntime-node starts
const { InferenceSession, Tensor } = await import('onnxruntime-node');

const at = (name) => new URL(name, import.meta.url);
const record = JSON.parse(readFileSync(at('reproduction.json'), 'utf8'));
const arrays = { float32: Float32Array, float64: Float64Array };
let asRecorded = true;
const report = (name, problem) => {
  if (problem) asRecorded = false;
  console.log(\`\${problem ? '✗' : '✓'} \${name}: \${problem ?? 'as recorded'}\`);
};

function read({ file, sha256 }) {
  const bytes = readFileSync(at(file));
  if (createHash('sha256').update(bytes).digest('hex') !== sha256) report(file, 'not the recorded bytes');
  return new Uint8Array(bytes);
}

function tensor(stored) {
  return new Tensor(stored.type, new arrays[stored.type](read(stored).buffer), stored.dims);
}

/** The newest row along an axis, as bytes of each element. */
function newest({ data, dims }, axis) {
  const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const rows = [];
  for (let i = 0; i < outer; i++) rows.push(...data.subarray(((i + 1) * dims[axis] - 1) * inner, (i + 1) * dims[axis] * inner));
  return rows;
}

const differing = (a, b) => a.reduce((count, value, i) => count + (Object.is(value, b[i]) ? 0 : 1), 0);

console.log(\`\${record.operation}: \${record.model}, \${record.precision}, kernels \${record.kernels}\`);
const found = [];
for (const { name, graph, session: options, inputs, output, expected, newestAlong } of record.cases) {
  const session = await InferenceSession.create(read(graph), options);
  const feeds = Object.fromEntries(Object.entries(inputs).map(([input, stored]) => [input, tensor(stored)]));
  const result = (await session.run(feeds, [output]))[output];
  const wanted = tensor(expected);
  const count = differing([...result.data], [...wanted.data]);
  report(name, count > 0 ? \`\${count} of \${wanted.data.length} elements are not the recorded ones\` : null);
  found.push(newest(result, newestAlong));
  await session.release();
}
const { differ, elements } = record.newestRow;
const count = differing(found[0], found[1]);
const names = record.cases.map(({ name }) => name).join(' against ');
report(\`newest row, \${names}\`, count === differ ? null : \`\${count} of \${elements} elements differ, recorded \${differ}\`);
console.log(\`\${count} of \${elements} elements of the newest row differ between the cases\`);
process.exitCode = asRecorded ? 0 : 1;
`;
