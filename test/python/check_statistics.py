"""Compute kvlens's statistics anew with scipy and statsmodels: `python check_statistics.py FILE [--quiet]`.

FILE is written by dump-statistics.mts: random inputs and what kvlens says of them.
"""

import argparse
import json

import numpy as np
from scipy import optimize, special, stats
from statsmodels.duration.survfunc import CumIncidenceRight
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from checks import Checks


def worst(pairs, relative=True):
    """Largest distance of found from expected, relative to the expected value unless that is 0."""
    found, expected = (np.array(side, dtype=float) for side in zip(*pairs))
    distance = np.abs(found - expected)
    if relative:
        distance = distance / np.where(expected == 0, 1, np.abs(expected))
    return float(np.max(np.where(found == expected, 0, distance)))


def score_interval(first, second, n, z):
    """Tango's interval from its definition: the constrained maximum is searched for, not written down."""
    rest = n - first - second

    def log_likelihood(delta, q):
        parts = [(first, q + delta), (second, q), (rest, 1 - 2 * q - delta)]
        return sum(count * np.log(max(p, 1e-300)) if count else 0.0 for count, p in parts)

    def statistic(delta):
        low, high = max(0.0, -delta), (1 - delta) / 2
        pad = 1e-14 * (high - low)
        found = optimize.minimize_scalar(
            lambda q: -log_likelihood(delta, q), bounds=(low + pad, high - pad), method="bounded", options={"xatol": 1e-15}
        )
        # The search stops just inside an edge, where the maximum may be.
        edges = [at for at, count in ((0.0, second), (-delta, first), (high, rest)) if count == 0 and low <= at <= high]
        q = max([found.x, *edges], key=lambda at: log_likelihood(delta, at))
        return (first - second - n * delta) / np.sqrt(n * (2 * q + delta * (1 - delta)))

    edge = 1 - 1e-9
    ends = []
    for level in (z, -z):
        if (statistic(-edge) - level) * (statistic(edge) - level) > 0:
            ends.append(1.0 if level < 0 else -1.0)
        else:
            ends.append(optimize.brentq(lambda delta: statistic(delta) - level, -edge, edge, xtol=1e-13))
    return ends


def incidence(waits):
    """Times and cumulative incidence of the event and the competing end."""
    status = {"censored": 0, "event": 1, "competing": 2}
    with np.errstate(all="ignore"):  # statsmodels' standard errors, which are not read, divide by the last one at risk
        return CumIncidenceRight(
            np.array([wait["step"] for wait in waits]), np.array([status[wait["end"]] for wait in waits])
        )


def incidence_at(time, kind, step):
    """Aalen-Johansen by its recursion, for resamples in which one kind of end may be missing."""
    survival, total = 1.0, 0.0
    for t in range(1, step + 1):
        at_risk = np.sum(time >= t)
        if at_risk == 0:
            break
        total += survival * np.sum((time == t) & (kind == 1)) / at_risk
        survival *= 1 - np.sum((time == t) & (kind > 0)) / at_risk
    return total


def flip_prediction(prompts):
    """Sum of Phi(-margin / sigma), sigma from all other prompts."""
    total, scores, flips = 0.0, [], []
    for i, prompt in enumerate(prompts):
        others = np.concatenate([np.array(other["shifts"]) for j, other in enumerate(prompts) if j != i])
        sigma = np.sqrt(np.mean(others**2))
        margins = np.array(prompt["margins"])
        free = margins > 0
        total += np.sum(special.ndtr(-margins[free] / sigma))
        scores.extend(-margins[free] / sigma)
        flips.extend(np.array(prompt["flipped"])[free])
    return total, np.array(scores), np.array(flips)


def mann_whitney(scores, positive):
    scores, positive = np.array(scores), np.array(positive, dtype=bool)
    if positive.all() or not positive.any():
        return None
    statistic = stats.mannwhitneyu(scores[positive], scores[~positive]).statistic
    return statistic / (positive.sum() * (~positive).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as source:
        data = json.load(source)
    checks = Checks(arguments.quiet)

    def close(claim, pairs, tolerance, relative=True):
        pairs = list(pairs)
        distance = worst(pairs, relative)
        checks.check(f"{claim} ({len(pairs)})", distance <= tolerance, f"off by {distance:.2g}, expected at most {tolerance:g}")

    close("normal distribution: scipy", ((row["value"], special.ndtr(row["x"])) for row in data["normal"]), 1e-12)
    close(
        "quantiles: numpy's type 7",
        ((row["value"], np.quantile(row["sample"], row["q"])) for row in data["quantiles"]),
        1e-12,
    )
    wilson = [(row, proportion_confint(row["count"], row["n"], 0.05, "wilson")) for row in data["rates"]]
    close("Wilson's interval: statsmodels, lower", ((row["low"], max(0, low)) for row, (low, _) in wilson), 1e-11, False)
    close("Wilson's interval: statsmodels, upper", ((row["high"], min(1, high)) for row, (_, high) in wilson), 1e-11, False)
    close(
        "no event in n: scipy's exact binomial bound",
        ((row["unseen"], stats.beta.ppf(0.95, 1, row["n"])) for row in data["rates"]),
        1e-11,
    )

    close(
        "exact McNemar: statsmodels",
        ((row["p"], mcnemar([[0, row["first"]], [row["second"], 0]], exact=True).pvalue) for row in data["pairs"]),
        1e-10,
    )
    z = stats.norm.ppf(0.975)
    scores = [(row, score_interval(row["first"], row["second"], row["n"], z)) for row in data["pairs"]]
    close("paired difference: the score interval by constrained likelihood, lower", ((row["low"], low) for row, (low, _) in scores), 1e-6, False)
    close("paired difference: the score interval by constrained likelihood, upper", ((row["high"], high) for row, (_, high) in scores), 1e-6, False)
    close(
        "Holm: statsmodels",
        (pair for row in data["families"] for pair in zip(row["adjusted"], multipletests(row["p"], method="holm")[1])),
        1e-12,
    )
    needed = [next(n for n in range(1, 60) if stats.binomtest(0, n).pvalue <= 0.05 / len(row["p"])) for row in data["families"]]
    checks.check("discordant pairs needed: scipy's binomial test", needed == [row["needed"] for row in data["families"]], needed)

    pairs = {"event": [], "competing": []}
    for row in data["incidences"]:
        expected = incidence(row["waits"])
        for entry in row["curve"]:
            at = int(np.searchsorted(expected.times, entry["step"], side="right")) - 1
            for k, name in enumerate(pairs):
                value = expected.cinc[k][at] if k < len(expected.cinc) else 0.0
                pairs[name].append((entry[name], value))
    for name, found in pairs.items():
        close(f"cumulative incidence of the {name} end: statsmodels", found, 1e-11, False)
    random = np.random.default_rng(0)
    for row in data["incidenceBands"]:
        time = np.array([wait["step"] for wait in row["waits"]])
        kind = np.array([{"censored": 0, "event": 1, "competing": 2}[wait["end"]] for wait in row["waits"]])
        drawn = [incidence_at(time[at], kind[at], row["step"]) for at in random.integers(0, len(time), (4000, len(time)))]
        low, high = np.quantile(drawn, [0.025, 0.975])
        off = max(abs(row["interval"]["lower"] - low), abs(row["interval"]["upper"] - high)) / (high - low)
        checks.check("interval of an incidence: resampled with numpy", off < 0.06, f"off by {off:.3f} of its width")

    ranked = [(row["value"], mann_whitney(row["scores"], row["positive"])) for row in data["rankings"]]
    checks.check("no area under the curve without both kinds", all((a is None) == (b is None) for a, b in ranked))
    close("area under the curve: scipy's Mann-Whitney U", ((a, b) for a, b in ranked if b is not None), 1e-12)

    flips = []
    for row in data["signFlips"]:
        test = stats.permutation_test(
            (np.array(row["differences"]),), np.sum, permutation_type="samples", vectorized=False, n_resamples=np.inf
        )
        flips.append((row["p"], test.pvalue))
    close("sign flips, counted: scipy's permutation test", flips, 1e-12)
    close(
        "sign flips of many ones: scipy's binomial test",
        ((row["p"], stats.binomtest(row["differences"].count(1), len(row["differences"])).pvalue) for row in data["manyFlips"]),
        1e-10,
    )

    for row in data["bootstraps"]:
        top, bottom = (np.array([unit[part] for unit in row["units"]], dtype=float) for part in ("top", "bottom"))
        for level, low, high in ((0.95, row["low"], row["high"]), (0.9, row["wide"]["low"], row["wide"]["high"])):
            found = stats.bootstrap(
                (top, bottom), lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis), paired=True, vectorized=True,
                confidence_level=level, method="percentile", n_resamples=20_000, rng=random,
            ).confidence_interval
            off = max(abs(low - found.low), abs(high - found.high)) / (found.high - found.low)
            checks.check(f"bootstrap of a ratio, {level}: scipy", off < 0.06, f"off by {off:.3f} of its width")
    # Percentile intervals are a little short at 100 prompts, and more so where a few prompts make most of the drift.
    short_of = {0.5: 0.015, 1: 0.045}
    for row in data["coverage"]:
        for level, count in row["held"].items():
            nominal = int(level) / 100
            error = 3 * np.sqrt(nominal * (1 - nominal) / row["trials"])
            share = count / row["trials"]
            checks.check(
                f"bootstrap: {level} % intervals hold the truth in {100 * share:.1f} %, drift of log-normal prompts with sigma {row['sigma']}",
                nominal - short_of[row["sigma"]] - error <= share <= nominal + error,
            )

    edges = []
    for row in data["histograms"]:
        value = np.quantile(row["values"], 0.999, method="inverted_cdf")
        edges.append((row["extreme"], 2 ** ((np.floor(64 * np.log2(value)) + 1) / 64)))
        checks.check("the extreme drift is not below the quantile it bounds", row["extreme"] >= value, f"{row['extreme']} and {value}")
    close("extreme drift: numpy's quantile, upper edge of its bin", edges, 1e-12)

    totals, areas = [], []
    for row in data["predictions"]:
        total, scores, positive = flip_prediction(row["prompts"])
        totals.append((row["prediction"]["predicted"], total))
        checks.check("observed flips of untied steps", row["prediction"]["observed"] == positive.sum())
        if positive.sum() >= 10:
            areas.append((row["prediction"]["auc"], mann_whitney(scores, positive)))
        else:
            checks.check("no ranking below 10 flips", row["prediction"]["auc"] is None)
    close("predicted flips, each prompt left out: numpy", totals, 1e-11)
    if areas:
        close("ranking of flips: scipy's Mann-Whitney U", areas, 1e-12)
    checks.finish()


if __name__ == "__main__":
    main()
