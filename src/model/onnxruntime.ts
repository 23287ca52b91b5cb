/**
 * The one place that loads onnxruntime-node. Its binary reports use to its maker from version 1.29 on Linux and macOS unless
 * ORT_DISABLE_TELEMETRY is set before it starts; kvlens opens no connection of its own accord, so it is set here, first.
 */
import './onnxruntime-silence.ts';

export { env, InferenceSession, Tensor } from 'onnxruntime-node';
