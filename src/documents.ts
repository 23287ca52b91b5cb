/** The documents that are made from definitions in code; a test fails if the committed ones differ. */
import { contractMarkdown, keyTable } from './cli/contract-document.ts';
import { gatesMarkdown } from './divergence/gates/gates-document.ts';
import { hookDefinitions } from './graph/hooks.ts';
import { patchSpecSchemas } from './patching/specification/spec.ts';
import {
  attributionExplanation,
  patchingExplanation,
  patchingIntroduction,
  shippedSpecLines,
} from './patching/specification/spec-document.ts';
import { describeTables } from './store/schemas.ts';
import { studySchema } from './study/definition/schema.ts';
import { ruleLines, shippedStudyLines, studyIntroduction, studyUse } from './study/definition/study-document.ts';

/** Content by path from the package's root. */
export function documents(): Record<string, string> {
  return {
    'docs/json.md': contractMarkdown(),
    'docs/tables.md': ['# Arrow tables of a run', '', '`?` marks columns that may be null.', '', describeTables()].join(
      '\n',
    ),
    'docs/gates.md': ['# Gates', '', gatesIntroduction, '', gatesMarkdown()].join('\n'),
    'docs/patching.md': patchingMarkdown(),
    'docs/study.md': studyMarkdown(),
    'docs/hooks.md': ['# Hooks', '', hooksIntroduction, '', hooksMarkdown()].join('\n'),
  };
}

const gatesIntroduction = [
  'What must hold before a number counts. A failed *harness* gate voids every number of a run; a failed *identification*',
  'gate voids the conclusions that rest on it. A run measures them on its first prompt and at most eight steps',
  '(`controls.json`); `kvlens audit` takes longer and adds a fresh process, batches and threads.',
].join('\n');

const hooksIntroduction = [
  "Names and axis orders are TransformerLens's; blocks prefix theirs with `blocks.{i}.`. `hook_cache_k` and `hook_cache_v`",
  'are added here: the rows attention really reads, past and new, after rotary. The *core* set is marked.',
].join('\n');

function patchingMarkdown(): string {
  const parts = [
    ...['# Patching', '', patchingIntroduction, '', ...shippedSpecLines(), '', patchingExplanation, ''],
    ...['## Attribution and nulls', '', attributionExplanation, ''],
    ...patchSpecSchemas().flatMap(([name, schema]) => [`## Fields of a spec: ${name}`, '', ...keyTable(schema), '']),
  ];
  return parts.join('\n');
}

function studyMarkdown(): string {
  const parts = [
    ...['# The study', '', studyIntroduction, '', ...shippedStudyLines(), '', studyUse, '', ...ruleLines()],
    ...['## Fields of a study', '', ...keyTable(studySchema()), ''],
  ];
  return parts.join('\n');
}

function hooksMarkdown(): string {
  const rows = hookDefinitions.map(({ name, kind, axes, core, optIn }) => {
    const set = core ? 'core' : optIn ? 'only by name' : '';
    return `| \`${name}\` | \`${kind}\` | [${axes.join(', ')}] | ${set} |`;
  });
  return ['| name | kind (file, `cache.get`) | axes | set |', '|---|---|---|---|', ...rows, ''].join('\n');
}
