/** `kvlens audit MODEL`: every gate, with what it measured and what it required. */
import { audit } from '../../divergence/gates/index.ts';
import { exitCodes } from '../../errors.ts';
import { renderAudit } from '../../report/terminal/index.ts';
import { type Prompt, promptFromText, promptFromTokens } from '../../study/prompts.ts';
import type { CommandDefinition } from '../command.ts';
import { checkLoads } from '../execution.ts';
import {
  addCommonOptions,
  addPromptOptions,
  type CommonOptions,
  OptionValues,
  type PromptSource,
  readPromptSource,
  unusedOptions,
} from '../options.ts';
import { Progress } from '../progress.ts';
import { noteUnused, openSubject, promptTarget, readPrompts, type Subject } from '../subject.ts';

/** What the gates read where neither the model nor the user has a prompt: words and digits, long enough to differ. */
const ownText = 'Tom has 3 apples and buys 4 more. How many apples does he have now?\n';

export const auditCommand: CommandDefinition<'audit'> = {
  name: 'audit',
  description: 'the gates, each with measured and required value',
  takesModel: true,
  keepsWork: false,
  configure: (command) => {
    addPromptOptions(command, ['prompts', 'prompt', 'tokens']);
    addCommonOptions(command);
  },
  run: async (command, model, context) => {
    const quiet = new OptionValues(command).flag('quiet');
    const used = [
      'precision',
      'kernels',
      'decodeRows',
      'threads',
      'template',
      'fewShot',
      'maxMemory',
      'json',
      'quiet',
    ] as const;
    noteUnused(unusedOptions(command, used), 'audit', context, quiet);
    const subject = await openSubject(model, context, command);
    const { checkpoint, options } = subject;
    checkLoads(checkpoint, options.policy, options.maxMemory, 3);
    const { policy, kernels, threads, decodeRows } = options;
    const { id, tokens, continuation } = auditPrompt(subject, readPromptSource(command), options);
    const progress = new Progress(context.io, quiet);
    const stop = progress.waiting(`auditing ${checkpoint.name}`);
    try {
      const prompt = { id, tokens };
      const forced = continuation === null ? {} : { continuation };
      const found = await audit({ checkpoint, policy, kernels, threads, decodeRows, prompt, ...forced });
      const heading = `${checkpoint.name}  ${policy.name}, ${kernels.name}, audit ${found.hash}`;
      return {
        result: { passed: found.passed, gates: found.gates, hash: found.hash, model: checkpoint.name },
        text: renderAudit(found.gates, context.io, heading),
        exitCode: found.passed ? exitCodes.ok : exitCodes.failed,
      };
    } finally {
      stop();
    }
  },
};

/** The first prompt that is given, else the embedded model's first, else one of our own. */
function auditPrompt(subject: Subject, source: PromptSource, options: CommonOptions): Prompt {
  const given = source.prompts !== null || source.prompt !== null || source.tokens !== null;
  if (given || subject.prompts !== null) return readPrompts(subject, source, { ...options, limit: 1 })[0];
  const target = promptTarget(subject.checkpoint);
  if (target.tokenizer !== null) return promptFromText(ownText, target);
  const { bosTokenId, vocabSize } = subject.checkpoint.config;
  // Without a tokenizer any ids will do; these are spread over the vocabulary.
  const spread = Array.from({ length: 11 }, (_, i) => Math.floor(((i + 1) * vocabSize) / 12));
  return promptFromTokens([bosTokenId ?? 0, ...spread], target);
}
