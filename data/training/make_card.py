"""Measure a checkpoint and write its model-card.json: `python make_card.py ../checkpoints/mini-llama ../prompts/mini-arithmetic.jsonl`.

Size, and the share of held-out problems solved greedily and when sampling at two temperatures.
"""

import argparse
import json
import os

from evaluate import load, measure

PROBLEMS = 500
TEMPERATURES = {"greedy": 0.0, "t0.7": 0.7, "t1.0": 1.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("problems")
    options = parser.parse_args()
    model, tokenizer = load(options.checkpoint)
    accuracy = {}
    for name, temperature in TEMPERATURES.items():
        found = measure(model, tokenizer, options.problems, PROBLEMS, temperature)
        accuracy[name] = {"correct": found["correct"], "problems": found["problems"]}
        if name == "greedy":
            margins = found["marginBelow"]
    files = [os.path.join(options.checkpoint, name) for name in os.listdir(options.checkpoint)]
    card = {
        "name": os.path.basename(os.path.abspath(options.checkpoint)),
        "architecture": model.config["architectures"][0],
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": sum(os.path.getsize(file) for file in files if file.endswith((".safetensors", "tokenizer.json", "config.json"))),
        "accuracy": accuracy,
        "greedyMarginBelow": margins,
    }
    with open(os.path.join(options.checkpoint, "model-card.json"), "w", encoding="utf-8") as file:
        json.dump(card, file, indent=2)
        file.write("\n")
    print(json.dumps(card))


if __name__ == "__main__":
    main()
