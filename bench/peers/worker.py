"""A peer of bench/compare.mts: the protocol of protocol.mts over stdin and stdout.

Each task is a class that builds what it needs, runs once with `run()`, and says what it computed. Only what a user of the
library would wait for is inside the time. Everything is float32: half precision of these libraries rounds elsewhere, so
that results could not be checked as closely.
"""

import atexit
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version

# Before torch: no look at a model hub, and one pool of threads.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TQDM_DISABLE"] = "1"

DIGEST_SIZE = 16
# What a library prints goes to stderr: stdout is the protocol's.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(message):
    ANSWERS.write(json.dumps(message) + "\n")
    ANSWERS.flush()


def digest_of(result):
    """As digestOf in protocol.mts."""
    count = min(DIGEST_SIZE, len(result))
    return [result[(i * len(result)) // count] for i in range(count)]


def distinct_bytes(tensors):
    """Bytes of the storages these tensors lie in, each counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def kept(tensors):
    return {"tensors": len(tensors), "bytes": distinct_bytes(tensors)}


def has_tokenizer(folder):
    return os.path.exists(os.path.join(folder, "tokenizer.json"))


def placeholder_tokenizer():
    """TransformerLens demands a tokenizer, and a synthetic checkpoint has none; every task gives token ids."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "a": 2}, unk_token="a"))
    made = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="a")
    # It is loaded a second time from where it says it came from, so the folder outlives this function.
    folder = tempfile.mkdtemp(prefix="kvlens-peers-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


class Torch:
    """The Hugging Face model, eager attention: what all torch peers run."""

    packages = ("torch", "transformers")

    def __init__(self, request):
        import torch

        torch.set_num_threads(request["threads"])
        torch.set_num_interop_threads(1)
        torch.set_grad_enabled(False)
        import transformers

        transformers.utils.logging.disable_progress_bar()
        self.torch = torch
        self.request = request
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            request["checkpoint"], dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokens = torch.tensor([request["tokens"]])
        self.kept = None
        self.notes = []

    def numbers(self, logits):
        return logits[0, -1].tolist()


class TransformersForward(Torch):
    """A pass over the prompt that keeps nothing."""

    def run(self):
        begun = time.perf_counter()
        logits = self.model(self.tokens, use_cache=False).logits
        return time.perf_counter() - begun, self.numbers(logits)


class Hooked(Torch):
    """Forward hooks on every module of the model, which keep the tensors each returns."""

    def __init__(self, request):
        super().__init__(request)
        self.found = {}
        for name, module in self.model.named_modules():
            if name:
                module.register_forward_hook(self.keep(name))

    def keep(self, name):
        torch = self.torch

        def hook(_module, _inputs, output):
            parts = output if isinstance(output, tuple) else (output,)
            for i, part in enumerate(parts):
                if isinstance(part, torch.Tensor):
                    self.found[name if i == 0 else f"{name}.{i}"] = part

        return hook


class TransformersPrefill(Hooked):
    def run(self):
        self.found = {}
        begun = time.perf_counter()
        logits = self.model(self.tokens, use_cache=False).logits
        seconds = time.perf_counter() - begun
        self.kept = kept(self.found.values())
        return seconds, self.numbers(logits)


class TransformersDecode(Hooked):
    """The prompt outside of the time, then one forced token at a time; every step's tensors are kept to the end."""

    def run(self):
        past = self.model(self.tokens, use_cache=True).past_key_values
        steps = [self.torch.tensor([[token]]) for token in self.request["forced"]]
        run = []
        begun = time.perf_counter()
        for step in steps:
            self.found = {}
            output = self.model(step, past_key_values=past, use_cache=True)
            run.append(self.found)
        seconds = time.perf_counter() - begun
        self.kept = kept([tensor for found in run for tensor in found.values()])
        return seconds, self.numbers(output.logits)


class Lens(Torch):
    """TransformerLens's bridge around the same Hugging Face model, its weights as they are."""

    packages = ("torch", "transformers", "transformer-lens")

    def __init__(self, request):
        super().__init__(request)
        from transformer_lens.model_bridge import TransformerBridge

        self.lens = TransformerBridge.boot_transformers(
            request["checkpoint"],
            hf_model=self.model,
            tokenizer=None if has_tokenizer(request["checkpoint"]) else placeholder_tokenizer(),
            dtype=self.torch.float32,
            device="cpu",
        )


class LensForward(Lens):
    def run(self):
        begun = time.perf_counter()
        logits = self.lens(self.tokens)
        return time.perf_counter() - begun, self.numbers(logits)


class LensPrefill(Lens):
    def run(self):
        begun = time.perf_counter()
        logits, cache = self.lens.run_with_cache(self.tokens)
        seconds = time.perf_counter() - begun
        self.kept = kept(list(cache.values()))
        return seconds, self.numbers(logits)


class LensSweep(Lens):
    """get_act_patch_resid_pre; the clean run is made before, as with kvlens."""

    def __init__(self, request):
        super().__init__(request)
        self.corrupted = self.torch.tensor([request["corrupted"]])
        _, self.clean = self.lens.run_with_cache(self.tokens)

    def run(self):
        from transformer_lens import patching

        right, wrong = self.request["answers"]
        begun = time.perf_counter()
        cells = patching.get_act_patch_resid_pre(
            self.lens, self.corrupted, self.clean, lambda logits: logits[0, -1, right] - logits[0, -1, wrong]
        )
        seconds = time.perf_counter() - begun
        return seconds, cells.flatten().tolist()


class NnsightPrefill(Torch):
    """One trace that saves the output of every module, in the order in which they end."""

    packages = ("torch", "transformers", "nnsight")

    def __init__(self, request):
        super().__init__(request)
        from nnsight import NNsight

        order = []
        handles = [
            module.register_forward_hook(lambda _module, _inputs, _output, name=name: order.append(name))
            for name, module in self.model.named_modules()
            if name
        ]
        self.model(self.tokens, use_cache=False)
        for handle in handles:
            handle.remove()
        self.wrapped = NNsight(self.model)
        self.modules = [self.wrapped.get(name) for name in order]

    def run(self):
        begun = time.perf_counter()
        with self.wrapped.trace(self.tokens, use_cache=False):
            found = list().save()
            for module in self.modules:
                found.append(module.output)
            logits = self.wrapped.output.logits.save()
        seconds = time.perf_counter() - begun
        parts = [part for output in found for part in (output if isinstance(output, tuple) else (output,))]
        self.kept = kept([part for part in parts if isinstance(part, self.torch.Tensor)])
        return seconds, self.numbers(logits)


class Bare:
    """The exported graph in ONNX Runtime with its own defaults; nothing but logits and the next step's cache is fetched."""

    packages = ("onnxruntime", "numpy")

    def __init__(self, request):
        import numpy
        import onnxruntime

        self.numpy = numpy
        self.request = request
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = request["threads"]
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.path.join(request["graphs"], "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        with open(os.path.join(request["checkpoint"], "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        self.kept = None
        self.notes = []

    def feeds(self, tokens, past):
        """Tokens after the K/V rows of `past` (by input name; None: no rows)."""
        numpy, config = self.numpy, self.config
        head_dim, layers = config["head_dim"], config["num_hidden_layers"]
        empty = numpy.zeros((1, 0, config["num_key_value_heads"], head_dim), numpy.float32)
        if past is None:
            past = {f"blocks.{layer}.attn.past_{kind}": empty for layer in range(layers) for kind in "kv"}
        start = next(iter(past.values())).shape[1]
        positions = numpy.arange(start, start + len(tokens))
        frequencies = (config["rope_theta"] ** (-2.0 * numpy.arange(head_dim // 2) / head_dim)).astype(numpy.float32)
        half = positions[:, None].astype(numpy.float32) * frequencies
        angles = numpy.concatenate([half, half], axis=1)[None, :, None, :]
        mask = numpy.where(numpy.arange(start + len(tokens)) <= positions[:, None], 0, -math.inf)
        return {
            "input_ids": numpy.array([tokens], numpy.int64),
            "rotary_cos": numpy.cos(angles),
            "rotary_sin": numpy.sin(angles),
            "attention_mask": mask.astype(numpy.float32),
            **past,
        }

    def numbers(self, logits):
        return [float(x) for x in logits.reshape(-1, logits.shape[-1])[-1]]


class BareForward(Bare):
    def run(self):
        begun = time.perf_counter()
        (logits,) = self.session.run(["logits"], self.feeds(self.request["tokens"], None))
        return time.perf_counter() - begun, self.numbers(logits)


TASKS = {
    ("transformers", "forward"): TransformersForward,
    ("transformers", "prefill"): TransformersPrefill,
    ("transformers", "decode"): TransformersDecode,
    ("transformer-lens", "forward"): LensForward,
    ("transformer-lens", "prefill"): LensPrefill,
    ("transformer-lens", "sweep"): LensSweep,
    ("nnsight", "prefill"): NnsightPrefill,
    ("onnxruntime", "forward"): BareForward,
}


def main():
    request = json.loads(sys.stdin.readline())
    make = TASKS.get((request["peer"], request["task"]))
    if make is None:
        raise ValueError(f"{request['peer']} has no task {request['task']}")
    if request["precision"] != "fp32":
        raise ValueError(f"precision: found {request['precision']}, expected fp32")
    task = make(request)
    _, result = task.run()
    versions = {"python": platform.python_version(), **{name: version(name) for name in make.packages}}
    answer({"ready": True, "versions": versions, "result": result, "kept": task.kept, "notes": task.notes})
    for line in sys.stdin:
        if json.loads(line) != "go":
            raise ValueError(f"found {line.strip()}, expected \"go\"")
        seconds, result = task.run()
        answer({"seconds": seconds, "digest": digest_of(result)})


try:
    main()
except Exception as error:
    answer({"error": f"{type(error).__name__}: {error}"})
    raise
