"""The two arms of one prompt in transformers: all rows for every token, or the newest row on a DynamicCache.

The protocols are those of src/divergence/prompt-run.ts: both arms read the uncached arm's tokens (teacher-forced); the cached
arm then runs free from its first other token on. Step 0 is the prompt's pass, which both arms make.
"""

import copy

import numpy as np
import torch
from transformers import DynamicCache

from distances import compare_logits
from draws import choose_token


class Arms:
    """One loaded model. Batch 1."""

    def __init__(self, model, device):
        self.model, self.device = model, device

    @torch.inference_mode()
    def logits(self, tokens, cache=None):
        """Logits of the newest row, [d_vocab] in float32; with a cache `tokens` are the rows after what it holds."""
        ids = torch.tensor([tokens], device=self.device)
        output = self.model(input_ids=ids, past_key_values=cache, use_cache=cache is not None)
        return output.logits[0, -1].float().cpu().numpy().astype(np.float32)

    def new_cache(self):
        return DynamicCache(config=self.model.config)


def run_prompt(arms, prompt, strategy, limit, ends):
    """
    Rows of steps.arrow of one prompt, without its condition, and the new tokens of both arms.

    prompt: {"prompt": id, "tokens": ids}; ends(token): whether the text ends after it.
    """
    name, given = prompt["prompt"], list(prompt["tokens"])
    choose = lambda logits, step: choose_token(logits, strategy, name, step)
    tokens, cache = list(given), arms.new_cache()
    forced, uncached_logits, fork = [], [], None
    for step in range(limit):
        uncached = arms.logits(tokens)
        cached = arms.logits(tokens if step == 0 else tokens[-1:], cache)
        chosen = choose(cached, step), choose(uncached, step)
        forced.append(step_row(name, "teacher-forced", step, len(tokens), cached, uncached, chosen, strategy))
        uncached_logits.append(uncached)
        if fork is None and chosen[0] != chosen[1]:
            fork = step, copy.deepcopy(cache)
        tokens.append(chosen[1])
        if ends(chosen[1]):
            break
    theirs = tokens[len(given) :]
    if fork is None:
        return forced + [{**row, "protocol": "free-running"} for row in forced], theirs, theirs
    flip, cache = fork
    free = [{**row, "protocol": "free-running"} for row in forced[: flip + 1]]
    own = tokens[: len(given) + flip] + [forced[flip]["token_cached"]]
    for step in range(flip + 1, limit):
        if ends(own[-1]):
            break
        cached = arms.logits(own[-1:], cache)
        token = choose(cached, step)
        if step < len(uncached_logits):
            chosen = token, theirs[step]
            row = step_row(name, "free-running", step, len(own), cached, uncached_logits[step], chosen, strategy)
            free.append({**row, "flip": None, "diverged_before": True})
        own.append(token)
    return forced + free, own[len(given) :], theirs


def step_row(prompt, protocol, step, length, cached, uncached, chosen, strategy):
    """One row of steps.arrow; what needs hooks, an oracle or a reference is null, and what lead a choice has."""
    return {
        **{"prompt": prompt, "protocol": protocol, "step": step, "position": length - 1},
        **{"token_cached": chosen[0], "token_uncached": chosen[1], "flip": chosen[0] != chosen[1]},
        **{"differs": None, "diverged_before": False},
        **compare_logits(cached, uncached, strategy),
        **{"margin_choice": None, "boundary": None},
        **{"error_cached": None, "error_uncached": None, "error_cosine": None},
        **{f"drift_{of}_{arm}": None for of in ("fp32", "fp64") for arm in ("cached", "uncached")},
    }


def repeat_gate(arms, prompts, steps=3):
    """Gate: each pass, made twice, gives the same bits; without it a difference between the arms says nothing."""
    differing, elements = 0, 0
    for prompt in prompts:
        tokens = list(prompt["tokens"])
        for step in range(steps):
            cache = arms.new_cache()
            if len(tokens) > 1:
                arms.logits(tokens[:-1], cache)
            other = copy.deepcopy(cache)
            passes = [(arms.logits(tokens), arms.logits(tokens)), (arms.logits(tokens[-1:], cache), arms.logits(tokens[-1:], other))]
            for one, two in passes:
                differing += int(np.count_nonzero(one.view(np.uint32) != two.view(np.uint32)))
                elements += one.size
            tokens.append(int(np.argmax(passes[0][0])))
    return differing, elements
