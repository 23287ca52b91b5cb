"""kvlens's float64 forward pass against Hugging Face's: `python check_hf.py CHECKPOINT [--quiet]`.

`kvlens capture --precision fp64` writes logits and residuals, transformers' LlamaForCausalLM computes them from the same
files in torch, and the two must agree to 1e-10 of the largest value of the tensor. Needs requirements-reference.txt.
"""

import argparse
import json
import os
import subprocess
import tempfile

import numpy as np
import pyarrow.ipc as ipc
import torch
from transformers import AutoConfig, LlamaForCausalLM
from transformers.utils import logging

from checks import Checks

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMAND = ["node", os.path.join(ROOT, "dist", "cli", "main.js")]
TOLERANCE = 1e-10


def sequences(vocabulary, longest):
    """Token ids: one token, a short text's worth, and as many as the context holds (at most 200)."""
    random = np.random.default_rng(7)
    return [[1], [int(t) for t in random.integers(0, vocabulary, 23)], [int(t) for t in random.integers(0, vocabulary, min(200, longest))]]


def stock(checkpoint):
    """As transformers has it. Eager attention is the plain formula; every bfloat16 weight is exactly a double."""
    return LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float64, attn_implementation="eager").eval()


def hugging_face(checkpoint):
    """The model in float64, with rotary angles in float64 too.

    transformers computes inv_freq in float32 and turns every angle, cosine and sine into float32 values, whatever the
    model's type. That is a choice of storage, not the mathematics of fp64 here, so both are replaced by doubles.
    """
    config = AutoConfig.from_pretrained(checkpoint)
    model = stock(checkpoint)
    rotary = model.model.rotary_emb
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    theta = config.rope_parameters["rope_theta"]
    inv_freq = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)

    def double(x, position_ids):
        angles = position_ids[..., None].double() * inv_freq
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    rotary.forward = double
    for norm in (m for m in model.modules() if type(m).__name__ == "LlamaRMSNorm"):
        # LlamaRMSNorm casts its input to float32; here the norm is computed in double.
        norm.forward = lambda x, norm=norm: norm.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon))
    for name, module in model.named_modules():
        assert all(p.dtype == torch.float64 for p in module.parameters()), name
    return model


def softmax_in_double():
    """Eager attention computes its softmax in float32 for every type; let it be double."""
    original = torch.nn.functional.softmax

    def softmax(x, dim=None, dtype=None, **rest):
        return original(x, dim=dim, dtype=x.dtype if dtype == torch.float32 else dtype, **rest)

    torch.nn.functional.softmax = softmax


def capture(checkpoint, tokens, out):
    """{kind: {(layer, position): values}} from `kvlens capture`."""
    arguments = ["--tokens", ",".join(map(str, tokens)), "--precision", "fp64", "--hooks", "logits,*.hook_resid_post"]
    arguments += ["--arm", "uncached", "--max-new-tokens", "0", "--out", out, "--json", "--quiet"]
    printed = subprocess.run([*COMMAND, "capture", checkpoint, *arguments], capture_output=True, text=True)
    if printed.returncode != 0:
        raise RuntimeError(f"kvlens capture: exit code {printed.returncode}: {printed.stderr.strip()[-300:]}")
    found = {}
    for file in json.loads(printed.stdout)["files"]:
        table = ipc.open_file(os.path.join(out, file)).read_all()
        values = np.stack(table["value"].to_numpy())
        if values.dtype != np.float64:
            raise RuntimeError(f"{file}: {values.dtype}, expected float64")
        keys = zip(table["layer"].to_pylist(), table["position"].to_pylist())
        found[os.path.basename(file)[: -len(".arrow")]] = dict(zip(keys, values))
    return found


@torch.no_grad()
def logits_of(model, tokens):
    return model(torch.tensor([tokens]), use_cache=False).logits


def compare(checks, model, tokens, found):
    """Logits and every block's output, at every position."""
    residuals = {}
    hooks = [
        block.register_forward_hook(lambda _m, _i, output, layer=layer: residuals.__setitem__(layer, output[0] if isinstance(output, tuple) else output))
        for layer, block in enumerate(model.model.layers)
    ]
    logits = logits_of(model, tokens)
    for hook in hooks:
        hook.remove()
    layers = len(model.model.layers)
    expected = {"logits": {layers: logits}, "resid_post": residuals}
    for kind, by_layer in expected.items():
        for layer, tensor in by_layer.items():
            theirs = tensor.reshape(len(tokens), -1).numpy()
            ours = np.stack([found[kind][layer, position] for position in range(len(tokens))])
            claim = f"{len(tokens)} tokens: {kind}{'' if kind == 'logits' else f' of block {layer}'} within {TOLERANCE:g}"
            worst = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
            if checks.check(claim, ours.dtype == theirs.dtype == np.float64 and worst <= TOLERANCE, f"{worst:.2e}"):
                checks.worst = max(checks.worst, worst)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--quiet", action="store_true", help="print the count only")
    options = parser.parse_args()
    checks = Checks(options.quiet)
    checks.worst = 0.0
    logging.disable_progress_bar()
    softmax_in_double()
    model = checks.attempt("transformers reads the checkpoint", lambda: hugging_face(options.checkpoint))
    if model is not None:
        tokens = sequences(model.config.vocab_size, model.config.max_position_embeddings)[-1]
        ours, theirs = logits_of(model, tokens), logits_of(stock(options.checkpoint), tokens)
        seen = ((ours - theirs).abs().max() / ours.abs().max()).item()
        checks.check("the comparison is sharp: angles in float32 would be noticed", seen > 100 * TOLERANCE, f"{seen:.1e}")
        for tokens in sequences(model.config.vocab_size, model.config.max_position_embeddings):
            with tempfile.TemporaryDirectory() as folder:
                found = checks.attempt(f"{len(tokens)} tokens: kvlens captures them", lambda: capture(options.checkpoint, tokens, os.path.join(folder, "run")))
            if found is not None:
                compare(checks, model, tokens, found)
        if not options.quiet:
            print(f"  largest relative difference {checks.worst:.1e}")
    checks.finish()


if __name__ == "__main__":
    main()
