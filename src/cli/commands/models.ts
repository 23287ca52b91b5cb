/** `kvlens models`: the embedded models, with size and measured accuracy. */
import { embeddedModels } from '../../checkpoint/embedded.ts';
import { exitCodes } from '../../errors.ts';
import { type ModelListing, renderModels } from '../../report/terminal/index.ts';
import type { CommandDefinition } from '../command.ts';
import { addSomeOptions } from '../options.ts';

export const modelsCommand: CommandDefinition<'models'> = {
  name: 'models',
  description: 'the embedded models, with size and measured accuracy',
  takesModel: false,
  keepsWork: false,
  configure: (command) => addSomeOptions(command, ['json', 'quiet']),
  run: async (_command, _model, { io }) => {
    const models = embeddedModels().map(({ name, card }): ModelListing => {
      const { architecture, parameters, bytes, accuracy } = card;
      const { correct, problems } = accuracy.greedy;
      return { name, architecture, parameters, bytes, accuracy: { share: correct / problems, problems } };
    });
    return { result: { models }, text: renderModels(models, io), exitCode: exitCodes.ok };
  },
};
