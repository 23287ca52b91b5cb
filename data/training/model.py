"""LLaMA in plain torch: RMS norm, rotary attention (grouped if kv_heads < heads), SwiGLU, tied embeddings."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
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
        shared = [t.repeat_interleave(group, 1) if group > 1 else t for t in (k, v)]
        z = F.scaled_dot_product_attention(q, *shared, is_causal=past is None)
        return self.o_proj(z.transpose(1, 2).reshape(batch, rows, -1)), (k, v)


def rotate(x, cos, sin):
    """Half-split rotary embedding, as in Hugging Face's modeling_llama."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, hidden = config["hidden_size"], config["intermediate_size"]
        self.gate_proj = nn.Linear(d, hidden, bias=False)
        self.up_proj = nn.Linear(d, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, d, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        d, eps = config["hidden_size"], config["rms_norm_eps"]
        self.input_layernorm = nn.RMSNorm(d, eps=eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(d, eps=eps)
        self.mlp = MLP(config)

    def forward(self, x, cos, sin, past):
        out, cache = self.self_attn(self.input_layernorm(x), cos, sin, past)
        x = x + out
        return x + self.mlp(self.post_attention_layernorm(x)), cache


class Llama(nn.Module):
    """`state_dict()` has the names and layout of a Hugging Face checkpoint."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(config["vocab_size"], config["hidden_size"]),
                "layers": nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"])),
                "norm": nn.RMSNorm(config["hidden_size"], eps=config["rms_norm_eps"]),
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
        x = self.model["embed_tokens"](tokens)
        cos, sin = (t[start : start + tokens.shape[1]] for t in (self.cos, self.sin))
        caches = []
        for i, block in enumerate(self.model["layers"]):
            x, cache = block(x, cos, sin, None if past is None else past[i])
            caches.append(cache)
        return F.linear(self.model["norm"](x), self.model["embed_tokens"].weight), caches
