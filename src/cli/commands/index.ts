/** The commands, in the order help lists them. */
import type { CommandDefinition } from '../command.ts';
import { auditCommand } from './audit.ts';
import { captureCommand } from './capture.ts';
import { divergeCommand } from './diverge.ts';
import { generateCommand } from './generate.ts';
import { modelsCommand } from './models.ts';

export const commands: readonly CommandDefinition[] = [
  modelsCommand,
  generateCommand,
  captureCommand,
  divergeCommand,
  auditCommand,
];
