"""A witness's run beside a kvlens run of the same prompts: `python check_witness.py WITNESS RUN…`.

In float32 both arms must choose kvlens's tokens, one by one, teacher-forced and running free, greedy or sampled; the tokens of the
prompts are kvlens's everywhere. Another order of summation may move a logit by a few roundings, and no more. Prints
`N passed, N failed`.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "test", "python"), os.path.join(ROOT, "bench", "gpu")]
from checks import Checks  # noqa: E402
from compare import read_run, read_table  # noqa: E402


# What a comparison of rates does not read.
TOKENS = ("position", "token_uncached", "token_cached", "diverged_before", "margin_uncached", "margin_cached")


def main():
    checks = Checks()
    folder, *others = sys.argv[1:]
    witness = read_run(folder, TOKENS)
    prompts = {row["prompt"]: row for row in read_table(folder, "prompts").to_pylist()}
    for other in others:
        theirs = {row["prompt"]: row for row in read_table(other, "prompts").to_pylist()}
        unlike = [name for name in theirs if prompts.get(name) != theirs[name]]
        checks.check(f"{len(theirs)} prompts have kvlens's text, tokens and gold answer", theirs and not unlike, str(unlike[:2]))
        for run in read_run(other, TOKENS):
            same = [c for c in witness if all(c[key] == run[key] for key in ("model", "strategy", "seed"))]
            single = [c for c in same if c["precision"] in ("fp32", "fp32-sdpa")]
            checks.check(f"{run['condition']}: the witness ran it in float32", run["precision"] == "fp32" and single)
            for condition in single:
                compare(checks, condition, run)
    checks.finish()


def compare(checks, ours, theirs):
    """Row by row: the same steps, tokens, flips; margins to a few roundings of float32."""
    name = f"{ours['condition']} against {theirs['kernels']}"
    key = lambda row: (row["prompt"], row["protocol"], row["step"])
    mine = {key(row): row for rows in ours["steps"].values() for row in rows}
    other = {key(row): row for rows in theirs["steps"].values() for row in rows}
    checks.check(f"{name}: the same {len(other)} rows", set(mine) == set(other), f"{sorted(set(mine) ^ set(other))[:2]}")
    for column in ("position", "token_uncached", "token_cached", "flip", "diverged_before"):
        unlike = [k for k in mine if k in other and mine[k][column] != other[k][column]]
        checks.check(f"{name}: {column} of every row", not unlike, f"{len(unlike)} differ, first {unlike[:1]}")
    furthest = max(abs(mine[k][f"margin_{arm}"] - other[k][f"margin_{arm}"]) for k in mine if k in other for arm in ("cached", "uncached"))
    # Logits of a few units; a rounding of float32 is 2^-24 of them, and hundreds of sums follow one another.
    checks.check(f"{name}: margins to 1e-3", furthest < 1e-3, f"{furthest:.1e}")
    drift = sum(row["logits_n_differ"] > 0 for row in mine.values())
    checks.check(f"{name}: the arms are not one and the same", drift > 0)


if __name__ == "__main__":
    main()
