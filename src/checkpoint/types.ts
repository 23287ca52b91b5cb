/** What the rest of kvlens knows about a checkpoint: its shape, its tensors where they lie on disk, its tokenizer. */

/** Rotary embedding parameters; further types join this union as they are supported. */
export type RopeParameters = { type: 'default'; theta: number };

/** A model's shape, normalised from config.json: defaults filled in, every field checked. */
export interface ModelConfig {
  modelType: 'llama';
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  /** K/V heads; equals `heads` in multi-head attention, divides it in grouped-query attention. */
  kvHeads: number;
  headDim: number;
  maxPositions: number;
  normEpsilon: number;
  rope: RopeParameters;
  activation: 'silu';
  tiedEmbeddings: boolean;
  bosTokenId: number | null;
  /** Generation stops after any of these. */
  eosTokenIds: number[];
}

/** Element types of a checkpoint's tensors that kvlens reads. */
export type TensorDtype = 'F32' | 'F16' | 'BF16';

/** One tensor where it lies on disk. */
export interface TensorInfo {
  name: string;
  dtype: TensorDtype;
  /** Row-major; linear weights are [out, in]. */
  shape: number[];
  /** Real path of the safetensors file (symlinks resolved). */
  file: string;
  /** First byte of the tensor, from the start of the file. */
  offset: number;
  bytes: number;
}

/** Text ↔ token ids, as the checkpoint's tokenizer.json says. */
export interface Tokenizer {
  vocabSize: number;
  /** Ids of `text`, with BOS where the tokenizer's post-processor adds it. */
  encode(text: string): number[];
  /** Text of `ids`, special tokens left out, exactly as Hugging Face's `decode(skip_special_tokens=True)`. */
  decode(ids: readonly number[]): string;
  /** The vocabulary entry of one id as stored (for example `Ġplay` or `▁play`); null where the id has none. */
  token(id: number): string | null;
  /** The bytes one token stands for, or null for special tokens and unknown ids. */
  bytes(id: number): Uint8Array | null;
}

/** An opened checkpoint folder: validated, nothing of the weights read yet. */
export interface Checkpoint {
  /** The folder as given. */
  dir: string;
  /** Short name for run lines and file names: the folder's last part, or the embedded model's name. */
  name: string;
  config: ModelConfig;
  /** All tensors by checkpoint key; the ones the architecture needs are present with the right shapes. */
  tensors: ReadonlyMap<string, TensorInfo>;
  /** Deepest folder that contains the real path of every tensor file: where ONNX external data is rooted. */
  weightsRoot: string;
  tokenizer: Tokenizer | null;
  /** Keys of config.json that kvlens does not know: shown as a warning and kept in the manifest. */
  unknownConfigKeys: string[];
  /** Tensors of the files that the architecture does not read: shown as a warning. */
  unusedTensors: string[];
  /** sha256 (hex) of the weights: over each tensor file's bytes in name order. Computed on first call, streaming. */
  sha256(): Promise<string>;
  /** sha256 (hex) of tokenizer.json, null without one. */
  tokenizerSha256(): Promise<string | null>;
  /** Values of one tensor, decoded to float32 (exact for all three dtypes). */
  readTensor(name: string): Float32Array;
}
