/** The files of a reproduction: graphs, raw tensors, a record of what they are, a script and a few lines to read. */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { versions } from '../../divergence/gates/machine.ts';
import { encodeModel } from '../../graph/onnx/codec.ts';
import { positionAxis } from '../../model/activation-rows.ts';
import { floatTensor } from '../../model/arrays.ts';
import type { Executor } from '../../model/executor.ts';
import type { Tensor } from '../../model/onnxruntime.ts';
import { runtimeOptions } from '../../model/session.ts';
import { guard, PartialFile } from '../../store/files.ts';
import type { OperationCase } from './operation-case.ts';
import { reproduceScript } from './reproduce-script.ts';
import type { ExplainVerdict } from './types.ts';

export interface ReproductionContent {
  executor: Executor;
  operation: string;
  verdict: ExplainVerdict;
  cases: readonly OperationCase[];
  /** Elements of the newest row that differ between the cases, of how many. */
  differ: number;
  elements: number;
}

/** A tensor in a file of its own: raw, little-endian, row-major. */
interface TensorFile {
  file: string;
  type: string;
  dims: readonly number[];
  sha256: string;
}

/** Write everything. @throws InputError if the folder cannot be written */
export function writeReproduction(folder: string, content: ReproductionContent): void {
  const { executor, operation, verdict, cases, differ, elements } = content;
  guard(folder, () => mkdirSync(folder, { recursive: true }));
  const write = (name: string, bytes: Uint8Array) => {
    const file = new PartialFile(join(folder, name));
    file.write(bytes);
    file.publish();
  };
  const graphs = new Map<string, string>();
  const graphFile = ({ graph }: OperationCase) => {
    const bytes = encodeModel(graph.model);
    const digest = sha256(bytes);
    const known = graphs.get(digest);
    if (known !== undefined) return { file: known, sha256: digest };
    const file = graphs.size === 0 ? 'op.onnx' : `op-${graphs.size + 1}.onnx`;
    graphs.set(digest, file);
    write(file, bytes);
    return { file, sha256: digest };
  };
  const tensor = (name: string, { data, dims, type }: Tensor): TensorFile => {
    if (!ArrayBuffer.isView(data)) throw new Error(`${name}: expected numbers`);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const file = `${name.replaceAll(/[^\w]+/g, '_')}.bin`;
    write(file, bytes);
    return { file, type, dims, sha256: sha256(bytes) };
  };
  const described = cases.map((each, i) => {
    const { hook, role, expected } = each;
    return {
      name: each.name,
      graph: graphFile(each),
      session: runtimeOptions({ ...executor.sessionOptions(role), weightsRoot: '' }),
      inputs: Object.fromEntries(
        Object.entries(each.feeds).map(([name, value]) => [name, tensor(`case${i + 1}_${name}`, value)]),
      ),
      output: each.graph.outputs[0],
      expected: tensor(`case${i + 1}_expected`, floatTensor(expected.data, expected.dims)),
      newestAlong: positionAxis(hook),
    };
  });
  const record = {
    operation,
    verdict,
    model: executor.options.checkpoint.name,
    precision: executor.policy.name,
    kernels: executor.kernels.name,
    versions: { ...versions(), node: process.versions.node },
    cases: described,
    newestRow: { differ, elements },
  };
  const text = (value: string) => new TextEncoder().encode(value);
  write('reproduction.json', text(`${JSON.stringify(record, null, 2)}\n`));
  write('reproduce.mjs', text(reproduceScript));
  write('README.md', text(readme(content)));
}

function readme({ operation, verdict, cases, differ, elements, executor }: ReproductionContent): string {
  const { checkpoint } = executor.options;
  return `# ${operation}

${checkpoint.name}, ${executor.policy.name}, kernels ${executor.kernels.name}. Two cases of one operation: ${cases
    .map(({ name }) => name)
    .join(' and ')}. The newest row differs in ${differ} of ${elements} elements.

Verdict of the run: ${verdict.cause} (rule ${verdict.rule}): ${verdict.sentence}.

\`op.onnx\` is the operation as the runtime runs it, \`*.bin\` are tensors (raw, little-endian, row-major), \`reproduction.json\`
says what is what. With onnxruntime-node installed, \`node reproduce.mjs\` runs both cases and compares bit for bit: exit code 0 if
everything is as recorded, 1 if not. Bits are those of one machine's kernels: another processor may give others.
`;
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
