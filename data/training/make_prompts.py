"""Write the held-out problems: `python make_prompts.py ../prompts/mini-arithmetic.jsonl`."""

import json
import sys

from problems import problem

COUNT, SEED = 1000, 1


def held_out():
    """The first COUNT distinct problems of the test split's stream."""
    seen, index = set(), 0
    while len(seen) < COUNT:
        item = problem("test", SEED, index)
        index += 1
        if item["question"] in seen:
            continue
        yield {"id": f"arith-{len(seen):04d}", **item}
        seen.add(item["question"])


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        for item in held_out():
            file.write(json.dumps(item) + "\n")
