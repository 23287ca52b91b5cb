/** The commands, in the order help lists them. */
import type { CommandDefinition } from '../command.ts';
import { auditCommand } from './audit.ts';
import { divergeCommand } from './diverge.ts';
import { modelsCommand } from './models.ts';

export const commands: readonly CommandDefinition[] = [modelsCommand, divergeCommand, auditCommand];
