"""The three architectures in plain torch: RMS norm, rotary grouped-query attention, gated MLP, tied embeddings.

Mistral is Llama with grouped-query attention (its window is optional). Gemma-2 differs where `gemma` is asked: (1 + w) norms
before and after each half of a block, a scaled embedding, GELU, soft-caps on scores and logits, and a sliding window on
every second layer, the first one included.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class RMSNorm(nn.Module):
    """x / rms(x), times w (Llama) or times 1 + w (Gemma)."""

    def __init__(self, width, eps, gemma):
        super().__init__()
        self.eps, self.offset = eps, 1.0 if gemma else 0.0
        self.weight = nn.Parameter(torch.full((width,), 1.0 - self.offset))

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight + self.offset, self.eps)


class Attention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
        self.scale = config.get("query_pre_attn_scalar", self.head_dim) ** -0.5
        self.cap = config.get("attn_logit_softcapping")
        slides = layer % 2 == 0 if config["model_type"] == "gemma2" else True
        self.window = config.get("sliding_window") if slides else None
        d = config["hidden_size"]
        self.q_proj = nn.Linear(d, self.heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, d, bias=False)

    def forward(self, x, cos, sin, past):
        batch, rows, _ = x.shape
        q = rotate(self.q_proj(x).view(batch, rows, self.heads, self.head_dim).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(batch, rows, self.kv_heads, self.head_dim).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(batch, rows, self.kv_heads, self.head_dim).transpose(1, 2)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        group = self.heads // self.kv_heads
        keys, values = (t.repeat_interleave(group, 1) if group > 1 else t for t in (k, v))
        if self.cap is None and self.window is None:
            z = F.scaled_dot_product_attention(q, keys, values, is_causal=past is None, scale=self.scale)
        else:
            scores = capped(q @ keys.transpose(2, 3) * self.scale, self.cap)
            z = scores.masked_fill(~visible(rows, keys.shape[2], self.window), -torch.inf).softmax(-1) @ values
        return self.o_proj(z.transpose(1, 2).reshape(batch, rows, -1)), (k, v)


def visible(rows, keys, window):
    """Which keys the last `rows` of `keys` positions see: j <= i, and j > i - window."""
    query = torch.arange(keys - rows, keys)[:, None]
    key = torch.arange(keys)[None]
    return (key <= query) & (key > query - (window or keys + 1))


def capped(x, cap):
    return x if cap is None else cap * torch.tanh(x / cap)


def rotate(x, cos, sin):
    """Half-split rotary embedding, as in Hugging Face's modeling_llama."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class MLP(nn.Module):
    def __init__(self, config, gemma):
        super().__init__()
        d, hidden = config["hidden_size"], config["intermediate_size"]
        self.gelu = gemma
        self.gate_proj = nn.Linear(d, hidden, bias=False)
        self.up_proj = nn.Linear(d, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, d, bias=False)

    def forward(self, x):
        gate = self.gate_proj(x)
        return self.down_proj((F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)) * self.up_proj(x))


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x); Gemma-2 also norms what each half returns."""

    def __init__(self, config, layer, gemma):
        super().__init__()
        norm = (config["hidden_size"], config["rms_norm_eps"], gemma)
        self.gemma = gemma
        self.input_layernorm = RMSNorm(*norm)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(*norm)
        self.mlp = MLP(config, gemma)
        if gemma:
            self.pre_feedforward_layernorm = RMSNorm(*norm)
            self.post_feedforward_layernorm = RMSNorm(*norm)

    def forward(self, x, cos, sin, past):
        out, cache = self.self_attn(self.input_layernorm(x), cos, sin, past)
        if not self.gemma:
            x = x + out
            return x + self.mlp(self.post_attention_layernorm(x)), cache
        x = x + self.post_attention_layernorm(out)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x))), cache


class Decoder(nn.Module):
    """`state_dict()` has the names and layout of a Hugging Face checkpoint."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        gemma = config["model_type"] == "gemma2"
        d = config["hidden_size"]
        self.embedding_scale = math.sqrt(d) if gemma else 1.0
        self.cap = config.get("final_logit_softcapping")
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(config["vocab_size"], d),
                "layers": nn.ModuleList(Block(config, layer, gemma) for layer in range(config["num_hidden_layers"])),
                "norm": RMSNorm(d, config["rms_norm_eps"], gemma),
            }
        )
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else parameter.shape[1] ** -0.5)
        dim = config["head_dim"]
        angles = torch.arange(config["max_position_embeddings"])[:, None] * config["rope_theta"] ** (-torch.arange(0, dim, 2) / dim)
        self.register_buffer("cos", torch.cat([angles.cos()] * 2, -1), persistent=False)
        self.register_buffer("sin", torch.cat([angles.sin()] * 2, -1), persistent=False)

    def forward(self, tokens, past=None, start=0):
        """tokens [batch, rows] → logits [batch, rows, vocabulary], K/V of every layer."""
        x = self.model["embed_tokens"](tokens) * self.embedding_scale
        cos, sin = (t[start : start + tokens.shape[1]] for t in (self.cos, self.sin))
        caches = []
        for i, block in enumerate(self.model["layers"]):
            x, cache = block(x, cos, sin, None if past is None else past[i])
            caches.append(cache)
        return capped(F.linear(self.model["norm"](x), self.model["embed_tokens"].weight), self.cap), caches
