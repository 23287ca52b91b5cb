"""Check notebooks/kvlens_figures.py: a map of made-up rows shows what the rows say, in the colours of the theme."""

import os
import sys
import warnings

import matplotlib

matplotlib.use("agg")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "notebooks"))

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import PathPatch

import kvlens_figures as figures
from checks import Checks

U = 2.0**-11
HOOKS = ["hook_embed", "blocks.0.attn.hook_attn_scores", "blocks.0.hook_resid_post", "logits"]
KINDS = ["embed", "attn.attn_scores", "resid_post", "logits"]
NAN, INF = float("nan"), float("inf")
# Drift in u; None: not measured.
DRIFT = [
    [0, 0, 0, 0, 0, 0],
    [0, 1, None, 0, 100, 0.001],
    [0, 0, 0.3, NAN, 5, 3],
    [0, 0, 2, INF, 0.03, 0],
]
FIRST = 4


def rows(dtype="f16", unit=U):
    return pl.DataFrame(
        [
            {
                **{"condition": "c", "prompt": "p", "protocol": "teacher-forced", "step": FIRST + step, "layer": layer, "hook": hook},
                # Logits are judged by the residual stream's unit, whatever they are stored in.
                **{"kind": kind, "dtype": "f32" if kind == "logits" else dtype, "head": None, "rel_l2": drift[step] * unit},
            }
            for step in range(len(DRIFT[0]))
            for hook, kind, layer, drift in zip(HOOKS, KINDS, (-1, 0, 0, 1), DRIFT)
            if drift[step] is not None
        ],
        schema_overrides={"head": pl.Int16},
    )


def lines(ax):
    return [line.get_xydata() for line in ax.lines if len(line.get_xydata())]


def check_map(checks, theme):
    figures.use(theme)
    tokens = figures.colours(theme)
    fig, ax = plt.subplots()
    image = figures.drift_map(ax, rows(), flips=[6])
    measured = [[value is not None for value in row] for row in DRIFT]
    drift = np.array([[NAN if value is None else value for value in row] for row in DRIFT])
    coloured = np.array(measured) & np.isfinite(drift) & (drift > 0)
    shown = image.get_array()[:: figures.PIXELS, :: figures.PIXELS]
    whole = shown.repeat(figures.PIXELS, axis=0).repeat(figures.PIXELS, axis=1)
    checks.check(f"{theme}: a cell is a square of equal pixels", np.array_equal(image.get_array().filled(-1), whole.filled(-1)))
    checks.check(f"{theme}: cells with a finite drift are coloured, and no others", np.array_equal(~np.ma.getmaskarray(shown), coloured))
    expected = np.clip(drift[coloured], 0.03, 30)
    close = np.allclose(np.log(shown[coloured].astype(float)), np.log(expected), atol=0.12)
    checks.check(f"{theme}: they have the drift in u of the residual stream's type, the ends where it is off the scale", close, f"{shown[coloured]} {expected}")
    rgba = image.to_rgba(shown)
    for cell, what, place in (((1, 4), "largest", -1), ((1, 5), "smallest", 0)):
        sequence = [row[theme] for row in figures._rows("kvlens-drift.csv", theme)]
        checks.check(f"{theme}: the {what} drift has the scale's end as its colour", to_hex(rgba[cell]) == sequence[place].lower(), to_hex(rgba[cell]))
    checks.check(f"{theme}: other cells are transparent", bool(np.all(rgba[..., 3][~coloured] == 0)))

    patches = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    hatched = len(patches) == 1 and patches[0].get_hatch() is not None and to_hex(patches[0].get_facecolor()) == tokens["zero"].lower()
    checks.check(f"{theme}: zero is one layer, hatched, of its own colour", hatched)
    zero = np.array([[patches[0].get_path().contains_point((FIRST + step, row)) for step in range(drift.shape[1])] for row in range(drift.shape[0])])
    checks.check(f"{theme}: it covers the cells that are exactly 0, and no others", np.array_equal(zero, np.array(measured) & (drift == 0)), str(zero))

    crosses = [line.get_xydata() for line in ax.lines if line.get_marker() == "x"]
    at = sorted(map(tuple, crosses[0])) if crosses else None
    checks.check(f"{theme}: NaN and infinity are crosses", at == [(FIRST + 3, 2), (FIRST + 3, 3)], str(at))
    contour = next(line.get_xydata() for line in ax.lines if line.get_linewidth() == 1.6)
    tops = [NAN, 0.5, 1.5, 1.5, 0.5, 0.5]
    checks.check(f"{theme}: the line is at the first operation that differs, and broken where none does", np.array_equal(contour[:, 1], np.repeat(tops, 2), equal_nan=True), str(contour))
    edges = np.ravel([[FIRST + step - 0.5, FIRST + step + 0.5] for step in range(len(tops))])
    checks.check(f"{theme}: the line spans each step", np.array_equal(contour[:, 0], edges), str(contour[:, 0]))
    diamonds = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"]
    checks.check(f"{theme}: a flip is a diamond above its step", len(diamonds) == 1 and diamonds[0][0][0] == 6 and diamonds[0][0][1] < -0.5, str(diamonds))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    checks.check(f"{theme}: rows are the hooks in the frame's order", labels == ["embed", "L0\u2003scores", "resid post", "logits"], str(labels))
    bar = figures.drift_bar(image, ax)
    ends = [label.get_text() for label in bar.ax.get_yticklabels()]
    checks.check(f"{theme}: the scale says its unit", ends[0] == "≤ 0.03 u" and ends[-1] == "≥ 30 u", str(ends))
    fig.canvas.draw()
    plt.close(fig)
    fig, ax = plt.subplots(figsize=(7.5, 4))
    figures.drift_map(ax, rows().filter(pl.col("rel_l2").is_finite()))
    fig.canvas.draw()
    box = ax.get_tightbbox()
    checks.check(f"{theme}: without flips and NaN the map fills the figure", box.x0 < 12 and box.y0 < 12 and box.x1 > 720 - 12, str(box))
    plt.close(fig)


def check_refusals(checks):
    figures.use("light")
    _, ax = plt.subplots()
    two = pl.concat([rows(), rows().with_columns(prompt=pl.lit("q"))])
    for claim, action, says in (
        ("rows of two prompts", lambda: figures.drift_map(ax, two), "prompt"),
        ("rows of two precisions", lambda: figures.roundoff(pl.concat([rows(), rows("bf16")])), "bf16"),
        ("rows without the residual stream", lambda: figures.roundoff(rows().filter(pl.col("kind") == "logits")), "residual"),
        ("a theme that is not there", lambda: figures.use("blue"), "blue"),
    ):
        try:
            found = f"no error but {action()!r}"
            holds = False
        except ValueError as error:
            found, holds = str(error), says in str(error) and "\n" not in str(error)
        checks.check(f"{claim} are refused in one line", holds, found)


def luminance(colour):
    return float(np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722]))


def check_colours(checks):
    for theme, sign in (("light", -1), ("dark", 1)):
        cmap, norm = figures.drift_colours(theme)
        steps = np.diff([luminance(colour) for colour in cmap.colors]) * sign
        checks.check(f"{theme}: colours go away from the background step by step", bool(np.all(steps > 0)) and cmap.N == norm.Ncmap == norm.N - 1, str(steps.min()))
        checks.check(f"{theme}: 0.03 is in the first class, 30 in the last", norm([0.03, 30]).tolist() == [0, cmap.N - 1], str(norm([0.03, 30])))
    for dtype, unit in (("f16", 2.0**-11), ("bf16", 2.0**-8), ("f32", 2.0**-24), ("f64", 2.0**-53)):
        checks.check(f"1 u of {dtype} is {unit}", figures.roundoff(rows(dtype, unit)) == unit)


def main():
    warnings.simplefilter("error")
    checks = Checks()
    for theme in ("light", "dark"):
        check_map(checks, theme)
    check_refusals(checks)
    check_colours(checks)
    checks.finish()


if __name__ == "__main__":
    main()
