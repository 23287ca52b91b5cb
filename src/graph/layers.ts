/**
 * The layers architectures are made of. Each takes the graph under construction and returns a value; shapes are in the
 * trailing comments; a rounding stands where Hugging Face's half-precision code rounds (R1–R14 of its eager attention).
 */
import type { GraphBuilder, HeadRows, Value } from './builder.ts';
import type { OperationClass } from './kernels.ts';
import { product } from './product.ts';
import type { Place } from './rounding.ts';

/** y = x Wᵀ + b; one rounding after the float32 sum (more where the kernel of its class stores partial sums). `heads`: the rows of W and b are heads that the graph repeats. */
export function linear(
  g: GraphBuilder,
  x: Value,
  key: string,
  operation: OperationClass,
  { place = 'linear', bias, heads }: { place?: Place; bias?: string | undefined; heads?: HeadRows } = {},
): Value {
  const sum = product(g, operation, x, g.linearWeight(key, heads), { depth: g.columns(key), place });
  return g.round(bias === undefined ? sum : g.op('Add', [sum, g.weight(bias, heads)]), place);
}

/**
 * Root mean square norm, LLaMA's rule: normalise in float32, round, multiply by the weight, round.
 * Hooks: `{hook}.hook_scale` = sqrt(mean x² + ε), `{hook}.hook_normalized` = x / scale before weight and rounding.
 */
export function rmsNorm(g: GraphBuilder, x: Value, key: string, hook: string): Value {
  const normalized = normalize(g, x, hook);
  return g.round(g.op('Mul', [g.weight(key), g.round(normalized, 'norm')]), 'norm');
}

/** LLaMA's rule over the last axis of q or k, [batch, pos, heads, d_head], without hooks. */
export function perHeadNorm(g: GraphBuilder, x: Value, key: string): Value {
  const normalized = normalize(g, x, null);
  return g.round(g.op('Mul', [g.weight(key), g.round(normalized, 'norm')]), 'norm');
}

/** Gemma's rule: normalise and multiply by 1 + w in float32, one rounding. Hooks as `rmsNorm`. */
export function gemmaNorm(g: GraphBuilder, x: Value, key: string, hook: string): Value {
  const weight = g.op('Add', [g.scalar(1), g.weight(key)]);
  return g.round(g.op('Mul', [normalize(g, x, hook), weight]), 'norm');
}

/** x / sqrt(mean x² + ε) */
function normalize(g: GraphBuilder, x: Value, hook: string | null): Value {
  const shown = (name: string, value: Value) => (hook === null ? value : g.hook(`${hook}.${name}`, value));
  const meanSquare = g.op('ReduceMean', [g.op('Mul', [x, x])], { axes: [-1], keepdims: 1 });
  const scale = shown('hook_scale', g.op('Sqrt', [g.op('Add', [meanSquare, g.scalar(g.config.normEpsilon)])]));
  return shown('hook_normalized', g.op('Mul', [x, g.op('Reciprocal', [scale])]));
}

/** Split the last axis into heads: [batch, pos, heads · d_head] → [batch, pos, heads, d_head]. */
export function splitHeads(g: GraphBuilder, x: Value, heads: number): Value {
  return g.op('Reshape', [x, g.integers([0, 0, heads, g.config.headDim])], {}, x.type);
}

/**
 * Rotary position embedding in half-split order: R(x) = x·cos + rot(x)·sin, rot(x) = (−x₂, x₁); three roundings.
 * @param x [batch, pos, heads, d_head]
 * @param cos, sin [1, pos, 1, d_head], both halves equal
 */
export function rotate(g: GraphBuilder, x: Value, cos: Value, sin: Value): Value {
  const half = g.config.headDim / 2;
  const [first, second] = g.ops('Split', [x, g.integers([half, half])], 2, { axis: -1 }, x.type);
  const turned = g.op('Concat', [g.op('Neg', [second], {}, x.type), first], { axis: -1 }, x.type);
  const straight = g.round(g.op('Mul', [x, cos]), 'rotary');
  const crossed = g.round(g.op('Mul', [turned, sin]), 'rotary');
  return g.round(g.op('Add', [straight, crossed]), 'rotary');
}

/**
 * silu(x) = x / (1 + exp(−x)), float32 inside, one rounding. Not x · Sigmoid(x): the runtime's Sigmoid is off by 0.2 % at
 * x = −10 and by all of its value from −16 on, several steps of a half type.
 */
export function silu(g: GraphBuilder, x: Value): Value {
  const denominator = g.op('Add', [g.scalar(1), g.op('Exp', [g.op('Neg', [x], {}, x.type)])]);
  return g.round(g.op('Div', [x, denominator]), 'mlp');
}

/**
 * gelu(x) ≈ x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), float32 inside, one rounding. tanh(u) = 2 / (1 + exp(−2u)) − 1,
 * which in float32 is right to one rounding near −1, where 1 + tanh cancels; the runtime's Tanh is off by several.
 */
export function geluTanh(g: GraphBuilder, x: Value): Value {
  const cubic = g.op('Mul', [g.op('Mul', [x, g.op('Mul', [x, x])]), g.scalar(0.044715)]);
  const inner = g.op('Mul', [g.op('Add', [x, cubic]), g.scalar(Math.sqrt(2 / Math.PI))]);
  const logistic = g.op('Add', [g.scalar(1), g.op('Exp', [g.op('Mul', [inner, g.scalar(-2)])])]);
  const tanh = g.op('Sub', [g.op('Div', [g.scalar(2), logistic]), g.scalar(1)]);
  const outer = g.op('Add', [g.scalar(1), tanh]);
  return g.round(g.op('Mul', [g.op('Mul', [x, g.scalar(0.5)]), outer]), 'mlp');
}

/** c·tanh(u / c), each operation rounded (R7, R14). */
export function softcap(g: GraphBuilder, u: Value, cap: number): Value {
  const share = g.round(g.op('Div', [u, g.scalar(cap)]), 'softcap');
  const squashed = g.round(g.op('Tanh', [share]), 'softcap');
  return g.round(g.op('Mul', [squashed, g.scalar(cap)]), 'softcap');
}

/** x + y, rounded to the residual stream's type. */
export function addResidual(g: GraphBuilder, x: Value, y: Value): Value {
  return g.round(g.op('Add', [x, y]), 'residual');
}
