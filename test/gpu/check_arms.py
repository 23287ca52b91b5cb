"""The protocols of bench/gpu/arms.py on an embedded model, with a flip planted in the cached arm: `python check_arms.py`.

Texts are compared with loops that know nothing of teacher forcing. Needs requirements-reference.txt; CPU. Prints `N passed, N failed`.
"""

import os
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "test", "python"), os.path.join(ROOT, "bench", "gpu")]
from arms import Arms, repeat_gate, run_prompt  # noqa: E402
from checks import Checks  # noqa: E402
from draws import Strategy, choose_token  # noqa: E402

PROMPT = {"prompt": "p", "tokens": [1, 17, 44, 9, 120, 3, 71, 8]}
LIMIT, PLANTED = 14, 5


class Flips(Arms):
    """The cached arm's logits favour another token after so many tokens."""

    def logits(self, tokens, cache=None):
        found = super().logits(tokens, cache)
        if cache is not None and cache.get_seq_length() == len(PROMPT["tokens"]) + PLANTED:
            found = found.copy()
            found[7] = found.max() + 50
        return found


class Restless(Arms):
    """No two passes give the same bits."""

    def logits(self, tokens, cache=None):
        found = super().logits(tokens, cache)
        self.calls = getattr(self, "calls", 0) + 1
        return found + np.float32(self.calls * 1e-3)


def loop(arms, strategy, cached, ends):
    """One arm running free."""
    tokens, cache = list(PROMPT["tokens"]), arms.new_cache() if cached else None
    for step in range(LIMIT):
        read = tokens if step == 0 or not cached else tokens[-1:]
        tokens.append(choose_token(arms.logits(read, cache), strategy, PROMPT["prompt"], step))
        if ends(tokens[-1]):
            break
    return tokens[len(PROMPT["tokens"]) :]


def main():
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    checks = Checks()
    folder = os.path.join(ROOT, "data", "checkpoints", "mini-mistral")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    never = lambda token: False
    for strategy in (Strategy(), Strategy(1.0, None, 0.9, 3)):
        plain = run_prompt(Arms(model, "cpu"), PROMPT, strategy, LIMIT, never)
        text = loop(Arms(model, "cpu"), strategy, False, never)
        checks.check(f"{strategy.name}: without a flip both texts are the uncached arm's", plain[1] == plain[2] == text)
        free = [{**row, "protocol": "teacher-forced"} for row in plain[0][LIMIT:]]
        checks.check(f"{strategy.name}: both protocols then have the same rows", free == plain[0][:LIMIT])

        rows, own, theirs = run_prompt(Flips(model, "cpu"), PROMPT, strategy, LIMIT, never)
        checks.check(f"{strategy.name}: the uncached text is not touched by a flip of the cached arm", theirs == text)
        checks.check(f"{strategy.name}: the cached text is that of the cached arm running free", own == loop(Flips(model, "cpu"), strategy, True, never))
        checks.check(f"{strategy.name}: and it parts where the flip was planted", own[:PLANTED] == theirs[:PLANTED] and own[PLANTED] == 7 != theirs[PLANTED])
        forced = [row for row in rows if row["protocol"] == "teacher-forced"]
        free = [row for row in rows if row["protocol"] == "free-running"]
        checks.check(f"{strategy.name}: the flip is that one alone where tokens are forced", [row["step"] for row in forced if row["flip"]] == [PLANTED])
        checks.check(f"{strategy.name}: after it histories have parted", all(row["diverged_before"] and row["flip"] is None for row in free[PLANTED + 1 :]))
        checks.check(f"{strategy.name}: free-running rows hold the texts", [row["token_cached"] for row in free] == own)

        ends = lambda token: token == own[PLANTED + 2]
        short = run_prompt(Flips(model, "cpu"), PROMPT, strategy, LIMIT, ends)
        checks.check(f"{strategy.name}: each text ends at its own end token", short[1:] == (loop(Flips(model, "cpu"), strategy, True, ends), loop(Arms(model, "cpu"), strategy, False, ends)))

    checks.check("gate repeat: passes repeat to the bit", repeat_gate(Arms(model, "cpu"), [PROMPT])[0] == 0)
    differing, elements = repeat_gate(Restless(model, "cpu"), [PROMPT])
    checks.check("gate repeat: finds passes that do not", 0 < differing <= elements)
    checks.finish()


if __name__ == "__main__":
    main()
