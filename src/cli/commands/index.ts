/** The commands, in the order help lists them. */
import type { CommandDefinition } from '../command.ts';
import { auditCommand } from './audit.ts';
import { captureCommand } from './capture.ts';
import { divergeCommand } from './diverge.ts';
import { exportCommand } from './export.ts';
import { generateCommand } from './generate.ts';
import { modelsCommand } from './models.ts';
import { patchCommand } from './patch.ts';
import { pullCommand } from './pull.ts';
import { reportCommand } from './report.ts';
import { studyCommand } from './study.ts';

export const commands: readonly CommandDefinition[] = [
  modelsCommand,
  pullCommand,
  exportCommand,
  generateCommand,
  captureCommand,
  divergeCommand,
  auditCommand,
  patchCommand,
  studyCommand,
  reportCommand,
];
