/** Imported before onnxruntime-node, whose binary reads this once as it starts. A value already set is kept. */
process.env.ORT_DISABLE_TELEMETRY ??= '1';
