/** Graphs survive the way to bytes and back, the bytes depend on the graph alone, and broken bytes are told as such. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.ts';
import type { Checkpoint } from '../../src/checkpoint/types.ts';
import { InputError } from '../../src/errors.ts';
import { buildSingle, buildStage, type Stage } from '../../src/graph/build.ts';
import type { GraphOptions } from '../../src/graph/builder.ts';
import { modelHooks, selectHooks } from '../../src/graph/hooks.ts';
import { resolveKernels } from '../../src/graph/kernels.ts';
import { decodeModel, encodeModel } from '../../src/graph/onnx/codec.ts';
import type { ModelProto } from '../../src/graph/onnx/messages.ts';
import { resolvePolicy } from '../../src/graph/rounding.ts';
import { removeCheckpoint, writeTinyCheckpoint } from '../tiny-checkpoint.ts';

let dir = '';
let checkpoint: Checkpoint;
beforeAll(async () => {
  dir = writeTinyCheckpoint({ attention: 'gqa', dtype: 'BF16' });
  checkpoint = await openCheckpoint(dir);
});
afterAll(() => removeCheckpoint(dir));

const stages: Stage[] = ['embed', { block: 0 }, { block: 1 }, 'unembed'];
const variants = stages.flatMap((stage) =>
  ['fp32', 'fp16', 'bf16', 'fp64'].flatMap((precision) =>
    (['per-head', 'folded'] as const).map((attention) => ({ stage, precision, attention })),
  ),
);

describe.each(variants)('$stage $precision $attention', ({ stage, precision, attention }) => {
  const build = () => buildStage(stage, options(precision, attention)).model;

  test('a decoded graph is the graph that was encoded', () => {
    const model = build();
    expect(decodeModel(encodeModel(model), 'graph.onnx')).toEqual(withoutEmpty(model));
  });

  test('building twice gives the same bytes', () => {
    expect(Buffer.compare(encodeModel(build()), encodeModel(build()))).toBe(0);
  });
});

test('the whole model in one file survives too', () => {
  const { model } = buildSingle(options('fp16', 'per-head'));
  expect(decodeModel(encodeModel(model), 'model.onnx')).toEqual(withoutEmpty(model));
});

describe('broken bytes', () => {
  const encoded = () => encodeModel(buildStage('embed', options('fp16', 'per-head')).model);

  test('a file cut off inside a field is told by name and says what to do', () => {
    const bytes = encoded();
    // Between two fields of the model the bytes so far are a whole message; protobuf cannot tell.
    const whole = topLevelBoundaries(bytes);
    for (let length = 0; length < bytes.length; length++) {
      const decode = () => decodeModel(bytes.subarray(0, length), 'cut.onnx');
      if (whole.has(length)) expect(decode, `${length} bytes`).not.toThrow();
      else expect(decode, `${length} bytes`).toThrow(/^cut\.onnx: not an ONNX model \(.+\)$/);
    }
  });

  test('the error is the user’s to mend, not a bug', () => {
    const decode = () => decodeModel(encoded().subarray(0, 100), 'cut.onnx');
    expect(decode).toThrow(InputError);
    expect(decode).toThrow(expect.objectContaining({ hint: 'export the graph again with kvlens export' }));
  });

  test('one changed byte gives a model or that error, never anything else', () => {
    const bytes = encoded();
    for (let at = 0; at < bytes.length; at++) {
      for (const flip of [0x01, 0x80, 0xff]) {
        const changed = bytes.slice();
        changed[at] ^= flip;
        expect(outcome(changed), `byte ${at} xor ${flip}`).toMatch(/^(model|InputError)$/);
      }
    }
  });

  test('a JSON file, a safetensors header and zeros are refused', () => {
    const texts = [
      Buffer.from('{"model_type": "llama"}'),
      Buffer.from('\x40\0\0\0\0\0\0\0{"__metadata__":{}}'),
      Buffer.alloc(64),
    ];
    for (const bytes of texts) expect(outcome(new Uint8Array(bytes))).toBe('InputError');
  });
});

function options(precision: string, attention: 'per-head' | 'folded'): GraphOptions {
  return {
    checkpoint,
    policy: resolvePolicy(precision),
    kernel: { ...resolveKernels('ort').prefill, attention },
    hooks: new Set(modelHooks(checkpoint.config).map((hook) => hook.name)),
    patchPoints: new Set(selectHooks('core', checkpoint.config).map((hook) => hook.name)),
  };
}

/** Protobuf has no empty lists: an empty repeated field is an absent one. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const kept = Object.entries(value).filter(([, item]) => !(Array.isArray(item) && item.length === 0));
  return Object.fromEntries(kept.map(([key, item]) => [key, withoutEmpty(item)]));
}

function outcome(bytes: Uint8Array): string {
  try {
    const model: ModelProto = decodeModel(bytes, 'broken.onnx');
    return typeof model === 'object' ? 'model' : typeof model;
  } catch (error) {
    return error instanceof Error ? error.name : String(error);
  }
}

/** Offsets after each top-level field (0 included): tag byte, then a varint or a length and that many bytes. */
function topLevelBoundaries(bytes: Uint8Array): Set<number> {
  const boundaries = new Set([0]);
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const wireType = varint() & 7;
    const value = varint();
    if (wireType === 2) at += value;
    boundaries.add(at);
  }
  return boundaries;
}
