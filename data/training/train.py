"""Train a checkpoint from nothing: `python train.py mini-llama ../checkpoints/mini-llama`.

Muon on the weight matrices, AdamW on embedding and norms, one cosine; a fresh stream of problems, no epochs. The loss
counts the solution and the end token only. Seeds and step count are fixed, so that the checkpoint can be made again.
"""

import argparse
import json
import math
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from model import Decoder
from problems import problem
from shapes import SHAPES
from tokenizer import BEGIN, END, train_tokenizer

TOKENS_PER_BATCH = 2560
BATCHES_SORTED_TOGETHER = 32
WARM_UP = 0.04
FLOOR = 0.01
MATRIX_RATE, OTHER_RATE = 0.02, 3e-3


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton–Schulz iterations (Jordan et al. 2024)."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                buffer = state.setdefault("momentum", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalise(parameter.grad.lerp(buffer, group["momentum"]))
                scale = max(1.0, parameter.shape[0] / parameter.shape[1]) ** 0.5
                parameter.add_(update, alpha=-group["lr"] * scale)


def orthogonalise(gradient, iterations=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradient
    transposed = x.shape[0] > x.shape[1]
    x = x.T if transposed else x
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if transposed else x


def batches(tokenizer, seed, steps):
    """Batches of about TOKENS_PER_BATCH tokens: (tokens, weights of the loss), problems of like length together."""
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    generator = torch.Generator().manual_seed(seed)
    index = 0
    made = 0
    while made < steps:
        rows, size = [], 0
        while size < TOKENS_PER_BATCH * BATCHES_SORTED_TOGETHER:
            item = problem("train", seed, index)
            index += 1
            prompt = tokenizer.encode(item["question"] + "\n", add_special_tokens=False).ids
            solution = tokenizer.encode(item["answer"], add_special_tokens=False).ids
            rows.append(([begin, *prompt], [*solution, end]))
            size += 1 + len(prompt) + len(solution) + 1
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        group, groups, longest = [], [], 0
        for row in rows:
            length = len(row[0]) + len(row[1])
            if group and max(longest, length) * (len(group) + 1) > TOKENS_PER_BATCH:
                groups.append(group)
                group, longest = [], 0
            group.append(row)
            longest = max(longest, length)
        for i in torch.randperm(len(groups), generator=generator).tolist():
            width = max(len(prompt) + len(solution) for prompt, solution in groups[i])
            tokens = torch.full((len(groups[i]), width), end)
            weights = torch.zeros(len(groups[i]), width)
            for r, (prompt, solution) in enumerate(groups[i]):
                tokens[r, : len(prompt) + len(solution)] = torch.tensor(prompt + solution)
                weights[r, len(prompt) : len(prompt) + len(solution)] = 1
            yield tokens, weights
            made += 1
            if made == steps:
                return


def rate_at(step, steps):
    warm = WARM_UP * steps
    if step < warm:
        return (step + 1) / warm
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--steps", type=int, help="fewer steps, to try the recipe")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    shape = SHAPES[options.name]
    steps, seed = options.steps or shape["steps"], shape["seed"]
    torch.set_num_threads(options.threads)
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(seed)
    model = Decoder(shape["config"])
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [Muon(matrices, MATRIX_RATE), torch.optim.AdamW(others, OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [MATRIX_RATE, OTHER_RATE]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {steps:,} steps", flush=True)
    started, seen, running = time.time(), 0, 0.0
    for step, (tokens, weights) in enumerate(batches(tokenizer, seed, steps)):
        for optimizer, lr in zip(optimizers, base):
            for group in optimizer.param_groups:
                group["lr"] = lr * rate_at(step, steps)
        logits, _ = model(tokens[:, :-1])
        losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
        kept = weights[:, 1:].flatten()
        loss = (losses * kept).sum() / kept.sum()
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen += tokens.numel()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            seconds = time.time() - started
            left = seconds / (step + 1) * (steps - step - 1)
            print(f"step {step + 1:,}/{steps:,}  loss {running:.3f}  {seen / 1e6:.2f} M tokens  {seen / seconds:,.0f}/s  {left:.0f} s left", flush=True)
    save(options.out, shape["config"], model, tokenizer, {"steps": steps, "seed": seed, "tokens": seen, "seconds": round(time.time() - started)})


def save(out, config, model, tokenizer, record):
    """A Hugging Face checkpoint folder in bfloat16, and `training.json` with what made it."""
    os.makedirs(out, exist_ok=True)
    tensors = {name: tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(os.path.join(out, "tokenizer.json"), pretty=False)
    files = {
        "config.json": config,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "unk_token": "<unk>",
            "add_bos_token": True,
            "add_eos_token": False,
            "model_max_length": config["max_position_embeddings"],
            "clean_up_tokenization_spaces": False,
        },
        "generation_config.json": {"bos_token_id": 1, "eos_token_id": 2, "do_sample": False},
        "training.json": record,
    }
    for name, value in files.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
