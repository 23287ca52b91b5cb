"""The next token, as kvlens chooses it: src/model/sampling and src/numerics/philox.ts, again, in numpy.

Random numbers are keyed by (seed, prompt id, step, token), so that a run here and a run there draw the same ones. The
generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011). Logits are float32 or float64 arrays [d_vocab]; scores are
float64. Only logarithms and exponentials may differ from JavaScript's in their last bit.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


@dataclass(frozen=True)
class Strategy:
    """Greedy where `temperature` is None, else sampling with temperature, then top-k, then top-p."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    sampler: str = "gumbel"

    @property
    def greedy(self):
        return self.temperature is None

    @property
    def name(self):
        """`greedy`, `t0.7-p0.9`, `t1.0-k50`."""
        if self.greedy:
            return "greedy"
        parts = [f"t{float(self.temperature)}"]
        if self.top_k is not None:
            parts.append(f"k{self.top_k}")
        if self.top_p is not None:
            parts.append(f"p{float(self.top_p)}")
        return "-".join(parts)


def philox(counters, key):
    """Encrypt counters [n, 4] (uint32 values in uint64) under two key words; returns a new array."""
    c = [counters[:, i].astype(np.uint64) for i in range(4)]
    k0, k1 = key
    for _ in range(10):
        product0, product1 = MULTIPLIERS[0] * c[0], MULTIPLIERS[1] * c[2]
        c = [
            (product1 >> SHIFT) ^ c[1] ^ np.uint64(k0),
            product1 & LOW,
            (product0 >> SHIFT) ^ c[3] ^ np.uint64(k1),
            product0 & LOW,
        ]
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack(c, axis=1)


def keyed_uniform(seed, prompt, step, tokens):
    """Uniform numbers in (0, 1), float64, one per token id."""
    digest = hashlib.sha256(prompt.encode("utf-8")).digest()
    high, low = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")
    tokens = np.asarray(tokens, dtype=np.uint64)
    counters = np.stack([tokens, *(np.full_like(tokens, word) for word in (step, high, low))], axis=1)
    words = philox(counters, (seed & 0xFFFFFFFF, seed >> 32))
    # 52 bits and a half, so that it is never 0 or 1.
    return ((words[:, 0] >> np.uint64(6)) * np.uint64(2**26) + (words[:, 1] >> np.uint64(6))).astype(np.float64) / 2**52 + 0.5 / 2**52


def softmax(scores):
    """Softmax in float64, summed in order."""
    p = np.exp(scores.astype(np.float64) - np.max(scores))
    return p / np.cumsum(p)[-1]


def processed_scores(logits, strategy):
    """Scores after temperature, top-k and top-p; −inf where dropped."""
    with np.errstate(over="ignore"):
        scores = logits.astype(np.float64) / strategy.temperature
    if strategy.top_k is not None and strategy.top_k < len(scores):
        # Ties with the k-th largest stay.
        scores[scores < np.sort(scores)[len(scores) - strategy.top_k]] = -np.inf
    if strategy.top_p is not None and strategy.top_p < 1:
        probabilities = softmax(scores)
        order = np.argsort(scores, kind="stable")[:-1]
        dropped = np.cumsum(probabilities[order]) <= 1 - strategy.top_p
        scores[order[dropped]] = -np.inf
    return scores


def processed_probabilities(logits, strategy):
    return softmax(processed_scores(logits, strategy))


def argmax(values):
    """Index of the largest value, the lowest on ties; NaN is never the largest, unless there is nothing else."""
    numbers = np.flatnonzero(~np.isnan(values))
    return int(numbers[np.argmax(values[numbers])]) if len(numbers) else 0


def choose_token(logits, strategy, prompt, step):
    """The next token of a prompt, by its id and the 0-based step among its new tokens."""
    if strategy.greedy:
        return argmax(logits)
    scores = processed_scores(logits, strategy)
    if strategy.sampler == "gumbel":
        kept = np.flatnonzero(scores != -np.inf)
        scores[kept] -= np.log(-np.log(keyed_uniform(strategy.seed, prompt, step, kept)))
        return argmax(scores)
    probabilities = softmax(scores)
    threshold = keyed_uniform(strategy.seed, prompt, step, [0xFFFFFFFF])[0]
    passed = np.flatnonzero((np.cumsum(probabilities) > threshold) & (probabilities > 0))
    return int(passed[0]) if len(passed) else int(np.flatnonzero(probabilities > 0)[-1])
