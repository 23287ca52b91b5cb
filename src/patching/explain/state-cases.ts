/** A fault in the state, shown at the operation that reads it: on what the step read, and on what it should have read. */
import { findHook, type Hook, hookName } from '../../graph/hooks.ts';
import { allocate, floatTensor } from '../../model/arrays.ts';
import type { Activations, Executor } from '../../model/executor.ts';
import { type OperationCase, type OperationRequest, operationCase } from './operation-case.ts';
import type { StateEvent } from './replay.ts';
import type { StateFault } from './types.ts';

/** Two cases of the operation that a fault enters, or why there are none. */
export function stateCases(executor: Executor, event: StateEvent, fault: StateFault): OperationCase[] | string {
  const hook = readerOf(executor, event, fault);
  if (typeof hook === 'string') return hook;
  const { start, n, found, expected } = event;
  const rows = { start, count: n - start };
  const [wrong, right] = caseNames(fault);
  const common = { hook, role: 'decode' as const };
  const made = [
    operationCase(executor, {
      ...{ ...common, name: wrong, activations: found },
      rows: fault.offset === undefined ? rows : { ...rows, wrong: { offset: fault.offset } },
      ...(fault.kind === 'wrong mask' ? maskOf(executor, found, hook, rows) : {}),
    }),
    operationCase(executor, { ...common, name: right, rows, activations: expected }),
  ];
  const refused = made.find((each) => typeof each === 'string');
  return refused ?? made.filter((each) => typeof each !== 'string');
}

/** The operation whose output is the first that the fault changes. */
function readerOf({ config }: Executor, { hook }: StateEvent, { kind }: StateFault): Hook | string {
  const { kind: place } = hook.definition;
  const reader = { 'attn.cache_k': 'attn.attn_scores', 'attn.cache_v': 'attn.z' }[place];
  if (reader !== undefined) return findHook(hookName(reader, hook.layer), config)!;
  if (kind === 'wrong position' || kind === 'wrong mask') return hook;
  return `${kind}: there is no operation that shows it by itself`;
}

function caseNames({ kind, component }: StateFault): [wrong: string, right: string] {
  if (component !== null) return ['rows as read', 'rows as written'];
  return kind === 'wrong mask' ? ['mask as fed', 'mask of the position'] : ['position as fed', 'position of the step'];
}

/** The mask that scores were made with: a key is hidden where every head's score is −inf. */
function maskOf(
  executor: Executor,
  activations: Activations,
  hook: Hook,
  { count }: { count: number },
): Pick<OperationRequest, 'mask'> {
  const { data, dims } = activations.get(hook.name)!;
  const [, heads, , keys] = dims;
  const mask = allocate(executor.compute, count * keys);
  for (let at = 0; at < mask.length; at++) {
    const hidden = Array.from({ length: heads }, (_, head) => data[head * count * keys + at] === -Infinity);
    if (hidden.every(Boolean)) mask[at] = -Infinity;
  }
  return { mask: floatTensor(mask, [count, keys]) };
}
