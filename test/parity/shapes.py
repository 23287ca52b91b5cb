"""Tiny random checkpoints, one per shape: `write_checkpoint(shape, folder)` makes the same bytes everywhere.

numpy promises the streams of its bit generators, not of its distributions, so normal numbers are made here.
"""

import json
import os

import numpy as np
import torch
from safetensors.torch import save_file

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CLASSES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "gemma2": "Gemma2ForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def shape(name, model_type, about, *, d, heads, kv, head_dim, mlp, vocab, layers=2, prompt=6, steps=2, dtype="F32", tied=False, **more):
    """One checkpoint and the tokens it is run on: `prompt` of them at once, then `steps` one by one over the cache."""
    config = {
        "architectures": [CLASSES[model_type]],
        "model_type": model_type,
        "hidden_size": d,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
        "torch_dtype": str(DTYPES[dtype]).removeprefix("torch."),
        **({"hidden_activation": "gelu_pytorch_tanh"} if model_type == "gemma2" else {"hidden_act": "silu"}),
        **more,
    }
    return {"name": name, "about": about, "config": config, "dtype": dtype, "prompt": prompt, "steps": steps}


LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
QWEN_WINDOW = {"use_sliding_window": True, "max_window_layers": 1}

# Small: their expected values are committed, and `npm test` compares with them.
COMMITTED = [
    shape("llama-mha", "llama", "multi-head, untied, odd vocabulary", d=24, heads=3, kv=3, head_dim=8, mlp=40, vocab=61, rope_theta=10000.0),
    shape(
        "llama3-gqa", "llama", "grouped-query, Llama 3 rope scaling, tied, BF16", d=24, heads=4, kv=2, head_dim=12, mlp=36, vocab=53, dtype="BF16", tied=True,
        rope_theta=500000.0, rope_scaling={**LLAMA3_ROPE, "original_max_position_embeddings": 64},
    ),
    shape("mistral-mqa", "mistral", "multi-query, window of 4, F16", d=24, heads=4, kv=1, head_dim=8, mlp=36, vocab=67, dtype="F16", sliding_window=4, rope_theta=10000.0),
    shape(
        "gemma2-gqa", "gemma2", "grouped-query, window of 4 in even layers, both soft-caps, BF16", d=20, heads=4, kv=2, head_dim=8, mlp=36, vocab=59, dtype="BF16", tied=True,
        sliding_window=4, query_pre_attn_scalar=12, attn_logit_softcapping=7.0, final_logit_softcapping=5.0, rope_theta=10000.0,
    ),
    shape(
        "gemma2-256", "gemma2", "head_dim 256, multi-query, one layer", d=12, heads=2, kv=1, head_dim=256, mlp=20, vocab=31, layers=1, prompt=4, steps=1, tied=True, dtype="F16",
        sliding_window=3, query_pre_attn_scalar=256, attn_logit_softcapping=50.0, final_logit_softcapping=30.0, rope_theta=10000.0,
    ),
    shape("qwen2-gqa", "qwen2", "biases, grouped-query, window of 5 from layer 1 on", d=24, heads=4, kv=2, head_dim=6, mlp=40, vocab=73, sliding_window=5, **QWEN_WINDOW, rope_theta=1000000.0),
    shape("qwen3-gqa", "qwen3", "norms of q and k, heads wider than d / heads", d=20, heads=4, kv=2, head_dim=10, mlp=36, vocab=43, tied=True, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}),
]

# Wider and longer, made and compared by the live check only.
LIVE = [
    shape("llama-wide", "llama", "multi-head, head_dim 64, d_mlp 2816", d=512, heads=8, kv=8, head_dim=64, mlp=2816, vocab=1009, prompt=40, dtype="BF16", rope_theta=10000.0),
    shape(
        "llama3-wide", "llama", "grouped-query, head_dim 128, Llama 3.1 rope, 131,072 positions", d=256, heads=8, kv=2, head_dim=128, mlp=768, vocab=701, prompt=70, dtype="BF16",
        max_position_embeddings=131072, rope_theta=500000.0, rope_scaling={**LLAMA3_ROPE, "original_max_position_embeddings": 8192},
    ),
    shape("mistral-wide", "mistral", "grouped-query, head_dim 128, window of 32", d=256, heads=8, kv=2, head_dim=128, mlp=896, vocab=701, prompt=72, dtype="BF16", sliding_window=32, rope_theta=10000.0),
    shape(
        "gemma2-wide", "gemma2", "grouped-query, head_dim 256, window of 40, 50 and 30", d=288, heads=4, kv=2, head_dim=256, mlp=1152, vocab=701, prompt=70, dtype="BF16", tied=True,
        sliding_window=40, query_pre_attn_scalar=256, attn_logit_softcapping=50.0, final_logit_softcapping=30.0, rope_theta=10000.0,
    ),
    shape("qwen2-wide", "qwen2", "biases, grouped-query, head_dim 64", d=448, heads=7, kv=1, head_dim=64, mlp=1216, vocab=701, prompt=48, dtype="BF16", tied=True, rope_theta=1000000.0),
    shape("qwen3-wide", "qwen3", "norms of q and k, head_dim 128", d=256, heads=8, kv=4, head_dim=128, mlp=768, vocab=701, prompt=48, dtype="BF16", tied=True, rope_theta=1000000.0),
]


def normals(seed):
    """Standard normal numbers by Box and Muller's formula from a Philox stream, rounded to float32's precision."""
    stream = np.random.Philox(key=seed)

    def draw(count):
        bits = stream.random_raw(2 * count) >> np.uint64(11)
        first, second = ((bits + 0.5) * 2.0**-53).reshape(2, count)
        # libm's last bits differ between machines; rounding hides all but one in 2^29 of them.
        return (np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)).astype(np.float32).astype(np.float64)

    return draw


def tensor_shapes(config):
    """Checkpoint keys and shapes, in the library's own layout."""
    d, mlp, h = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * h, config["num_key_value_heads"] * h
    kind = config["model_type"]
    yield "model.embed_tokens.weight", (config["vocab_size"], d)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        norms = ["input", "post_attention", *(["pre_feedforward", "post_feedforward"] if kind == "gemma2" else [])]
        yield from ((f"{prefix}.{norm}_layernorm.weight", (d,)) for norm in norms)
        for name, rows, columns in (("q", query, d), ("k", key, d), ("v", key, d), ("o", d, query)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (rows, columns)
            if kind == "qwen2" and name != "o":
                yield f"{prefix}.self_attn.{name}_proj.bias", (rows,)
        if kind == "qwen3":
            yield from ((f"{prefix}.self_attn.{name}_norm.weight", (h,)) for name in "qk")
        for name, rows, columns in (("gate", mlp, d), ("up", mlp, d), ("down", d, mlp)):
            yield f"{prefix}.mlp.{name}_proj.weight", (rows, columns)
    yield "model.norm.weight", (d,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], d)


def values(key, size, config, draw):
    """Values that keep every activation of order one, with attention that is neither flat nor a single key."""
    numbers = draw(int(np.prod(size))).reshape(size)
    gemma = config["model_type"] == "gemma2"
    if "norm" in key:
        return 0.2 * numbers + (0 if gemma else 1)
    if key.endswith("bias"):
        return 0.3 * numbers
    if "embed" in key:
        return numbers * (0.3 if gemma else 1)
    # Gates reach −12, where an activation function is small and easily inaccurate.
    wider = {"q_proj": 1.6, "k_proj": 1.6, "gate_proj": 4}.get(key.split(".")[-2], 1)
    return wider * numbers / np.sqrt(size[1])


def write_checkpoint(shape, folder):
    """config.json and model.safetensors, in Hugging Face's layout."""
    os.makedirs(folder, exist_ok=True)
    seed = int.from_bytes(shape["name"].encode(), "little") % 2**64
    draw = normals(seed)
    tensors = {
        key: torch.from_numpy(values(key, size, shape["config"], draw)).to(DTYPES[shape["dtype"]]) for key, size in tensor_shapes(shape["config"])
    }
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(shape["config"], file, indent=1)
        file.write("\n")
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def tokens_of(shape, vocab):
    """The token ids of a run, from a stream of their own."""
    stream = np.random.Philox(key=len(shape["name"]))
    count = shape["prompt"] + shape["steps"]
    return [int(bits % np.uint64(vocab)) for bits in stream.random_raw(count)]
