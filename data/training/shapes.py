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
}
