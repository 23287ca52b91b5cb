/** The texts of both arms of one prompt, token by token, each with the tokens that the arm was about to choose from. */
import { Columns } from './columns.ts';
import { commonRuns } from './common-runs.ts';
import { focusOf, type RunCondition, readConditions } from './conditions.ts';
import type { MapSelection } from './drift-map.ts';
import { commands, isMissing, type Missing } from './missing.ts';
import type { RunTables } from './run-tables.ts';
import { tokenTexts } from './token-texts.ts';

export const flowArms = ['uncached', 'cached'] as const;
export type FlowArm = (typeof flowArms)[number];

export interface TextToken {
  token: number;
  /** Not yet made visible; `#17` where the run has no text of a token. */
  text: string;
}

export interface FlowCandidate extends TextToken {
  /** At temperature 1, over the raw logits. */
  probability: number;
}

export interface FlowToken extends TextToken {
  /** 0 is the token that the prefill decides. */
  step: number;
  /** The largest logits of the arm at this step, largest first; null where candidates.arrow has none. */
  candidates: readonly FlowCandidate[] | null;
  /** The other arm's step that wrote this token again after the flip (`leastAgain`); null for none. */
  again: number | null;
}

export interface TokenFlow {
  condition: RunCondition;
  prompt: string;
  /** The prompt's place in the run, where it is known. */
  promptIndex: number | null;
  /** The last tokens of the prompt, at most `mostPromptEnd`, and how many it has. */
  promptEnd: readonly TextToken[];
  promptTokens: number;
  /** Free-running texts. */
  arms: Readonly<Record<FlowArm, readonly FlowToken[]>>;
  /** The first step whose tokens differ; null where the texts are equal. */
  flip: TokenFlip | null;
}

export interface TokenFlip {
  step: number;
  /** Lead of the uncached arm's choice in what its strategy maximises, in logits; null where it has none. */
  margin: number | null;
  /** The strategy is greedy, and one arm's largest logit is tied exactly. */
  tie: boolean;
}

/** So much of a prompt's end is read. */
export const mostPromptEnd = 24;

/**
 * After the flip the arms agree again where both write the same run of at least so many tokens: runs are matched longest first
 * and in order (`commonRuns`), wherever they stand. A full stop that both texts hold is no agreement; a sentence is, though one
 * text may come to it some tokens later.
 */
export const leastAgain = 3;

/**
 * One prompt under one condition; by default the prompt whose texts part at the earliest step, else the first.
 * @throws InputError if a table is not one of this version's
 */
export async function tokenFlowData(run: RunTables, selection: MapSelection = {}): Promise<TokenFlow | Missing> {
  const conditions = await readConditions(run);
  if (isMissing(conditions)) return conditions;
  if (!run.has('steps')) return { missing: 'No steps.arrow.', command: commands.steps };
  const condition = focusOf(conditions, selection.condition);
  if (isMissing(condition)) return condition;
  const prompt = selection.prompt ?? (await firstToPart(run, condition));
  if (prompt === null) return noText(condition.condition);
  const steps = await readSteps(run, condition, prompt);
  const choices = await readCandidates(run, condition, prompt);
  const tokens = (await readAnswers(run, condition, prompt)) ?? textsOf(steps, choices);
  if (tokens === null) return noText(`prompt ${prompt} under ${condition.condition}`);
  const own = await readPrompt(run, condition, prompt);
  const promptEnd = own.tokens.slice(-mostPromptEnd);
  const candidates = [...choices.values()].flatMap(({ found }) => found.map(({ token }) => token));
  const ids = new Set([...tokens.uncached, ...tokens.cached, ...promptEnd, ...candidates]);
  const texts = await tokenTexts(run, condition.model, ids);
  const named = (token: number): TextToken => ({ token, text: texts.get(token) ?? `#${token}` });
  const parts = flipStep(tokens);
  return {
    ...{ condition, prompt, promptIndex: own.index, promptTokens: own.tokens.length },
    promptEnd: promptEnd.map(named),
    arms: armsOf(tokens, parts, choices, named),
    flip: parts === null ? null : flipOf(parts, condition, steps),
  };
}

type Texts = Record<FlowArm, number[]>;

/** What steps.arrow says of a prompt's steps. */
interface StepRow {
  free: boolean;
  step: number;
  uncached: number;
  cached: number;
  margin: number | null;
  tie: boolean;
}

/** By arm and step: the arm's choice and its candidates. */
type Choices = ReadonlyMap<string, { token: number; found: { token: number; probability: number }[] }>;
const choiceKey = (arm: string, step: number) => `${arm} ${step}`;

function noText(whose: string): Missing {
  return {
    missing: `No free-running step of ${whose}: the run was teacher-forced, its tokens were given, or it has no such prompt.`,
    command: commands.steps,
  };
}

/** The prompt with the earliest flip, of equals the first of the run; without a flip the first; null for no prompt. */
async function firstToPart(run: RunTables, { condition }: RunCondition): Promise<string | null> {
  let first: string | null = null;
  let best: { prompt: string; step: number } | null = null;
  for await (const batch of run.batches('steps')) {
    const columns = new Columns('steps', batch);
    const [ofCondition, prompt] = [columns.texts('condition'), columns.texts('prompt')];
    const [step, flip] = [columns.required('step'), columns.booleans('flip')];
    for (let row = 0; row < batch.numRows; row++) {
      if (ofCondition(row) !== condition) continue;
      first ??= prompt(row);
      if (flip(row) && (best === null || step(row) < best.step)) best = { prompt: prompt(row), step: step(row) };
    }
  }
  return best === null ? first : best.prompt;
}

/** The rows of a batch that are of a prompt under a condition. */
function* rowsOf(columns: Columns, rows: number, { condition }: RunCondition, prompt: string): Generator<number> {
  const [ofCondition, ofPrompt] = [columns.texts('condition'), columns.texts('prompt')];
  for (let row = 0; row < rows; row++) if (ofCondition(row) === condition && ofPrompt(row) === prompt) yield row;
}

async function readSteps(run: RunTables, condition: RunCondition, prompt: string): Promise<StepRow[]> {
  const found: StepRow[] = [];
  for await (const batch of run.batches('steps')) {
    const columns = new Columns('steps', batch);
    const protocol = columns.texts('protocol');
    const [step, uncached, cached] = (['step', 'token_uncached', 'token_cached'] as const).map((name) =>
      columns.required(name),
    );
    const margin = columns.numbers('margin_choice');
    const ties = (['tie_cached', 'tie_uncached'] as const).map((name) => columns.booleans(name));
    for (const row of rowsOf(columns, batch.numRows, condition, prompt)) {
      const tie = ties.some((of) => of(row) === true);
      const tokens = { uncached: uncached(row), cached: cached(row) };
      found.push({ free: protocol(row) === 'free-running', step: step(row), ...tokens, margin: margin(row), tie });
    }
  }
  return found;
}

async function readCandidates(run: RunTables, condition: RunCondition, prompt: string): Promise<Choices> {
  const choices = new Map<string, { token: number; found: { token: number; probability: number }[] }>();
  for await (const batch of run.batches('candidates')) {
    const columns = new Columns('candidates', batch);
    const [arm, step, token] = [columns.texts('arm'), columns.required('step'), columns.required('token')];
    const [tokens, probabilities] = [columns.lists('tokens'), columns.lists('probabilities')];
    for (const row of rowsOf(columns, batch.numRows, condition, prompt)) {
      const shares = probabilities(row);
      const found = tokens(row).map((id, i) => ({ token: id, probability: shares[i] ?? Number.NaN }));
      choices.set(choiceKey(arm(row), step(row)), { token: token(row), found });
    }
  }
  return choices;
}

/** A study has the whole texts; null where one of them is not there. */
async function readAnswers(run: RunTables, condition: RunCondition, prompt: string): Promise<Texts | null> {
  const found = new Map<string, number[]>();
  for await (const batch of run.batches('answers')) {
    const columns = new Columns('answers', batch);
    const [arm, tokens] = [columns.texts('arm'), columns.lists('tokens')];
    for (const row of rowsOf(columns, batch.numRows, condition, prompt)) found.set(arm(row), tokens(row));
  }
  const [uncached, cached] = flowArms.map((arm) => found.get(arm));
  return uncached && cached ? { uncached, cached } : null;
}

/** steps.arrow ends with the shorter text; candidates.arrow has the rest of the longer one. Null without a free-running step. */
function textsOf(steps: readonly StepRow[], choices: Choices): Texts | null {
  const free = new Map(steps.filter((row) => row.free).map((row) => [row.step, row]));
  if (free.size === 0) return null;
  const text = (arm: FlowArm) => {
    const tokens: number[] = [];
    for (;;) {
      const token = free.get(tokens.length)?.[arm] ?? choices.get(choiceKey(arm, tokens.length))?.token;
      if (token === undefined) return tokens;
      tokens.push(token);
    }
  };
  return { uncached: text('uncached'), cached: text('cached') };
}

/** The prompt's tokens, of the condition's model: models may share ids. */
async function readPrompt(
  run: RunTables,
  { model }: RunCondition,
  prompt: string,
): Promise<{ index: number | null; tokens: number[] }> {
  for await (const batch of run.batches('prompts')) {
    const columns = new Columns('prompts', batch);
    const [ofPrompt, ofModel] = [columns.texts('prompt'), columns.texts('model')];
    const [index, tokens] = [columns.required('index'), columns.lists('tokens')];
    for (let row = 0; row < batch.numRows; row++) {
      if (ofPrompt(row) === prompt && ofModel(row) === model) return { index: index(row), tokens: tokens(row) };
    }
  }
  return { index: null, tokens: [] };
}

function flipStep({ uncached, cached }: Texts): number | null {
  const step = uncached.findIndex((token, i) => i < cached.length && token !== cached[i]);
  return step < 0 ? null : step;
}

function flipOf(step: number, { strategy }: RunCondition, steps: readonly StepRow[]): TokenFlip {
  const row = steps.find((each) => each.step === step);
  return { step, margin: row?.margin ?? null, tie: strategy === 'greedy' && row?.tie === true };
}

function armsOf(
  tokens: Texts,
  flip: number | null,
  choices: Choices,
  named: (token: number) => TextToken,
): Record<FlowArm, FlowToken[]> {
  const from = flip === null ? Infinity : flip + 1;
  const runs = commonRuns(tokens.uncached.slice(from), tokens.cached.slice(from), leastAgain);
  const again = { uncached: new Map<number, number>(), cached: new Map<number, number>() };
  for (const { a, b, length } of runs) {
    for (let i = 0; i < length; i++) {
      again.uncached.set(from + a + i, from + b + i);
      again.cached.set(from + b + i, from + a + i);
    }
  }
  const arm = (name: FlowArm) =>
    tokens[name].map((token, step): FlowToken => {
      const found = choices.get(choiceKey(name, step))?.found;
      const candidates = found?.map((each) => ({ ...named(each.token), probability: each.probability })) ?? null;
      return { ...named(token), step, candidates, again: again[name].get(step) ?? null };
    });
  return { uncached: arm('uncached'), cached: arm('cached') };
}
