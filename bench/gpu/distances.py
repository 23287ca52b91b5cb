"""What steps.arrow says of two rows of logits: src/divergence/metrics/logits.ts, again, in numpy.

Distances are computed in float64 from d = cached − uncached through expm1 and log1p, so that a divergence of 1e-12 keeps its
digits. With p = softmax(uncached), the cached distribution is q_j = p_j e^{d_j} / Σ p e^{d}.
"""

import numpy as np

from draws import argmax, processed_probabilities, softmax

# Largest difference of two logits up to which e^d is far from the ends of float64's range.
LARGEST = 300


def top_logit(logits):
    """The largest logit's token, its lead over the second, and whether it is tied."""
    token = argmax(logits)
    others = np.delete(logits, token)
    second = float(np.nanmax(others)) if len(others) and not np.all(np.isnan(others)) else -np.inf
    tie = float(logits[token]) == second
    return token, 0.0 if tie else float(logits[token]) - second, tie


def gain_of_second(cached, uncached, first):
    """How much the uncached arm's second largest logit gained on its largest: Δz_2 − Δz_1."""
    second = -1
    for j, logit in enumerate(uncached):
        if j != first and (second < 0 or logit > uncached[second]):
            second = j
    if second < 0:
        return 0.0
    shift = np.asarray(cached, np.float64) - np.asarray(uncached, np.float64)
    return float(shift[second] - shift[first])


def centred_distance(a, b):
    """‖(a − mean a) − (b − mean b)‖₂"""
    difference = a.astype(np.float64) - b.astype(np.float64)
    return float(np.linalg.norm(difference - difference.mean()))


def excess(d, change):
    """e^d − 1 − d without cancellation near 0."""
    series = d * d * (1 / 2 + d * (1 / 6 + d * (1 / 24 + d / 120)))
    return np.where(np.abs(d) > 1e-3, change - d, series)


def js_terms(d, change):
    """½[log(2/(1+r)) + r log(2r/(1+r))] with r = e^d; ≥ 0 after adding multiples of r − 1."""
    series = change * change * (1 - change / 2 + 7 * change * change / 24) / 8
    log_middle = np.log1p(change / 2)
    return np.where(np.abs(d) <= 1e-3, series, (-log_middle + (change + 1) * (d - log_middle)) / 2)


def divergences(cached, uncached):
    """KL(uncached ‖ cached), JS and TV, nats."""
    d = cached.astype(np.float64) - uncached.astype(np.float64)
    if not np.all(np.abs(d) <= LARGEST):
        return direct_divergences(cached, uncached)
    p = softmax(uncached)
    d -= np.sum(p * d)
    d -= np.log1p(np.sum(p * np.expm1(d)))
    seen = p > 0
    p, d = p[seen], d[seen]
    change = np.expm1(d)
    kl, js, tv = np.sum(p * excess(d, change)), np.sum(p * js_terms(d, change)), np.sum(p * np.abs(change)) / 2
    return max(0.0, float(kl)), max(0.0, float(js)), float(tv)


def log_softmax(logits):
    shifted = logits.astype(np.float64) - np.max(logits)
    return shifted - np.log(np.sum(np.exp(shifted)))


def direct_divergences(cached, uncached):
    """From log-softmax, for distributions that have little in common."""
    log_p, log_q = log_softmax(uncached), log_softmax(cached)
    p, q = np.exp(log_p), np.exp(log_q)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = np.log((p + q) / 2)
        kl = np.sum(np.where(p > 0, p * (log_p - log_q), 0))
        js = np.sum(np.where(p > 0, p * (log_p - middle), 0) + np.where(q > 0, q * (log_q - middle), 0)) / 2
    return float(kl), float(js), float(np.sum(np.abs(p - q)) / 2)


def compare_logits(cached, uncached, strategy):
    """The columns of steps.arrow that two rows of logits decide."""
    differs = (cached != uncached) & ~(np.isnan(cached) & np.isnan(uncached))
    difference = cached.astype(np.float64) - uncached.astype(np.float64)
    # As kvlens has it: elements that are not finite are left out, unless they differ.
    finite = np.isfinite(cached) & np.isfinite(uncached)
    broken = bool(np.any(differs & ~finite))
    with np.errstate(divide="ignore", invalid="ignore"):
        norm = np.linalg.norm(uncached[finite].astype(np.float64))
        size = np.linalg.norm(difference[finite])
        relative = np.nan if broken else 0.0 if size == 0 else float(np.divide(size, norm))
    equal = not np.any(differs)
    kl, js, tv = (0.0, 0.0, 0.0) if equal else divergences(cached, uncached)
    (_, margin_cached, tie_cached), (top, margin_uncached, tie_uncached) = top_logit(cached), top_logit(uncached)
    processed = None
    if not strategy.greedy:
        ours, theirs = processed_probabilities(cached, strategy), processed_probabilities(uncached, strategy)
        processed = float(np.sum(np.abs(ours - theirs)) / 2)
    return {
        "tie_cached": tie_cached,
        "tie_uncached": tie_uncached,
        "logits_n_differ": int(np.count_nonzero(differs)),
        "logits_max_abs": np.nan if broken else float(np.max(np.abs(difference[finite]), initial=0.0)),
        "logits_rel_l2": relative,
        "logits_l2_centred": 0.0 if equal else centred_distance(cached, uncached),
        "kl": kl,
        "js": js,
        "tv": tv,
        "tv_processed": processed,
        "margin_cached": margin_cached,
        "margin_uncached": margin_uncached,
        "top_shift": 0.0 if equal else gain_of_second(cached, uncached, top),
    }
