/** Gate 1. The same arm run again gives the same bits; in an audit also in a process of its own. */
import { referenceTo } from '../../checkpoint/expand-kv.ts';
import { type ArmDigests, type ArmsRequest, digestArms, unlikeDigests } from './arm-digests.ts';
import type { Gate, GateContext, Measurement } from './gate.ts';
import { always, count, lengthScope } from './gate.ts';

export const repeat: Gate = {
  name: 'repeat',
  class: 'harness',
  claim: 'each arm run twice gives the same bits at every hook, in fresh sessions and in a fresh process',
  required: '0 tensors differ',
  failing: ['an executor whose results depend on what ran before', 'a fresh process with other options'],
  appliesTo: always,
  measure,
};

async function measure(context: GateContext): Promise<Measurement> {
  const { checkpoint, policy, kernels, threads, decodeRows, tokens, prompt } = context;
  const request: ArmsRequest = {
    checkpoint: referenceTo(checkpoint),
    policy,
    kernels: kernels.name,
    threads,
    decodeRows,
    tokens,
    promptLength: prompt.tokens.length,
  };
  const first = await inFreshSessions(context, request);
  const again = await inFreshSessions(context, request);
  const unlike = unlikeDigests(first, again).map((key) => `${key} (fresh sessions)`);
  let elsewhere = context.audited
    ? `fresh process: audit ${context.audited.hash}`
    : 'fresh process: not run, see kvlens audit';
  if (context.scale === 'audit') {
    unlike.push(...unlikeDigests(first, await context.fresh(request)).map((key) => `${key} (fresh process)`));
    elsewhere = 'fresh process';
  }
  const total = Object.keys(first).length;
  const quoted = context.audited?.gates.find(({ name }) => name === 'repeat');
  if (context.scale === 'run' && quoted?.passed === false) unlike.push(`${quoted.measured} (audit)`);
  return {
    passed: unlike.length === 0,
    measured: `${count(unlike.length)} of ${count(total)} tensors differ${unlike.length > 0 ? `; first: ${unlike[0]}` : ''}`,
    scope: `prompt ${prompt.id}, ${lengthScope(context.lengths)}, both arms, every hook; fresh sessions; ${elsewhere}`,
  };
}

async function inFreshSessions(context: GateContext, request: ArmsRequest): Promise<ArmDigests> {
  const executor = context.open();
  try {
    return await digestArms(executor, context.hooks, request);
  } finally {
    await executor.release();
  }
}
