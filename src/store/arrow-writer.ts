/**
 * Arrow IPC files, written batch by batch with bounded memory.
 *
 * Text columns have one dictionary per file (the file format refuses rebuilt ones), so their values are declared ahead.
 * The library's own stream has no backpressure; its sink is replaced by one that writes to the file at once.
 */
import {
  AsyncByteQueue,
  Binary,
  Bool,
  type Data,
  type DataType,
  Dictionary,
  Field,
  Float64,
  Int16,
  Int32,
  List,
  makeBuilder,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  Utf8,
  type Vector,
  vectorFromArray,
} from 'apache-arrow';
import { PartialFile } from './files.ts';
import { type Column, type ColumnType, manifestKey, type Row, type TableName, tables } from './schemas.ts';

const rowsPerBatch = 16_384;

/** The values each text column can take, by column. */
export type Dictionaries = Partial<Record<string, readonly string[]>>;

/** Hands every chunk of the writer straight to the file: nothing is queued. */
class FileSink extends AsyncByteQueue {
  private readonly file: PartialFile;

  constructor(file: PartialFile) {
    super();
    this.file = file;
  }

  override write(chunk: Uint8Array): void {
    this.file.write(chunk);
  }
}

/** Writes record batches into a file; the caller makes the batches. */
export class BatchFile {
  private readonly file: PartialFile;
  private readonly schema: Schema;
  private readonly writer = new RecordBatchFileWriter();

  constructor(path: string, schema: Schema) {
    this.file = new PartialFile(path);
    this.schema = schema;
    this.writer.reset(new FileSink(this.file), schema);
  }

  /** Write one batch of columns. */
  write(columns: Data[], length: number): void {
    const struct = makeData({ type: new Struct(this.schema.fields), length, nullCount: 0, children: columns });
    this.writer.write(new RecordBatch(this.schema, struct));
  }

  /** Write the footer; the file is complete but not yet under its name. */
  finish(): void {
    this.writer.finish();
    this.file.sync();
  }

  /** Give the finished file its name. */
  publish(): void {
    this.file.publish();
  }

  abort(): void {
    this.file.abort();
  }
}

/** A file written batch by batch: what all writers of rows share. */
export abstract class RowWriter {
  protected abstract readonly file: BatchFile;

  /** Write the rows collected so far as one batch. */
  protected abstract flush(): void;

  /** Write what is left and the footer. */
  finish(): void {
    this.flush();
    this.file.finish();
  }

  /** Give the finished file its name. */
  publish(): void {
    this.file.publish();
  }

  close(): void {
    this.finish();
    this.publish();
  }

  abort(): void {
    this.file.abort();
  }
}

/** Rows of one of the contract's tables. */
export class TableWriter<T extends TableName> extends RowWriter {
  protected readonly file: BatchFile;
  private readonly columns: [string, ColumnBuffer][];
  private rows = 0;

  constructor(path: string, table: T, identity: unknown, dictionaries: Dictionaries) {
    super();
    const definitions = Object.entries<Column>(tables[table]);
    this.columns = definitions.map(([name, column], id) => [
      name,
      columnBuffer(name, column, dictionaries[name] ?? [], id),
    ]);
    const fields = this.columns.map(([name, buffer], i) => new Field(name, buffer.type, definitions[i][1].nullable));
    this.file = new BatchFile(path, new Schema(fields, new Map([[manifestKey, JSON.stringify(identity)]])));
  }

  /** Add one row. */
  add(row: Row<T>): void {
    const values: Record<string, unknown> = row;
    for (const [name, buffer] of this.columns) buffer.append(values[name]);
    this.rows += 1;
    if (this.rows >= rowsPerBatch) this.flush();
  }

  protected flush(): void {
    if (this.rows === 0) return;
    this.file.write(
      this.columns.map(([, buffer]) => buffer.take()),
      this.rows,
    );
    this.rows = 0;
  }
}

/** Collects the values of one column and turns them into Arrow data. */
interface ColumnBuffer {
  readonly type: DataType;
  append(value: unknown): void;
  take(): Data;
}

function columnBuffer(name: string, { type }: Column, values: readonly string[], id: number): ColumnBuffer {
  if (type === 'text') return new TextBuffer(name, values, id);
  return new BuilderBuffer(plainTypes[type]);
}

/** What columns are in Arrow; texts are encoded by a dictionary of their own. */
export const plainTypes: Readonly<Record<Exclude<ColumnType, 'text'>, DataType>> = {
  string: new Utf8(),
  int16: new Int16(),
  int32: new Int32(),
  float64: new Float64(),
  bool: new Bool(),
  'int32 list': new List(new Field('item', new Int32(), false)),
  'float64 list': new List(new Field('item', new Float64(), false)),
  binary: new Binary(),
};

class BuilderBuffer implements ColumnBuffer {
  readonly type: DataType;
  private builder: ReturnType<typeof makeBuilder>;

  constructor(type: DataType) {
    this.type = type;
    this.builder = makeBuilder({ type, nullValues: [null] });
  }

  append(value: unknown): void {
    this.builder.append(value);
  }

  take(): Data {
    const data = this.builder.flush();
    this.builder = makeBuilder({ type: this.type, nullValues: [null] });
    return data;
  }
}

class TextBuffer implements ColumnBuffer {
  readonly type: Dictionary<Utf8, Int32>;
  private readonly name: string;
  private readonly codes = new Map<string, number>();
  private readonly dictionary: Vector<Utf8>;
  private values: (number | null)[] = [];

  /** @param id of the dictionary in its file; the library's own counts through the process, and so into the bytes */
  constructor(name: string, values: readonly string[], id: number) {
    this.name = name;
    this.type = new Dictionary(new Utf8(), new Int32(), id);
    const distinct = [...new Set(values)];
    distinct.forEach((value, code) => {
      this.codes.set(value, code);
    });
    this.dictionary = vectorFromArray(distinct, new Utf8());
  }

  append(value: unknown): void {
    if (value === null) {
      this.values.push(null);
      return;
    }
    const code = typeof value === 'string' ? this.codes.get(value) : undefined;
    if (code === undefined) throw new Error(`column ${this.name}: ${JSON.stringify(value)} was not declared`);
    this.values.push(code);
  }

  take(): Data {
    const length = this.values.length;
    const codes = new Int32Array(length);
    const bitmap = new Uint8Array(Math.ceil(length / 64) * 8);
    let nullCount = 0;
    this.values.forEach((code, i) => {
      if (code === null) nullCount += 1;
      else {
        codes[i] = code;
        bitmap[i >> 3] |= 1 << (i & 7);
      }
    });
    this.values = [];
    const nullBitmap = nullCount === 0 ? undefined : bitmap;
    return makeData({ type: this.type, length, nullCount, nullBitmap, data: codes, dictionary: this.dictionary });
  }
}
