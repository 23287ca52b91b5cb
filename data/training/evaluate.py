"""Greedy accuracy of a checkpoint on held-out problems: `python evaluate.py ../checkpoints/mini-llama ../prompts/mini-arithmetic.jsonl`.

The shipped (bfloat16) weights are used, in float32 arithmetic. A problem counts as solved if the text after the first
`#### ` of the generated solution equals the answer's, character for character.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from model import Decoder


def final_answer(text):
    return text.split("#### ", 1)[1].split("\n")[0].strip() if "#### " in text else None


@torch.no_grad()
def generate(model, tokens, end, temperature=0.0, generator=None):
    """New tokens after `tokens`, with the K/V cache, up to the end token or the context's end; and the margins."""
    new, margins, past, start = [], [], None, 0
    rows = torch.tensor([tokens])
    while len(tokens) + len(new) < model.config["max_position_embeddings"]:
        logits, past = model(rows, past, start)
        start += rows.shape[1]
        last = logits[0, -1]
        top = last.topk(2).values
        margins.append((top[0] - top[1]).item())
        if temperature > 0:
            token = torch.multinomial((last / temperature).softmax(-1), 1, generator=generator).item()
        else:
            token = last.argmax().item()
        new.append(token)
        if token == end:
            break
        rows = torch.tensor([[token]])
    return new, margins


def load(checkpoint):
    """The model of a checkpoint folder, its bfloat16 weights in float32, and its tokenizer."""
    with open(os.path.join(checkpoint, "config.json"), encoding="utf-8") as file:
        model = Decoder(json.load(file))
    weights = load_file(os.path.join(checkpoint, "model.safetensors"))
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model, Tokenizer.from_file(os.path.join(checkpoint, "tokenizer.json"))


def measure(model, tokenizer, problems, limit, temperature, show=0):
    """Problems solved, and the share of steps whose two largest logits are close."""
    with open(problems, encoding="utf-8") as file:
        items = [json.loads(line) for line in file][:limit]
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    solved, margins = 0, []
    for i, item in enumerate(items):
        prompt = tokenizer.encode(item["question"] + "\n").ids
        new, leads = generate(model, prompt, model.config["eos_token_id"], temperature, generator)
        text = tokenizer.decode(new)
        margins += leads
        solved += final_answer(text) == final_answer(item["answer"])
        if i < show:
            print(item["question"], text, sep="\n", end="\n\n")
    shares = {str(limit): round(sum(m < limit for m in margins) / len(margins), 4) for limit in (0.01, 0.05, 0.1)}
    return {"problems": len(items), "correct": solved, "temperature": temperature, "steps": len(margins), "marginBelow": shares}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("problems")
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--show", type=int, default=0, help="print this many generated solutions")
    options = parser.parse_args()
    model, tokenizer = load(options.checkpoint)
    print(json.dumps(measure(model, tokenizer, options.problems, options.limit, options.temperature, options.show)))


if __name__ == "__main__":
    main()
