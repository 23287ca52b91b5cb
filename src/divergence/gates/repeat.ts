/** Gate 1. The same arm run again gives the same bits; in an audit also in a process of its own. */
import { referenceTo } from '../../checkpoint/expand-kv.ts';
import { type ArmDigests, type ArmsRequest, digestArms, unlikeDigests } from './arm-digests.ts';
import { gateClaims } from './claims.ts';
import type { Gate, GateContext, Observation } from './gate.ts';
import { always, count, lengthScope } from './gate.ts';

export const repeat: Gate = {
  name: 'repeat',
  class: 'harness',
  claim: gateClaims.repeat,
  required: '0 tensors differ',
  failing: ['an executor whose results depend on what ran before', 'a fresh process with other options'],
  appliesTo: always,
  stages: 'first',
  begin,
};

interface Found {
  total: number;
  unlike: string[];
}

function begin({ audited, scale, prompt, lengths }: GateContext): Observation {
  const found: Found = { total: 0, unlike: [] };
  return {
    observe: (context) => observe(context, found),
    conclude: () => {
      const quoted = audited?.gates.find(({ name }) => name === 'repeat');
      const unlike = [...found.unlike];
      if (scale === 'run' && quoted?.passed === false) unlike.push(`${quoted.measured} (audit)`);
      const notRun = audited ? `: audit ${audited.hash}` : ': not run, see kvlens audit';
      return {
        passed: unlike.length === 0,
        measured: `${count(unlike.length)} of ${count(found.total)} tensors differ${unlike.length > 0 ? `; first: ${unlike[0]}` : ''}`,
        scope: `prompt ${prompt.id}, ${lengthScope(lengths)}, both arms, every hook; fresh sessions; fresh process${scale === 'audit' ? '' : notRun}`,
      };
    },
  };
}

async function observe(context: GateContext, found: Found): Promise<void> {
  const { checkpoint, policy, kernels, threads, decodeRows, tokens, prompt } = context;
  const request: ArmsRequest = {
    checkpoint: referenceTo(checkpoint),
    policy,
    kernels,
    threads,
    decodeRows,
    tokens,
    promptLength: prompt.tokens.length,
  };
  const run = () => inFreshSessions(context, request);
  const [first, again] = await context.together([run, run]);
  found.unlike.push(...unlikeDigests(first, again).map((key) => `${key} (fresh sessions)`));
  found.total += Object.keys(first).length;
  if (context.scale === 'audit') {
    found.unlike.push(...unlikeDigests(first, await context.fresh(request)).map((key) => `${key} (fresh process)`));
  }
}

async function inFreshSessions(context: GateContext, request: ArmsRequest): Promise<ArmDigests> {
  const executor = context.open();
  try {
    return await digestArms(executor, context.hooks, request);
  } finally {
    await executor.release();
  }
}
