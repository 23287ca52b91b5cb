/** The fresh process of gate repeat: a request on stdin, digests of both arms on stdout. */
import { readFileSync } from 'node:fs';
import { openReference } from '../../checkpoint/expand-kv.ts';
import { Executor } from '../../model/executor.ts';
import { type ArmsRequest, digestArms } from './arm-digests.ts';
import { observedHooks } from './context.ts';

const request: ArmsRequest = JSON.parse(readFileSync(0, 'utf8'));
const executor = new Executor({
  checkpoint: await openReference(request.checkpoint),
  policy: request.policy,
  kernels: request.kernels,
  threads: request.threads,
});
process.stdout.write(JSON.stringify(await digestArms(executor, observedHooks(executor), request)));
