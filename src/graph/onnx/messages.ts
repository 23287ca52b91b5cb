/**
 * The part of the ONNX protobuf schema that kvlens writes and reads, as data.
 *
 * Field numbers are those of the ONNX specification (onnx.proto3). Fields that are not listed are skipped on reading.
 */

/** Element types of ONNX tensors (TensorProto.DataType). */
export const dataTypes = {
  float: 1,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  double: 11,
  bfloat16: 16,
} as const;
export type DataType = keyof typeof dataTypes;

/** AttributeProto.AttributeType. */
export const attributeTypes = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8 };

export interface StringStringEntry {
  key?: string;
  value?: string;
}

export interface TensorProto {
  dims?: number[];
  dataType?: number;
  name?: string;
  rawData?: Uint8Array;
  externalData?: StringStringEntry[];
  /** 1 = the data lies in another file, as `externalData` says. */
  dataLocation?: number;
}

export interface AttributeProto {
  name?: string;
  f?: number;
  i?: number;
  s?: Uint8Array;
  t?: TensorProto;
  floats?: number[];
  ints?: number[];
  type?: number;
}

export interface NodeProto {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  attribute?: AttributeProto[];
  domain?: string;
}

export interface Dimension {
  dimValue?: number;
  dimParam?: string;
}

export interface ValueInfoProto {
  name?: string;
  type?: { tensorType?: { elemType?: number; shape?: { dim?: Dimension[] } } };
}

export interface GraphProto {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  docString?: string;
  input?: ValueInfoProto[];
  output?: ValueInfoProto[];
}

export interface ModelProto {
  irVersion?: number;
  producerName?: string;
  producerVersion?: string;
  graph?: GraphProto;
  opsetImport?: { domain?: string; version?: number }[];
  metadataProps?: StringStringEntry[];
}

export type ScalarKind = 'int' | 'float' | 'string' | 'bytes';
export interface Field {
  number: number;
  name: string;
  kind: ScalarKind | MessageName;
  repeated: boolean;
}
export type MessageName =
  | 'Model'
  | 'OperatorSet'
  | 'Graph'
  | 'Node'
  | 'Attribute'
  | 'Tensor'
  | 'ValueInfo'
  | 'Type'
  | 'TensorType'
  | 'Shape'
  | 'Dimension'
  | 'Entry';

function fields(list: string): Field[] {
  return list
    .trim()
    .split(/\s*,\s*/)
    .map((item) => {
      const [, number, name, kind, repeated] = /^(\d+) (\w+):(\w+)(\*?)$/.exec(item)!;
      return { number: Number(number), name, kind: kind as Field['kind'], repeated: repeated === '*' };
    });
}

/** Every message as `number name:kind` in field order; `*` marks repeated fields. */
export const schema: Record<MessageName, Field[]> = {
  Model: fields(
    '1 irVersion:int, 2 producerName:string, 3 producerVersion:string, 7 graph:Graph, 8 opsetImport:OperatorSet*, 14 metadataProps:Entry*',
  ),
  OperatorSet: fields('1 domain:string, 2 version:int'),
  Graph: fields(
    '1 node:Node*, 2 name:string, 5 initializer:Tensor*, 10 docString:string, 11 input:ValueInfo*, 12 output:ValueInfo*',
  ),
  Node: fields(
    '1 input:string*, 2 output:string*, 3 name:string, 4 opType:string, 5 attribute:Attribute*, 7 domain:string',
  ),
  Attribute: fields(
    '1 name:string, 2 f:float, 3 i:int, 4 s:bytes, 5 t:Tensor, 7 floats:float*, 8 ints:int*, 20 type:int',
  ),
  Tensor: fields(
    '1 dims:int*, 2 dataType:int, 8 name:string, 9 rawData:bytes, 13 externalData:Entry*, 14 dataLocation:int',
  ),
  ValueInfo: fields('1 name:string, 2 type:Type'),
  Type: fields('1 tensorType:TensorType'),
  TensorType: fields('1 elemType:int, 2 shape:Shape'),
  Shape: fields('1 dim:Dimension*'),
  Dimension: fields('1 dimValue:int, 2 dimParam:string'),
  Entry: fields('1 key:string, 2 value:string'),
};
