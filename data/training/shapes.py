"""The checkpoints this recipe makes: config.json of each, and how long it trains."""

COMMON = {
    "vocab_size": 512,
    "max_position_embeddings": 256,
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 6,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}

SHAPES = {
    "mini-llama": {
        "config": {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **COMMON,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 32,
        },
        "steps": 8000,
        "seed": 20,
    },
    # Four query heads to one K/V head and rope_theta 1e6 without a window, as in Mistral-7B-v0.3.
    "mini-mistral": {
        "config": {
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            **{key: value for key, value in COMMON.items() if key not in ("attention_bias", "mlp_bias")},
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_theta": 1000000.0,
            "sliding_window": None,
        },
        "steps": 8000,
        "seed": 20,
    },
    # Gemma-2-2B's caps; heads wider than d / heads; a window (layers 0, 2, 4) shorter than a problem of about 108 tokens.
    "mini-gemma2": {
        "config": {
            "architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2",
            **{key: value for key, value in COMMON.items() if key not in ("hidden_act", "mlp_bias")},
            "rms_norm_eps": 1e-6,
            "hidden_activation": "gelu_pytorch_tanh",
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "sliding_window": 32,
        },
        "steps": 5200,
        "seed": 20,
    },
}
