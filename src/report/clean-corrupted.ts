/** A clean/corrupted run as heat maps, for the terminal and for figures: rows are layers (and heads), columns positions or heads. */
import type { CleanCorruptedFindings, CleanCorruptedSummary } from '../patching/clean-corrupted/run.ts';
import type { CleanCorruptedRow } from '../patching/sweep/clean-corrupted.ts';

/** One grid as a map of recoveries of the spec's metric. */
export interface HeatMap {
  title: string;
  /** From the top: `L0`, or `L0H1`. */
  rows: string[];
  columns: 'positions' | 'heads';
  /** [row][column]; null where the patch changes no bit. Of several cells in one place the strongest. */
  values: (number | null)[][];
}

const titles: Record<string, string> = {
  resid_pre: 'residual stream before the block',
  resid_mid: 'residual stream between attention and MLP',
  attn_out: 'attention output',
  mlp_out: 'MLP output',
  'attn.z': 'output of the head',
  'attn.q': 'queries',
  'attn.k': 'keys',
  'attn.v': 'values',
  'attn.pattern': 'attention pattern',
};

/** Sentences begin with a capital letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The maps of a run, one for each grid. */
export function heatMaps({ grids }: CleanCorruptedFindings): HeatMap[] {
  return grids.map(({ kind, axes, rows }) => {
    const sizes = axes.map(({ labels }) => labels.length);
    const axis = (...names: string[]) => axes.findIndex(({ name }) => names.includes(name));
    const [position, head] = [axis('pos', 'dest_pos'), axis('head', 'kv_head')];
    const across = position >= 0 ? position : head;
    const heads = position >= 0 && head >= 0 ? sizes[head] : 1;
    const values = Array.from({ length: sizes[0] * heads }, () => new Array<number | null>(sizes[across]).fill(null));
    rows.forEach((row, i) => {
      const index = indexOf(i, sizes);
      const line = values[index[0] * heads + (heads > 1 ? index[head] : 0)];
      line[index[across]] = stronger(line[index[across]], shownValue(row));
    });
    const sharesHeads = axis('kv_head') >= 0 ? 'KV' : 'H';
    return {
      title: capital(`${titles[kind] ?? kind}${axis('src_pos') >= 0 ? ', the strongest entry of each row' : ''}`),
      rows: values.map((_, i) => (heads === 1 ? `L${i}` : `L${Math.floor(i / heads)}${sharesHeads}${i % heads}`)),
      columns: position >= 0 ? 'positions' : 'heads',
      values,
    };
  });
}

function shownValue({ metric_recovery, n_changed }: CleanCorruptedRow): number | null {
  return n_changed === 0 ? null : metric_recovery;
}

function stronger(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.abs(b) > Math.abs(a) ? b : a;
}

/** Indices along axes of these sizes, row-major. */
function indexOf(at: number, sizes: readonly number[]): number[] {
  const index = new Array<number>(sizes.length);
  let rest = at;
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    index[axis] = rest % sizes[axis];
    rest = Math.floor(rest / sizes[axis]);
  }
  return index;
}

/** The cell that recovers most and could have come out otherwise; null if there is none. @param of of these kinds */
export function bestCell(
  { grids }: CleanCorruptedFindings,
  of: (kind: string) => boolean = () => true,
): { kind: string; row: CleanCorruptedRow } | null {
  const open = grids
    .filter(({ kind }) => of(kind))
    .flatMap(({ kind, rows }) =>
      rows
        .filter(
          ({ by_construction, n_changed, metric_recovery }) =>
            !by_construction && n_changed > 0 && metric_recovery !== null,
        )
        .map((row) => ({ kind, row })),
    );
  if (open.length === 0) return null;
  return open.reduce((top, cell) => ((cell.row.metric_recovery ?? 0) > (top.row.metric_recovery ?? 0) ? cell : top));
}

/** `attention output of block 5 at 50:⏎`, `keys of block 1, K/V head 0` */
export function cellName(kind: string, row: CleanCorruptedRow, { tokens }: CleanCorruptedFindings): string {
  const { layer, head, component, pos_start, pos_end, src_pos } = row;
  const place = (position: number) => `${position}:${tokens[position].corrupted}`;
  const of = head === null ? '' : `, ${component === 'value' ? 'head' : 'K/V head'} ${head}`;
  const at = pos_end - pos_start === 1 ? ` at ${place(pos_start)}` : '';
  const name =
    kind === 'resid_pre' ? `residual stream before block ${layer}` : `${titles[kind] ?? kind} of block ${layer}`;
  return `${name}${of}${at}${src_pos === null ? '' : ` reading ${place(src_pos)}`}`;
}

/** What cells are judged by: `logit("T") − logit("S")`. */
export function metricName({ pair }: CleanCorruptedFindings, { spec }: Pick<CleanCorruptedSummary, 'spec'>): string {
  if (pair) return `logit(${JSON.stringify(pair.answer)}) − logit(${JSON.stringify(pair.wrong)})`;
  return spec.metric === 'klDivergence' ? 'KL(clean ‖ ·)' : 'distance of the logits to the clean run';
}
