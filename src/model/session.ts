/** The one place that creates inference sessions and sets their options. */

import { RunError } from '../errors.ts';
import type { BuiltGraph } from '../graph/builder.ts';
import { encodeModel } from '../graph/onnx/codec.ts';
import { InferenceSession, type Tensor } from './onnxruntime.ts';

/** What changes how a session computes or loads; everything else is fixed here. */
export interface SessionOptions {
  /** Intra-op threads. */
  threads: number;
  /** False sets `session.disable_prepacking`: another reduction order in weight matmuls with one row. */
  prepack: boolean;
  /** Folder that external weights are relative to. */
  weightsRoot: string;
  /** Write the graph that really runs to this path. */
  optimizedModelPath?: string;
}

/**
 * The options every session is opened with.
 *
 * Level `basic` keeps the operators of both precisions the same apart from casts; `extended` would fuse one arm only.
 * Spinning is off because one session per layer would otherwise burn a core between layers.
 */
export function runtimeOptions(options: SessionOptions): InferenceSession.SessionOptions {
  return {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'basic',
    executionMode: 'sequential',
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    ...(options.optimizedModelPath === undefined ? {} : { optimizedModelFilePath: options.optimizedModelPath }),
    extra: {
      // Without a limit: a head of 256,000 tokens would otherwise stay in 16 bits and be converted at every run.
      optimization: { constant_folding_max_output_size_in_bytes: '0' },
      session: {
        intra_op: { allow_spinning: '0' },
        ...(options.prepack ? {} : { disable_prepacking: '1' }),
        model_external_initializers_file_folder_path: options.weightsRoot,
      },
    },
  };
}

export type Feeds = Record<string, Tensor>;

/** One graph, loaded. */
export interface LoadedGraph {
  readonly graph: BuiltGraph;
  /** Run with these inputs; fetches graph outputs by name. Feed names are validated. */
  run(feeds: Feeds, fetches: readonly string[]): Promise<InferenceSession.OnnxValueMapType>;
  release(): Promise<void>;
}

/** @throws Error for a feed the graph does not have: the runtime ignores unknown ones silently. */
export function checkFeeds(feeds: Feeds, inputs: ReadonlySet<string>, graph: string): void {
  for (const name of Object.keys(feeds)) {
    if (!inputs.has(name)) throw new Error(`${graph}: no input named ${name}`);
  }
}

/** A graph loaded in this thread. */
export class GraphSession implements LoadedGraph {
  readonly graph: BuiltGraph;
  private readonly session: InferenceSession;
  private readonly inputs: ReadonlySet<string>;

  private constructor(graph: BuiltGraph, session: InferenceSession) {
    this.graph = graph;
    this.session = session;
    this.inputs = new Set(session.inputNames);
  }

  /** Load a built graph. @throws RunError if the runtime refuses it. */
  static async open(graph: BuiltGraph, options: SessionOptions): Promise<GraphSession> {
    try {
      const session = await InferenceSession.create(encodeModel(graph.model), runtimeOptions(options));
      return new GraphSession(graph, session);
    } catch (error) {
      const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
      throw new RunError(`${graph.model.graph?.name}: ONNX Runtime cannot load this graph (${reason})`);
    }
  }

  async run(feeds: Feeds, fetches: readonly string[]): Promise<InferenceSession.OnnxValueMapType> {
    checkFeeds(feeds, this.inputs, this.graph.model.graph?.name ?? '');
    return this.session.run(feeds, fetches);
  }

  async release(): Promise<void> {
    await this.session.release();
  }
}
