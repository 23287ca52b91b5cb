"""Cached against uncached decoding in Hugging Face transformers, natively in half precision, on a GPU or the CPU.

    python bench/gpu/witness.py [MODEL …] --device cuda --out DIR [--precision fp16,bf16,fp32] [--attention eager,sdpa] [--limit 20]

MODEL is an embedded model's name or a checkpoint folder; all embedded ones if none is given. Prompts, token draws, protocols and
columns are kvlens's own, so that DIR reads like one of its runs; one condition per model, precision and attention path. Needs
test/python/requirements.txt and requirements-reference.txt. What to compare it with: compare.py.
"""

import argparse
import glob
import hashlib
import json
import os
import platform
import sys
import time

from needs import missing

try:
    from draws import Strategy
    from tables import write_run
except ImportError as error:
    missing("witness.py", error)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TEMPLATE = "{question}\n"
PRECISIONS = {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}
ATTENTION = ("eager", "sdpa")


class InputError(Exception):
    """Bad input, said in one line; exit code 3."""


def main(arguments=None):
    options = parse(arguments)
    try:
        witness(options)
    except InputError as error:
        print(f"witness.py: {error}", file=sys.stderr)
        sys.exit(3)
    except ImportError as error:
        missing("witness.py", error)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", required=True, help="folder of the run; must be empty or missing")
    parser.add_argument("--precision", default="fp16,bf16,fp32", type=choices(PRECISIONS))
    parser.add_argument("--attention", default="eager,sdpa", type=choices(ATTENTION))
    parser.add_argument("--prompts", default=os.path.join(ROOT, "data", "prompts", "mini-arithmetic.jsonl"), help="JSON Lines with question, prompt or tokens")
    parser.add_argument("--limit", type=whole(1), default=20, help="prompts to run (default 20)")
    parser.add_argument("--template", default=TEMPLATE)
    parser.add_argument("--max-new-tokens", type=whole(1), default=102)
    parser.add_argument("--ignore-eos", action="store_true")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-k", type=whole(1))
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--seed", type=whole(0))
    parser.add_argument("--sampler", choices=("gumbel", "inverse-cdf"), default="gumbel")
    parser.add_argument("--threads", type=whole(1), default=1, help="CPU threads (default 1)")
    options = parser.parse_args(arguments)
    if options.temperature is not None and not options.temperature >= 0:
        parser.error(f"--temperature: found {options.temperature}, expected a number ≥ 0")
    if options.top_p is not None and not 0 < options.top_p <= 1:
        parser.error(f"--top-p: found {options.top_p}, expected a number in (0, 1]")
    if "{question}" not in options.template:
        parser.error(f"--template: found {options.template!r}, expected a text that contains {{question}}")
    options.strategy = strategy_of(options)
    return options


def choices(known):
    def parse_list(text):
        found = [part.strip() for part in text.split(",")]
        for part in found:
            if part not in known:
                raise argparse.ArgumentTypeError(f"found {part!r}, expected some of {', '.join(known)}, separated by commas")
        return found

    return parse_list


def whole(least):
    def parse_whole(text):
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number ≥ {least}")
        return int(text)

    return parse_whole


def strategy_of(options):
    """Greedy if no sampling option is given or T = 0, else T = 1 and seed 0 unless said otherwise."""
    given = (options.temperature, options.top_k, options.top_p, options.seed)
    if all(value is None for value in given) or options.temperature == 0:
        return Strategy()
    temperature = 1.0 if options.temperature is None else options.temperature
    return Strategy(temperature, options.top_k, options.top_p, options.seed or 0, options.sampler)


def witness(options):
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device that torch can use, expected one, or --device cpu")
    folders = [model_folder(name) for name in options.models or embedded()]
    for folder in folders:
        if not os.path.isfile(os.path.join(folder, "config.json")):
            raise InputError(f"{folder}: has no config.json, expected an embedded model's name or a checkpoint folder")
    prepare(options.out)
    configure(torch, options)
    started = time.time()
    conditions, steps, gates, prompts, refused = [], [], [], None, []
    for folder in folders:
        known = read_prompts(options, folder)
        if prompts is not None and known != prompts:
            raise InputError(f"{folder}: its tokenizer gives other tokens than that of {folders[0]}, expected one run per tokenizer")
        prompts = known
        for precision in options.precision:
            for attention in options.attention:
                name = f"{os.path.basename(folder)}/{precision}/{attention}"
                model = load(torch, folder, precision, attention, options.device)
                if isinstance(model, str):
                    refused.append(f"{name}: {model}")
                    print(f"{name}: left out, {model}", file=sys.stderr)
                    continue
                found = run_condition(model, folder, precision, attention, prompts, options)
                conditions.append(found["condition"])
                steps += found["steps"]
                gates.append(found["gate"])
                print(f"{found['condition']['condition']}: {found['summary']}", file=sys.stderr, flush=True)
    if not conditions:
        raise InputError(f"nothing to run: {'; '.join(refused)}")
    identity = identity_of(torch, options, folders, prompts, refused)
    provenance = {
        **{"command": sys.argv, "checkpoints": folders, "host": platform.node()},
        **{"started": iso(started), "finished": iso(time.time()), "finishedPrompts": len(prompts)},
    }
    failed = [gate for gate in gates if not gate["passed"]]
    # As in a kvlens run: where a gate failed no number counts, and none is written.
    named = [{**prompt, "model": os.path.basename(folder)} for folder in folders for prompt in prompts]
    rows = {"conditions": conditions, "prompts": named, "steps": [] if failed else steps}
    write_run(options.out, rows, identity, provenance, gates)
    for gate in failed:
        print(f"gate {gate['name']} failed: {gate['measured']} ({gate['scope']})", file=sys.stderr)
    if failed:
        sys.exit(1)


def run_condition(model, folder, precision, attention, prompts, options):
    """Every prompt under one condition: its rows, its gate, and a line about it."""
    from arms import Arms, repeat_gate, run_prompt

    strategy, config = options.strategy, model.config
    kernels = f"transformers-{options.device}"
    policy = precision if attention == "eager" else f"{precision}-sdpa"
    condition = "/".join([os.path.basename(folder), policy, kernels, strategy.name])
    arms = Arms(model, options.device)
    differing, elements = repeat_gate(arms, prompts[:2])
    ends = end_tokens(folder)
    rows, parted, began = [], 0, time.time()
    for prompt in prompts:
        limit = min(options.max_new_tokens, config.max_position_embeddings - len(prompt["tokens"]) + 1)
        stop = lambda token: not options.ignore_eos and token in ends
        found, own, theirs = run_prompt(arms, prompt, strategy, limit, stop)
        rows += [{"condition": condition, **row} for row in found]
        parted += own != theirs
    counted = [row for row in rows if row["protocol"] == "teacher-forced" and row["step"] > 0]
    flips = sum(row["flip"] for row in counted)
    differs = sum(row["logits_n_differ"] > 0 for row in counted)
    return {
        "condition": {
            **{"condition": condition, "model": os.path.basename(folder), "precision": policy, "kernels": kernels},
            **{"strategy": strategy.name, "temperature": strategy.temperature, "top_k": strategy.top_k, "top_p": strategy.top_p},
            **{"sampler": None if strategy.greedy else strategy.sampler, "seed": float(strategy.seed)},
            **{"decode_rows": 1, "threads": options.threads, "template": options.template},
            **{"coupling": "keyed", "padding": 0},
        },
        "steps": rows,
        "gate": {
            **{"name": "repeat", "class": "harness", "passed": differing == 0, "status": "passed" if differing == 0 else "failed"},
            **{"measured": f"{differing} of {elements} elements differ", "required": "0 elements differ"},
            "scope": f"{condition}, logits of {len(prompts[:2])} prompts, 3 steps, both arms",
        },
        "summary": f"{differs} of {len(counted)} steps differ, {flips} flips, {parted} of {len(prompts)} texts, {time.time() - began:.0f} s",
    }


def load(torch, folder, precision, attention, device):
    """The model, or what the library says where it has no such attention path."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    dtype = getattr(torch, PRECISIONS[precision])
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention)
    except ValueError as error:
        return str(error).splitlines()[0].split(" yet.")[0]
    softcap = getattr(model.config, "attn_logit_softcapping", None)
    if attention == "sdpa" and softcap is not None:
        return "soft-caps its scores, which sdpa does not"
    return model.to(device).eval()


def configure(torch, options):
    """One thread unless said otherwise; float32 is float32: no TF32."""
    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def identity_of(torch, options, folders, prompts, refused):
    """What the run is, without paths and times."""
    import transformers

    given = [{key: prompt[key] for key in ("prompt", "tokens")} for prompt in prompts]
    strategy = {"kind": "greedy"} if options.strategy.greedy else {"kind": "sample", **vars(options.strategy)}
    cuda = options.device == "cuda"
    return {
        **{"command": "gpu-witness", "models": [os.path.basename(folder) for folder in folders]},
        **{"precisions": options.precision, "attention": options.attention, "refused": refused},
        **{"strategy": strategy, "maxNewTokens": options.max_new_tokens, "ignoreEos": options.ignore_eos},
        **{"template": options.template, "threads": options.threads, "device": options.device},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "python": platform.python_version(), "cuda": torch.version.cuda},
        "machine": {
            "name": torch.cuda.get_device_name() if cuda else processor(),
            "capability": list(torch.cuda.get_device_capability()) if cuda else [torch.backends.cpu.get_cpu_capability()],
            "reducedPrecisionReduction": {
                "fp16": bool(torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction),
                "bf16": bool(torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction),
            },
        },
        "sha256": {
            "checkpoints": {os.path.basename(folder): weights_digest(folder) for folder in folders},
            "prompts": hashlib.sha256(json.dumps(given, separators=(",", ":")).encode()).hexdigest(),
        },
    }


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def weights_digest(folder):
    digest = hashlib.sha256()
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def embedded():
    return sorted(os.path.basename(os.path.dirname(card)) for card in glob.glob(os.path.join(ROOT, "data", "checkpoints", "*", "model-card.json")))


def model_folder(name):
    inside = os.path.join(ROOT, "data", "checkpoints", name)
    return inside if os.path.isdir(inside) else os.path.normpath(name)


def end_tokens(folder):
    """The end tokens of config.json and generation_config.json together."""
    found = set()
    for name in ("config.json", "generation_config.json"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                ids = json.load(file).get("eos_token_id")
            found |= set() if ids is None else set(ids if isinstance(ids, list) else [ids])
    return found


def read_prompts(options, folder):
    """Rows of prompts.arrow, as kvlens reads a JSON Lines file; an id, never an index, names a prompt."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    prompts = []
    try:
        with open(options.prompts, encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
    except OSError as error:
        raise InputError(f"--prompts {options.prompts}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or len(prompts) >= options.limit:
            continue
        try:
            record = json.loads(line)
            assert isinstance(record, dict)
        except (json.JSONDecodeError, AssertionError):
            raise InputError(f"{options.prompts}:{number}: not a JSON object, expected one per line") from None
        question = record.get("question")
        text = record.get("prompt") if question is None else options.template.replace("{question}", question)
        tokens = record.get("tokens")
        if tokens is None and text is None:
            raise InputError(f'{options.prompts}:{number}: has no "question", "prompt" or "tokens", expected one of them')
        name = record.get("id", hashlib.sha256(line.encode()).hexdigest()[:12])
        tokens = tokenizer.encode(text).ids if tokens is None else tokens
        answer = record.get("answer", "")
        gold = answer.rpartition("####")[2].strip().replace(",", "") if "####" in answer else ""
        prompts.append({"prompt": str(name), "index": len(prompts), "text": text, "tokens": tokens, "gold": gold or None})
    if not prompts:
        raise InputError(f"--prompts {options.prompts}: found no prompt, expected at least one line of JSON")
    return prompts


def prepare(folder):
    if os.path.isdir(folder) and os.listdir(folder):
        raise InputError(f"--out {folder}: is not empty, expected an empty folder or a new name")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: cannot be made ({error.strerror})") from None


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


if __name__ == "__main__":
    main()
