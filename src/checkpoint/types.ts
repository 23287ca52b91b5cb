/** What the rest of kvlens knows about a checkpoint: its shape, its tensors where they lie on disk, its tokenizer. */

/** Rotary embedding: plain, or with Llama 3's stretched low frequencies. */
export type RopeParameters =
  | { type: 'default'; theta: number }
  | {
      type: 'llama3';
      theta: number;
      factor: number;
      lowFrequencyFactor: number;
      highFrequencyFactor: number;
      originalMaxPositions: number;
    };

/** Architectures kvlens builds, as config.json's `model_type` names them. */
export const modelTypes = ['llama', 'mistral', 'gemma2', 'qwen2', 'qwen3'] as const;
export type ModelType = (typeof modelTypes)[number];

/** A model's shape, normalised from config.json: defaults filled in, every field checked. */
export interface ModelConfig {
  modelType: ModelType;
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  /** K/V heads; equals `heads` in multi-head attention, divides it in grouped-query attention. */
  kvHeads: number;
  /** K/V heads of the checkpoint's tensors: fewer than `kvHeads` in a model expanded to multi-head attention. */
  storedKvHeads: number;
  headDim: number;
  maxPositions: number;
  normEpsilon: number;
  rope: RopeParameters;
  activation: 'silu' | 'gelu_tanh';
  tiedEmbeddings: boolean;
  /** Per layer: how many keys a row sees, itself included; null: all. */
  slidingWindows: (number | null)[];
  /** What q·k is multiplied by. */
  scoreScale: number;
  /** Scores become c·tanh(score / c); null: off. */
  attentionSoftcap: number | null;
  /** Logits become c·tanh(logit / c); null: off. */
  finalSoftcap: number | null;
  /** q, k and v have a bias. */
  attentionBias: boolean;
  /** Each head's q and k are normalised before rotary. */
  queryKeyNorm: boolean;
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
