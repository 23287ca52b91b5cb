/** ONNX models to bytes and back: a generic protobuf codec driven by the schema in `messages.ts`. */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { InputError } from '../../errors.ts';
import { type Field, type MessageName, type ModelProto, type ScalarKind, schema } from './messages.ts';

type Message = Record<string, unknown>;

/** Serialise a model. The bytes depend on the model alone: fields are written in the schema's order. */
export function encodeModel(model: ModelProto): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  writeMessage(writer, 'Model', { ...model });
  return new Uint8Array(writer.finish());
}

/**
 * Read a model; fields outside the schema are skipped.
 * @throws InputError naming `source` if the bytes are not a protobuf message.
 */
export function decodeModel(bytes: Uint8Array, source: string): ModelProto {
  try {
    return readMessage(new BinaryReader(bytes), 'Model', bytes.length);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`${source}: not an ONNX model (${reason})`, 'export the graph again with kvlens export');
  }
}

const wireTypes: Record<ScalarKind, WireType> = {
  int: WireType.Varint,
  float: WireType.Bit32,
  string: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
};

function isScalar(kind: Field['kind']): kind is ScalarKind {
  return kind in wireTypes;
}

function writeMessage(writer: BinaryWriter, name: MessageName, message: Message): void {
  for (const field of schema[name]) {
    const value = message[field.name];
    if (value === undefined) continue;
    const items: unknown[] = field.repeated && Array.isArray(value) ? value : [value];
    for (const item of items) writeField(writer, field, item);
  }
}

function writeField(writer: BinaryWriter, field: Field, value: unknown): void {
  const { number, kind } = field;
  if (!isScalar(kind)) {
    writer.tag(number, WireType.LengthDelimited).fork();
    writeMessage(writer, kind, { ...(value as object) });
    writer.join();
    return;
  }
  writer.tag(number, wireTypes[kind]);
  if (kind === 'int') writer.int64(value as number);
  else if (kind === 'float') writer.float(value as number);
  else if (kind === 'string') writer.string(value as string);
  else writer.bytes(value as Uint8Array);
}

function readMessage(reader: BinaryReader, name: MessageName, length: number): Message {
  const end = reader.pos + length;
  const message: Message = {};
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const field = schema[name].find((candidate) => candidate.number === number);
    if (!field) {
      reader.skip(wireType, number);
      continue;
    }
    const values = readField(reader, field, wireType);
    if (!field.repeated) message[field.name] = values.at(-1);
    else message[field.name] = [...((message[field.name] as unknown[] | undefined) ?? []), ...values];
  }
  if (reader.pos !== end) throw new RangeError('a field runs past the end of its message');
  return message;
}

function readField(reader: BinaryReader, field: Field, wireType: WireType): unknown[] {
  const { kind } = field;
  if (!isScalar(kind)) return [readMessage(reader, kind, reader.uint32())];
  if (wireType === WireType.LengthDelimited && (kind === 'int' || kind === 'float')) {
    const end = reader.uint32() + reader.pos;
    const values: unknown[] = [];
    while (reader.pos < end) values.push(readScalar(reader, kind));
    return values;
  }
  return [readScalar(reader, kind)];
}

function readScalar(reader: BinaryReader, kind: ScalarKind): unknown {
  if (kind === 'int') return Number(reader.int64());
  if (kind === 'float') return reader.float();
  return kind === 'string' ? reader.string() : reader.bytes();
}
