"""Exported graphs by other implementations: `python check_onnx.py GRAPH_DIR [GRAPH_DIR …] [--capture RUN_DIR] [--quiet]`.

The official checker and shape inference read every file; external data is looked up in the headers of the safetensors
files; ONNX Runtime for Python runs a prefill and a decode step. Several folders of one model must agree bit for bit, and,
with --capture, with a `kvlens capture --arm uncached --hooks logits` of the same checkpoint, precision and kernels.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile

import numpy as np
import onnx
import onnxruntime as ort

from checks import Checks

PROMPT = [1, 17, 44, 9, 120, 3, 71, 8]
DTYPES = {"F32": onnx.TensorProto.FLOAT, "F16": onnx.TensorProto.FLOAT16, "BF16": onnx.TensorProto.BFLOAT16}
ROUND = {
    "f16": lambda x: x.astype(np.float16).astype(np.float32),
    "f32": lambda x: x,
    "bf16": lambda x: bfloat16(x),
    "f64": lambda x: x,
}


def bfloat16(x):
    """float32 rounded to nearest even bfloat16."""
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def safetensors_header(path):
    """{name: (dtype, shape, absolute offset, bytes)}."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {
        name: (DTYPES[t["dtype"]], t["shape"], 8 + length + t["data_offsets"][0], t["data_offsets"][1] - t["data_offsets"][0])
        for name, t in header.items()
    }


def external(tensor):
    return {entry.key: entry.value for entry in tensor.external_data}


class GraphFolder:
    """graph.json, its graphs, and where their weights lie."""

    def __init__(self, path):
        self.path = path
        with open(os.path.join(path, "graph.json"), encoding="utf-8") as file:
            self.manifest = json.load(file)
        self.weights = os.path.normpath(os.path.join(path, self.manifest["weights"]))
        with open(os.path.join(path, self.manifest["checkpoint"]["path"], "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.single = self.manifest["layout"] == "single-file"

    def file(self, name):
        return os.path.join(self.path, name)

    def session(self, name):
        options = ort.SessionOptions()
        # As kvlens opens its sessions; the level and the number of threads are part of the arithmetic.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        if not self.single:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.path.realpath(self.weights))
        return ort.InferenceSession(self.file(name), options, providers=["CPUExecutionProvider"])


def check_graph(checks, folder, entry):
    """One .onnx file, read by the reference implementation."""
    name = f"{os.path.basename(os.path.normpath(folder.path))}/{entry['file']}"
    path = folder.file(entry["file"])
    with open(path, "rb") as file:
        content = file.read()
    checks.check(f"{name}: has the sha256 graph.json says", hashlib.sha256(content).hexdigest() == entry["sha256"])
    model = checks.attempt(f"{name}: onnx parses it", lambda: onnx.load(path, load_external_data=False))
    if model is None:
        return
    with tempfile.TemporaryDirectory() as staged:
        target = os.path.join(staged, "model.onnx")
        shutil.copyfile(path, target)
        place_weights(model, folder, staged)
        checks.attempt(f"{name}: onnx.checker accepts it, full check", lambda: onnx.checker.check_model(target, full_check=True))
        checks.attempt(f"{name}: strict shape inference accepts it", lambda: onnx.shape_inference.infer_shapes_path(target, os.path.join(staged, "inferred.onnx"), True, True, True))
        checks.attempt(f"{name}: its weights can be read through external data", lambda: onnx.load_external_data_for_model(model, staged))
    graph = onnx.load(path, load_external_data=False).graph
    names = ([v.name for v in graph.input], [v.name for v in graph.output])
    checks.check(f"{name}: inputs and outputs are those of graph.json", names == (entry["inputs"], entry["outputs"]))
    check_weights(checks, name, graph, folder)
    check_inferred_outputs(checks, name, path)


def place_weights(model, folder, staged):
    """The checker wants external data beside the model and refuses links that leave the folder."""
    for location in {external(t)["location"] for t in model.graph.initializer if t.external_data}:
        target = os.path.join(staged, location)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(os.path.join(folder.weights, location), target)


def check_weights(checks, name, graph, folder):
    """External data is exactly a tensor of the checkpoint: same name, type, shape and bytes of the file."""
    wrong, seen = [], 0
    for tensor in graph.initializer:
        if not tensor.external_data:
            continue
        seen += 1
        where = external(tensor)
        header = safetensors_header(os.path.join(folder.weights, where["location"]))
        found = (tensor.data_type, list(tensor.dims), int(where["offset"]), int(where["length"]))
        if header.get(tensor.name) != found:
            wrong.append(f"{tensor.name}: {found}, in the file {header.get(tensor.name)}")
    checks.check(f"{name}: {seen} weights lie where the safetensors header says", not wrong and seen > 0, str(wrong[:1]))
    embedded = sum(len(t.SerializeToString()) for t in graph.initializer if not t.external_data)
    checks.check(f"{name}: no weights are copied into the graph", embedded < 4096, f"{embedded} bytes")


def check_inferred_outputs(checks, name, path):
    """Types that the reference infers for the outputs, without being told, are the declared ones."""
    model = onnx.load(path, load_external_data=False)
    declared = {v.name: v.type.tensor_type.elem_type for v in model.graph.output}
    for value in model.graph.output:
        value.type.Clear()
    inferred = onnx.shape_inference.infer_shapes(model)
    found = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.output if v.type.WhichOneof("value")}
    wrong = [n for n in found if found[n] != declared[n]]
    checks.check(f"{name}: inferred output types ({len(found)} of {len(declared)}) are the declared ones", not wrong, str(wrong))
    hidden = [node.name or node.op_type for node in model.graph.node for a in node.attribute if a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)]
    checks.check(f"{name}: is one flat graph", not hidden, str(hidden[:3]))


class Runner:
    """Prefill and decode in ONNX Runtime for Python, from nothing but the folder."""

    def __init__(self, folder, role):
        self.folder = folder
        graphs = [g for g in folder.manifest["graphs"] if role in g["roles"]]
        self.sessions = [folder.session(g["file"]) for g in graphs]
        past = {i.name: i for s in self.sessions for i in s.get_inputs() if ".attn.past_" in i.name}
        self.layers = len(past) // 2
        self.kv_heads, self.head_dim = past["blocks.0.attn.past_k"].shape[2:]
        self.compute = np.float64 if past["blocks.0.attn.past_k"].type == "tensor(double)" else np.float32

    def step(self, tokens, start, cache):
        """All outputs for rows start … of `tokens`; `cache` maps (layer, 'k' or 'v') to the rows before."""
        count = len(tokens)
        policy = self.folder.manifest["policy"]
        table = policy["places"].get("rotary_table", policy["default"])
        cos, sin = rotary_rows(self.folder.config, self.head_dim, start, count, self.compute, ROUND[table])
        mask = np.triu(np.full((count, start + count), -np.inf, self.compute), k=start + 1)
        known = {"input_ids": np.array([tokens], np.int64), "rotary_cos": cos, "rotary_sin": sin, "attention_mask": mask}
        empty = np.zeros((1, 0, self.kv_heads, self.head_dim), self.compute)
        for layer in range(self.layers):
            for part in "kv":
                known[f"blocks.{layer}.attn.past_{part}"] = cache.get((layer, part), empty)
        for session in self.sessions:
            names = [o.name for o in session.get_outputs()]
            known.update(zip(names, session.run(names, {i.name: self.input(known, i.name) for i in session.get_inputs()})))
        return known

    def input(self, known, name):
        """A block's input is the embedding or the output of the block before."""
        if name in known:
            return known[name]
        layer = int(name.split(".")[1])
        return known["hook_embed" if layer == 0 else f"blocks.{layer - 1}.hook_resid_post"]

    def cache_of(self, found):
        return {(layer, part): found[f"blocks.{layer}.attn.hook_cache_{part}"] for layer in range(self.layers) for part in "kv"}


def rotary_rows(config, head_dim, start, count, compute, round_to):
    """cos and sin as the graphs expect them: frequencies of the double power, every step stored in the compute type."""
    theta = (config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0
    frequencies = (1.0 / theta ** (np.arange(0, head_dim, 2) / head_dim)).astype(compute)
    angles = np.arange(start, start + count).astype(compute)[:, None] * frequencies
    pair = [np.concatenate([f(angles.astype(np.float64))] * 2, axis=1).astype(compute) for f in (np.cos, np.sin)]
    return [round_to(table).reshape(1, count, 1, head_dim) for table in pair]


def same_bits(left, right):
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def run_folder(checks, folder):
    """A prefill and a decode step; every output of both, by name."""
    name = os.path.basename(os.path.normpath(folder.path))
    prefill = checks.attempt(f"{name}: ONNX Runtime {ort.__version__} for Python loads it", lambda: Runner(folder, "prefill"))
    if prefill is None:
        return None
    tokens = [token % folder.config["vocab_size"] for token in PROMPT]
    first = checks.attempt(f"{name}: it runs a prefill", lambda: prefill.step(tokens, 0, {}))
    if first is None:
        return None
    shape = (1, len(tokens), folder.config["vocab_size"])
    checks.check(f"{name}: logits are {shape} and finite", first["logits"].shape == shape and np.isfinite(first["logits"]).all())
    decode = Runner(folder, "decode")
    part = decode.step(tokens[:-1], 0, {})
    second = checks.attempt(f"{name}: it runs a decode step on its own cache", lambda: decode.step(tokens[-1:], len(tokens) - 1, decode.cache_of(part)))
    if second is None:
        return None
    exact, found = first["logits"][0, -1], second["logits"][0, -1]
    near = np.max(np.abs(exact - found)) <= 0.02 * np.max(np.abs(exact))
    checks.check(f"{name}: the decode step continues the prefill (within 2 % of the largest logit)", near, f"{np.max(np.abs(exact - found))}")
    return first, second


def compare_folders(checks, results):
    """Every output that two folders share has equal bits."""
    (reference, ours), *others = results
    for name, theirs in others:
        for step, a, b in zip(("prefill", "decode step"), ours, theirs):
            shared = [n for n in a if n in b and (n.endswith("logits") or "hook_" in n)]
            wrong = [n for n in shared if not same_bits(a[n], b[n])]
            checks.check(f"{name} and {reference}: {len(shared)} outputs of a {step} have equal bits", shared and not wrong, str(wrong[:3]))


def compare_capture(checks, run, results, folder):
    """The logits that kvlens captured on the same tokens, in the same version of the runtime."""
    import pyarrow.ipc as ipc

    with open(os.path.join(run, "manifest.json"), encoding="utf-8") as file:
        identity = json.load(file)["identity"]
    for key in ("policy",):
        checks.check(f"the capture has the folder's {key}", identity[key] == folder.manifest[key])
    table = ipc.open_file(os.path.join(run, "activations", "logits.arrow")).read_all()
    rows = {p: np.array(v.as_py()) for p, v in zip(table["position"].to_pylist(), table["value"])}
    name, (prefill, _) = results[0]
    ours = prefill["logits"][0]
    same_version = identity["versions"]["onnxruntime"] == ort.__version__
    claim = f"{name}: logits of a prefill are those of kvlens, bit for bit"
    if checks.check("the runtime has kvlens's version", same_version, f"{ort.__version__}, kvlens {identity['versions']['onnxruntime']}"):
        wrong = [p for p in range(len(ours)) if p not in rows or not np.array_equal(rows[p].astype(ours.dtype), ours[p])]
        checks.check(claim, not wrong and len(rows) == len(ours), f"positions {wrong[:4]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--capture", help="run directory of kvlens capture --arm uncached --hooks logits --tokens of this script's prompt")
    parser.add_argument("--quiet", action="store_true", help="print the count only")
    options = parser.parse_args()
    checks = Checks(options.quiet)
    results = []
    for path in options.folders:
        folder = checks.attempt(f"{os.path.basename(os.path.normpath(path))}: graph.json and config.json can be read", lambda: GraphFolder(path))
        if folder is None:
            continue
        for entry in folder.manifest["graphs"]:
            checks.attempt(f"{entry['file']}: can be read to its end", lambda: check_graph(checks, folder, entry))
        result = run_folder(checks, folder)
        if result is not None:
            results.append((os.path.basename(os.path.normpath(path)), result))
    if len(results) > 1:
        compare_folders(checks, results)
    if options.capture and results:
        action = lambda: compare_capture(checks, options.capture, results, folder)
        checks.attempt("the capture can be compared", action)
    checks.finish()


if __name__ == "__main__":
    main()
