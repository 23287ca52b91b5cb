"""What bench/gpu computes again in numpy, against what kvlens printed: `python check_parts.py PARTS.json`.

Uniform numbers to the bit, tokens one by one, distances of logits; and the columns against the contract in KVLENS_SCHEMAS.
PARTS.json comes from print-parts.mts. Needs numpy and pyarrow alone. Prints `N passed, N failed`.
"""

import json
import math
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "test", "python"), os.path.join(ROOT, "bench", "gpu")]
from check_arrow import TYPES as CONTRACT_TYPES, contract  # noqa: E402
from checks import Checks  # noqa: E402
from distances import compare_logits  # noqa: E402
from draws import Strategy, choose_token, keyed_uniform, philox  # noqa: E402
from tables import COLUMNS, TYPES  # noqa: E402

# Exponentials and logarithms of two libraries; KL of a rounding is a sum of terms of 1e-8 and less.
RELATIVE, ABSOLUTE = 1e-9, 1e-18


def strategy_of(given):
    if not given:
        return Strategy()
    names = {"temperature": "temperature", "topK": "top_k", "topP": "top_p", "seed": "seed", "sampler": "sampler"}
    return Strategy(**{names[key]: value for key, value in given.items()})


def close(found, expected):
    if isinstance(expected, bool) or expected is None:
        return found == expected
    return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def main():
    checks = Checks()
    with open(sys.argv[1], encoding="utf-8") as file:
        parts = json.load(file)

    # Random123's known answers for philox4x32-10.
    for counter, key, expected in [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ]:
        found = philox(np.array([counter], dtype=np.uint64), key)[0].tolist()
        checks.check(f"philox of {counter[0]:#x} is Random123's", found == expected, str(found))

    wrong = []
    for case in parts["uniforms"]:
        found = keyed_uniform(case["seed"], case["prompt"], case["step"], case["tokens"])
        if [value.tobytes().hex() for value in found] != case["values"]:
            wrong.append(case)
    checks.check(f"{len(parts['uniforms'])} streams of uniform numbers are kvlens's, to the bit", parts["uniforms"] and not wrong, str(wrong[:1]))

    rows = [np.frombuffer(bytes.fromhex(text), dtype="<f4") for text in parts["rows"]]
    by_strategy = {}
    for case in parts["choices"]:
        strategy = strategy_of(case["strategy"])
        token = choose_token(rows[case["row"]], strategy, f"prompt {case['row']}", case["step"])
        by_strategy.setdefault((strategy.name, strategy.sampler), []).append(token == case["token"])
    for (name, sampler), equal in by_strategy.items():
        checks.check(f"{name}, {sampler}: {len(equal)} tokens are kvlens's", all(equal), f"{equal.count(False)} are not")

    strategy = Strategy(0.8, 12)
    found = [compare_logits(rows[case["cached"]], rows[case["uncached"]], strategy) for case in parts["distances"]]
    for column in parts["distances"][0]["expected"]:
        unequal = [
            (values[column], case["expected"][column])
            for values, case in zip(found, parts["distances"])
            if not close(values[column], case["expected"][column])
        ]
        checks.check(f"{column} of {len(found)} pairs of logits is kvlens's", not unequal, str(unequal[:1]))
    checks.check("some pairs are equal, some a rounding apart, some far", {0.0} < {values["kl"] for values in found})

    for table, columns in COLUMNS.items():
        expected = {name: (CONTRACT_TYPES[d["type"]], d["nullable"]) for name, d in contract()[table].items()}
        ours = {name: (TYPES[kind.rstrip("?")], kind.endswith("?")) for name, kind in columns.items()}
        checks.check(f"{table}: columns, order, types and nullability are the contract's", list(ours.items()) == list(expected.items()))
    checks.finish()


if __name__ == "__main__":
    main()
