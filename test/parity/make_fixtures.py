"""Expected values from Hugging Face transformers: `python make_fixtures.py OUT [--only committed] [--checkpoint DIR …] [--against FOLDER]`.

For every shape (shapes.py) and every given checkpoint, OUT/NAME gets the checkpoint itself, index.json (tokens, steps,
versions) and one file per run: float64, float32, and each half type on the eager and the sdpa path, prefill and then
cached decode, as the unchanged library computes them. --against compares the small shapes with those in FOLDER, which
are committed. Prints `N passed, N failed`; needs requirements-reference.txt. What kvlens makes of it: compare.mts.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
from checks import Checks  # noqa: E402
from rounding_log import RoundingLog  # noqa: E402
from shapes import COMMITTED, LIVE, tokens_of, write_checkpoint  # noqa: E402

# Run → type and attention path. sdpa is the library's default; its math kernel rounds scores, softmax and P·V once.
RUNS = {
    "fp64": (torch.float64, "eager"),
    "fp32": (torch.float32, "eager"),
    "fp16": (torch.float16, "eager"),
    "bf16": (torch.bfloat16, "eager"),
    "fp16-sdpa": (torch.float16, "sdpa"),
    "bf16-sdpa": (torch.bfloat16, "sdpa"),
}
BETWEEN_HOOKS = {"q_cos", "q_sin", "k_cos", "k_sin", "scores_raw", "cap_share", "cap_tanh", "act_fn"}
UNIT = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
# How far values may lie from the committed ones, relative L2, in units of rounding: another CPU sums in another order,
# and what a sum flips, later layers carry on. A change of formula or of a rounding moves whole tensors by more.
DRIFT = {torch.float64: 1e4, torch.float32: 100, torch.float16: 2, torch.bfloat16: 2}


def processor():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions():
    return {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__, "cpu": f"{processor()} ({torch.backends.cpu.get_cpu_capability()})"}


def flash(query, key, value, keywords):
    """The library's default CPU kernel on the same inputs: it rounds the unnormalised exponentials before P·V."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, **keywords)


@contextlib.contextmanager
def watching_attention(found):
    """Beside each call of the sdpa function, what the flash kernel makes of its inputs."""
    original = torch.nn.functional.scaled_dot_product_attention

    def watched(query, key, value, **keywords):
        found.append((query, key, value, keywords))
        return original(query, key, value, **keywords)

    torch.nn.functional.scaled_dot_product_attention = watched
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = original


@torch.no_grad()
def run(folder, kind, dtype, implementation, steps, checks, claim):
    """{"STEP:NAME": tensor} of every rounding of every step; float32: the logits and the rotary tables."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=implementation).eval()
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype, name
    cache = DynamicCache(config=model.config)
    kept = {}
    for index, (start, tokens) in enumerate(steps):
        arguments = {"input_ids": torch.tensor([tokens]), "past_key_values": cache, "use_cache": True}
        if dtype == torch.float32:
            output = model(**arguments)
            cos, sin = model.model.rotary_emb(output.logits, torch.arange(start, start + len(tokens))[None])
            found = {"logits": output.logits, "model.rotary_emb.cos": cos, "model.rotary_emb.sin": sin}
        else:
            calls = []
            with sdpa_kernel(SDPBackend.MATH), watching_attention(calls), RoundingLog(model, kind, implementation) as log:
                output = model(**arguments, output_hidden_states=True, output_attentions=implementation == "eager")
            found = log.tensors
            same_as_public(found, output, cache, index, model.config, kind, checks, f"{claim}, step {index}")
            for layer, call in enumerate(calls):
                found[f"model.layers.{layer}.self_attn.flash"] = flash(*call)
        # In float64 there is nothing between two hooks that needs a name.
        wanted = [name for name in found if dtype != torch.float64 or not name.split(".")[-1] in BETWEEN_HOOKS]
        kept.update({f"{index}:{name.removeprefix('model.')}": found[name].contiguous() for name in wanted})
    return kept


def same_as_public(found, output, cache, step, config, kind, checks, claim):
    """What the log holds is what the library returns to its callers, bit for bit."""
    layers = config.num_hidden_layers
    last = "capped" if "capped" in found else "lm_head"
    pairs = [(output.logits, found[last]), (output.hidden_states[layers], found["model.norm.weighted"])]
    for layer in range(layers):
        path = f"model.layers.{layer}"
        if layer + 1 < layers:
            pairs.append((output.hidden_states[layer + 1], found[f"{path}.mlp_sum"]))
        if output.attentions:
            pairs.append((output.attentions[layer], found[f"{path}.self_attn.probabilities"]))
        rows = found[f"{path}.self_attn.k_rotated"]
        kept = min(rows.shape[2], cache.layers[layer].keys.shape[2])
        pairs.append((cache.layers[layer].keys[:, :, -kept:], rows[:, :, -kept:]))
    checks.check(claim, all(torch.equal(public.flatten(), logged.flatten()) for public, logged in pairs), "the log differs from the library's outputs")


def table_distances(folder, positions):
    """How far the library's float32 tables are from exact ones, at all positions: largest |cos|, |sin| error and its angle."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    cos, sin = model.model.rotary_emb(torch.zeros(1), torch.arange(positions)[None])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    frequencies = rope["rope_theta"] ** (-np.arange(0, head_dim, 2) / head_dim)
    if rope["rope_type"] == "llama3":
        wavelengths, original = 2 * np.pi / frequencies, rope["original_max_position_embeddings"]
        low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
        share = np.clip((original / wavelengths - low) / (high - low), 0, 1)
        frequencies = (1 - share) * frequencies / factor + share * frequencies
    angles = np.arange(positions)[:, None] * frequencies
    half = head_dim // 2
    return float(max(np.abs(cos[0, :, :half].double().numpy() - np.cos(angles)).max(), np.abs(sin[0, :, :half].double().numpy() - np.sin(angles)).max()))


def refusal(folder):
    """What the library says where it has no sdpa path; None where it has."""
    try:
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    except ValueError as error:
        return str(error).split("yet.")[0].strip()
    return None


def make(name, about, checkpoint, out, tokens, prompt, checks, runs=RUNS):
    """Every run of one checkpoint."""
    config = AutoConfig.from_pretrained(checkpoint)
    kind = config.model_type
    steps = [(0, tokens[:prompt])] + [(prompt + i, [token]) for i, token in enumerate(tokens[prompt:])]
    refused = refusal(checkpoint)
    done = []
    for run_name, (dtype, implementation) in runs.items():
        if implementation == "sdpa" and refused:
            continue
        tensors = checks.attempt(f"{name}: {run_name}", lambda: run(checkpoint, kind, dtype, implementation, steps, checks, f"{name}: {run_name}"))
        if tensors is not None:
            save_file(tensors, os.path.join(out, f"{run_name}.safetensors"))
            done.append(run_name)
    index = {
        "name": name,
        "about": about,
        "modelType": kind,
        "checkpoint": os.path.relpath(checkpoint, out),
        "steps": [{"start": start, "tokens": step} for start, step in steps],
        "runs": done,
        "refused": refused,
        "tables": {"positions": config.max_position_embeddings, "fromExact": table_distances(checkpoint, config.max_position_embeddings)},
        "versions": versions(),
    }
    with open(os.path.join(out, "index.json"), "w") as file:
        json.dump(index, file, indent=1)
        file.write("\n")


def against(committed, fresh, checks):
    """The committed expected values are what the library says today."""
    name = os.path.basename(fresh)
    for file in ("config.json", "model.safetensors"):
        with open(os.path.join(committed, file), "rb") as first, open(os.path.join(fresh, file), "rb") as second:
            checks.check(f"{name}: {file} is made again byte for byte", first.read() == second.read())
    indices = []
    for folder in (committed, fresh):
        with open(os.path.join(folder, "index.json")) as file:
            indices.append(json.load(file))
    for key in ("steps", "runs", "refused"):
        checks.check(f"{name}: {key} as committed", indices[0][key] == indices[1][key], f"{indices[0][key]} and {indices[1][key]}")
    for run_name in indices[1]["runs"]:
        old, new = (load_file(os.path.join(folder, f"{run_name}.safetensors")) for folder in (committed, fresh))
        checks.check(f"{name}: {run_name}: the same tensors", old.keys() == new.keys(), f"{sorted(old.keys() ^ new.keys())[:3]}")
        dtype = RUNS[run_name][0]
        worst, where = max((distance(old[key], new[key]) / UNIT[dtype], key) for key in old.keys() & new.keys())
        checks.check(f"{name}: {run_name}: within {DRIFT[dtype]} units of what is committed", worst <= DRIFT[dtype], f"{worst:.2f} at {where}")


def distance(old, new):
    """Relative L2; NaN and other shapes are infinitely far."""
    if old.shape != new.shape or old.dtype != new.dtype:
        return float("inf")
    old, new = old.double(), new.double()
    found = float((old - new).norm() / old.norm().clamp_min(1e-300))
    return found if np.isfinite(found) else float("inf")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--only", choices=["committed"], help="the small shapes alone")
    parser.add_argument("--checkpoint", action="append", default=[], help="a checkpoint folder to run beside the shapes")
    parser.add_argument("--against", help="a folder of committed expected values to compare with")
    parser.add_argument("--quiet", action="store_true", help="print the count only")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    checks = Checks(options.quiet)
    for shape in COMMITTED + ([] if options.only else LIVE):
        out = os.path.join(options.out, shape["name"])
        shutil.rmtree(out, ignore_errors=True)
        write_checkpoint(shape, out)
        tokens = tokens_of(shape, shape["config"]["vocab_size"])
        make(shape["name"], shape["about"], out, out, tokens, shape["prompt"], checks)
    for checkpoint in options.checkpoint:
        name = os.path.basename(os.path.abspath(checkpoint))
        out = os.path.join(options.out, name)
        os.makedirs(out, exist_ok=True)
        vocab = AutoConfig.from_pretrained(checkpoint).vocab_size
        tokens = tokens_of({"name": name, "prompt": 60, "steps": 2}, vocab)
        make(name, "embedded checkpoint", os.path.abspath(checkpoint), out, tokens, 60, checks)
    if options.against:
        for shape in COMMITTED:
            against(os.path.join(options.against, shape["name"]), os.path.join(options.out, shape["name"]), checks)
    checks.finish()


if __name__ == "__main__":
    main()
