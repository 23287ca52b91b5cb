/** Reading an optimized graph: what counts, and what must never be there. */
import { expect, test } from 'vitest';
import { multisetDifference, readOptimized } from '../../../src/divergence/gates/optimized-graph.ts';
import { attributeTypes, dataTypes, type NodeProto } from '../../../src/graph/onnx/messages.ts';

const half = { elemType: dataTypes.float16 };
const node = (opType: string, input: string[], output: string, domain = ''): NodeProto => ({
  opType,
  domain,
  input,
  output: [output],
});
const cast = (input: string, output: string, to: number): NodeProto => ({
  ...node('Cast', [input], output),
  attribute: [{ name: 'to', i: to, type: attributeTypes.int }],
});
const graphOf = (...nodes: NodeProto[]) => ({
  graph: {
    input: [{ name: 'x', type: { tensorType: half } }],
    initializer: [{ name: 'w', dataType: dataTypes.float }],
    node: nodes,
  },
});

test('a float16 Add is compute in 16 bits; moving float16 values is not', () => {
  const model = graphOf(node('Transpose', ['x'], 't'), node('Add', ['t', 't'], 'y'));
  expect(readOptimized(model).narrowCompute).toEqual(['Add']);
});

test('after a cast to float the same Add is none', () => {
  const model = graphOf(cast('x', 'wide', dataTypes.float), node('Add', ['wide', 'w'], 'y'));
  expect(readOptimized(model)).toMatchObject({ narrowCompute: [], unknownDomains: [] });
});

test('selecting between float16 values counts as compute', () => {
  expect(readOptimized(graphOf(node('Where', ['m', 'x', 'x'], 'y'))).narrowCompute).toEqual(['Where']);
});

test('operations on constants are not counted', () => {
  const model = graphOf(cast('w', 'narrow', dataTypes.float16), node('Identity', ['x'], 'y'));
  expect([...readOptimized(model).operators]).toEqual([['Identity', 1]]);
});

test('a domain nobody knows is reported', () => {
  const model = graphOf(
    node('Mystery', ['x'], 'y', 'org.example'),
    node('FusedMatMul', ['w', 'x'], 'z', 'com.microsoft'),
  );
  expect(readOptimized(model).unknownDomains).toEqual(['Mystery@org.example']);
  expect([...readOptimized(model).operators.keys()]).toContain('FusedMatMul@com.microsoft');
});

test('multisets are compared by count, casts named by their type', () => {
  const found = new Map([
    ['Add', 2],
    ['Cast(10)', 1],
  ]);
  const expected = new Map([
    ['Add', 2],
    ['Cast(10)', 3],
    ['Mul', 1],
  ]);
  expect(multisetDifference(found, expected)).toBe('Cast(float16) 1, not 3, Mul 0, not 1');
  expect(multisetDifference(found, new Map(found))).toBe('');
});
