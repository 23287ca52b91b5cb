/** activations/KIND.arrow: captured rows, one file per hook kind, values copied without touching each element. */
import {
  type Data,
  type DataType,
  Dictionary,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Float64,
  Int16,
  Int32,
  List,
  makeData,
  type makeVector,
  Schema,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import { float16Bits } from '../numerics/half.ts';
import type { StorageType } from '../numerics/types.ts';
import { BatchFile, RowWriter } from './arrow-writer.ts';
import { manifestKey } from './schemas.ts';

/** One captured row of a hook. */
export interface ActivationRow {
  condition: string;
  prompt: string;
  arm: string;
  step: number;
  position: number;
  token: number;
  layer: number;
  hook: string;
  /** Remaining axes flattened, row-major. */
  value: Float32Array | Float64Array;
}

export interface ActivationFileOptions {
  /** Sizes and names of the flattened axes; a ragged kind has a null size and is stored as a list. */
  shape: (number | null)[];
  axes: string[];
  /** What the values are representable in; bf16 is stored as float32. */
  dtype: StorageType;
  identity: unknown;
  /** The values of the text columns. */
  dictionaries: { condition: readonly string[]; prompt: readonly string[]; hook: readonly string[] };
}

const bytesPerBatch = 8 * 1024 * 1024;
const arms = ['cached', 'uncached'];

/** Writes rows of one kind. */
export class ActivationWriter extends RowWriter {
  protected readonly file: BatchFile;
  private readonly options: ActivationFileOptions;
  private readonly valueType: DataType;
  private readonly text: {
    name: 'condition' | 'prompt' | 'arm' | 'hook';
    type: Dictionary;
    codes: Map<string, number>;
    values: readonly string[];
  }[];
  private rows: ActivationRow[] = [];
  private bytes = 0;

  constructor(path: string, options: ActivationFileOptions) {
    super();
    this.options = options;
    const size = options.shape.includes(null) ? null : options.shape.reduce<number>((a, b) => a * (b ?? 1), 1);
    const item = new Field('item', elementType(options.dtype), false);
    this.valueType = size === null ? new List(item) : new FixedSizeList(size, item);
    const { dictionaries } = options;
    this.text = (['condition', 'prompt', 'arm', 'hook'] as const).map((name, id) => {
      const values = name === 'arm' ? arms : [...new Set(dictionaries[name])];
      const codes = new Map(values.map((value, code) => [value, code]));
      return { name, type: new Dictionary(new Utf8(), new Int32(), id), codes, values };
    });
    const type = (name: string) => this.text.find((column) => column.name === name)!.type;
    const fields = [
      new Field('condition', type('condition'), false),
      new Field('prompt', type('prompt'), false),
      new Field('arm', type('arm'), false),
      ...['step', 'position', 'token'].map((name) => new Field(name, new Int32(), false)),
      new Field('layer', new Int16(), false),
      new Field('hook', type('hook'), false),
      new Field('value', this.valueType, false),
    ];
    const metadata = new Map([
      [manifestKey, JSON.stringify(options.identity)],
      ['shape', JSON.stringify(options.shape)],
      ['axes', JSON.stringify(options.axes)],
      ['dtype', options.dtype],
    ]);
    this.file = new BatchFile(path, new Schema(fields, metadata));
    this.dictionaryVectors = new Map(
      this.text.map(({ name, values }) => [name, vectorFromArray([...values], new Utf8())]),
    );
  }

  private readonly dictionaryVectors: Map<string, ReturnType<typeof makeVector>>;

  /** Add one row; its values are kept until the next batch is written. */
  add(row: ActivationRow): void {
    this.rows.push(row);
    this.bytes += row.value.byteLength;
    if (this.bytes >= bytesPerBatch) this.flush();
  }

  protected flush(): void {
    const { rows } = this;
    if (rows.length === 0) return;
    const integers = (pick: (row: ActivationRow) => number) => Int32Array.from(rows, pick);
    const int32 = (data: Int32Array) => makeData({ type: new Int32(), length: rows.length, nullCount: 0, data });
    const layers = Int16Array.from(rows, (row) => row.layer);
    const [condition, prompt, arm, hook] = this.text.map((column) => this.textData(column));
    this.file.write(
      [
        condition,
        prompt,
        arm,
        int32(integers((row) => row.step)),
        int32(integers((row) => row.position)),
        int32(integers((row) => row.token)),
        makeData({ type: new Int16(), length: rows.length, nullCount: 0, data: layers }),
        hook,
        this.valueData(),
      ],
      rows.length,
    );
    this.rows = [];
    this.bytes = 0;
  }

  private textData({ name, type, codes }: (typeof this.text)[number]): Data {
    const data = Int32Array.from(this.rows, (row) => {
      const code = codes.get(row[name]);
      if (code === undefined) throw new Error(`activations: ${name} ${JSON.stringify(row[name])} was not declared`);
      return code;
    });
    return makeData({ type, length: data.length, nullCount: 0, data, dictionary: this.dictionaryVectors.get(name)! });
  }

  private valueData(): Data {
    const { rows, valueType } = this;
    const total = rows.reduce((sum, row) => sum + row.value.length, 0);
    const data = valuesArray(this.options.dtype, total);
    const offsets = new Int32Array(rows.length + 1);
    rows.forEach((row, i) => {
      copyValues(row.value, data, offsets[i]);
      offsets[i + 1] = offsets[i] + row.value.length;
    });
    const child = makeData({ type: elementType(this.options.dtype), length: total, nullCount: 0, data });
    if (valueType instanceof FixedSizeList) {
      return makeData({ type: valueType, length: rows.length, nullCount: 0, child });
    }
    if (valueType instanceof List) {
      return makeData({ type: valueType, length: rows.length, nullCount: 0, valueOffsets: offsets, child });
    }
    throw new Error('activations: values are lists');
  }
}

function elementType(dtype: StorageType): Float16 | Float32 | Float64 {
  if (dtype === 'f16') return new Float16();
  return dtype === 'f64' ? new Float64() : new Float32();
}

function valuesArray(dtype: StorageType, length: number): Uint16Array | Float32Array | Float64Array {
  if (dtype === 'f16') return new Uint16Array(length);
  return dtype === 'f64' ? new Float64Array(length) : new Float32Array(length);
}

function copyValues(
  from: Float32Array | Float64Array,
  to: Uint16Array | Float32Array | Float64Array,
  at: number,
): void {
  if (!(to instanceof Uint16Array)) {
    to.set(from, at);
    return;
  }
  const bits = from instanceof Float32Array ? new Uint32Array(from.buffer, from.byteOffset, from.length) : null;
  for (let i = 0; i < from.length; i++) to[at + i] = bits ? exactFloat16(bits[i], from[i]) : float16Bits(from[i]);
}

/** Bits of a float32 that is a normal binary16 number, by shifting; the general way for all others. */
function exactFloat16(bits: number, value: number): number {
  const exponent = (bits >>> 23) & 0xff;
  if (exponent < 113 || exponent > 142 || (bits & 0x1fff) !== 0) return float16Bits(value);
  return ((bits >>> 16) & 0x8000) | ((exponent - 112) << 10) | ((bits >>> 13) & 0x3ff);
}
