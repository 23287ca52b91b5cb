"""The figures of kvlens in matplotlib: its colours, and the drift map. Reads the style files beside this module.

    use("light")                                       # or "dark"
    fig, ax = plt.subplots()
    mesh = drift_map(ax, run.layers.filter(pl.col("step") > 0))
    drift_bar(mesh, ax)
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

HERE = Path(__file__).parent
# Pixels of a cell's side in the image of a map: where a viewer smooths images, edges of cells stay sharp.
PIXELS = 8
UNIT_ROUNDOFF = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24, "f64": 2.0**-53}


def use(theme="light"):
    """Draw with the theme from now on. @raises ValueError for a theme that is not light or dark"""
    colours(theme)
    plt.style.use(HERE / ("kvlens.mplstyle" if theme == "light" else "kvlens-dark.mplstyle"))


def colours(theme="light"):
    """{token: #RRGGBB}: cached, uncached, zero, hatch, ink, bad, …"""
    return {row["token"]: row[theme] for row in _rows("kvlens-theme.csv", theme)}


def drift_colours(theme="light"):
    """(colour map, norm) of the drift scale: 0.03 to 30 u, logarithmic, the same in every map of every run."""
    rows = _rows("kvlens-drift.csv", theme)
    middles = np.log([float(row["u"]) for row in rows])
    half = (middles[1] - middles[0]) / 2
    return ListedColormap([row[theme] for row in rows], name="kvlens-drift"), BoundaryNorm(np.exp([*(middles - half), middles[-1] + half]), len(rows))


def roundoff(frame):
    """1 u of a run: the unit roundoff of what its residual stream is stored in. @raises ValueError where rows of layers.arrow say none, or several"""
    residual = frame.lazy().filter(pl.col("kind").cast(pl.String).is_in(["embed", "resid_pre", "resid_mid", "resid_post"]))
    found = residual.select(pl.col("dtype").cast(pl.String).unique()).collect()["dtype"].to_list()
    if len(found) != 1 or found[0] not in UNIT_ROUNDOFF:
        raise ValueError(f"roundoff: the residual stream's dtype is {found}, expected one of {', '.join(UNIT_ROUNDOFF)}: give rows of one precision")
    return UNIT_ROUNDOFF[found[0]]


def drift_map(ax, frame, flips=()):
    """Rows of layers.arrow of one prompt and condition: operations down, in the frame's order, steps across, colour the drift.

    Exactly 0 is hatched, in a layer of its own; NaN and infinities are red crosses; what was not measured stays empty. A line
    runs along the first operation that differs in each step; ◆ marks the steps in `flips`. Returns the image, for `drift_bar`.
    """
    frame = frame.lazy().filter(pl.col("head").is_null()).collect()
    for name in ("prompt", "condition", "protocol"):
        if (found := frame[name].n_unique()) != 1:
            raise ValueError(f"drift_map: found {found} values of {name}, expected one: filter(pl.col({name!r}) == …)")
    frame = frame.with_columns(u=pl.col("rel_l2") / roundoff(frame))
    hooks = frame.select("hook", "layer", "kind").unique("hook", keep="first", maintain_order=True)
    first, last = frame["step"].min(), frame["step"].max()
    drift = np.full((hooks.height, last - first + 1), np.nan)
    measured = np.zeros(drift.shape, bool)
    row_of = {hook: row for row, hook in enumerate(hooks["hook"])}
    for hook, step, u in frame.select("hook", "step", "u").iter_rows():
        drift[row_of[hook], step - first], measured[row_of[hook], step - first] = u, True

    tokens = colours(_theme_of(ax))
    cmap, norm = drift_colours(_theme_of(ax))
    zero, odd = measured & (drift == 0), measured & ~np.isfinite(drift)
    extent = (first - 0.5, last + 0.5, hooks.height - 0.5, -0.5)
    hatched = {"facecolor": tokens["zero"], "edgecolor": tokens["hatch"], "hatch": "//////", "linewidth": 0}
    ax.add_patch(PathPatch(_outline(zero, first), zorder=1, label="exactly 0", **hatched))
    shown = np.ma.masked_array(drift, ~measured | zero | odd)
    pixels = shown.clip(norm.boundaries[0], norm.boundaries[-1] * 0.999).repeat(PIXELS, axis=0).repeat(PIXELS, axis=1)
    image = ax.imshow(pixels, cmap=cmap, norm=norm, extent=extent, aspect="auto", interpolation="none", zorder=2)
    # An empty line would still take room in the layout.
    rows, steps = np.nonzero(odd)
    if len(rows):
        ax.plot(steps + first, rows, "x", color=tokens["bad"], zorder=4)
    if len(flips):
        ax.plot(list(flips), [-1.1] * len(flips), "D", color=tokens["ink"], markersize=4, clip_on=False)
    _contour(ax, measured & (drift != 0), first, tokens["ink"])
    _labels(ax, hooks)
    ax.set(xlim=extent[:2], ylim=extent[2:], xlabel="step →")
    return image


def drift_bar(image, ax):
    """The scale beside a map."""
    bar = ax.figure.colorbar(image, ax=ax, ticks=[0.03, 0.3, 3, 30], pad=0.015, aspect=30)
    bar.ax.set_yticklabels(["≤ 0.03 u", "0.3", "3", "≥ 30 u"])
    bar.outline.set_visible(False)
    bar.ax.grid(False)
    return bar


def _outline(mask, first):
    """One path around all runs of cells in a row."""
    corners = []
    for row, cells in enumerate(mask):
        ends = np.flatnonzero(np.diff(np.concatenate([[0], cells.astype(np.int8), [0]])))
        for left, right in ends.reshape(-1, 2) + first - 0.5:
            corners += [(left, row - 0.5), (right, row - 0.5), (right, row + 0.5), (left, row + 0.5), (left, row - 0.5)]
    codes = [Outline.MOVETO, Outline.LINETO, Outline.LINETO, Outline.LINETO, Outline.CLOSEPOLY] * (len(corners) // 5)
    return Outline(np.array(corners).reshape(-1, 2), codes or None)


def _contour(ax, differs, first, ink):
    """Along the top of the first row that differs; broken where nothing does."""
    tops = np.where(differs.any(axis=0), differs.argmax(axis=0) - 0.5, np.nan)
    steps = np.arange(differs.shape[1]) + first
    ax.plot(np.column_stack([steps - 0.5, steps + 0.5]).ravel(), np.repeat(tops, 2), color=ink, linewidth=1.6, zorder=3)


def _labels(ax, hooks):
    short = {"attn.attn_scores": "scores", "attn.pattern": "pattern", "ln_final.normalized": "final norm"}
    kinds = [short.get(kind, kind.removeprefix("attn.").replace("_", " ")) for kind in hooks["kind"].cast(pl.String)]
    block = [hook.split(".")[1] if hook.startswith("blocks.") else None for hook in hooks["hook"].cast(pl.String)]
    starts = [i for i, layer in enumerate(block) if i == 0 or layer != block[i - 1]]
    labels = [f"L{block[i]}\u2003{kind}" if i in starts and block[i] is not None else kind for i, kind in enumerate(kinds)]
    ax.set_yticks(range(len(labels)), labels, fontsize=7.9)
    ax.grid(False)
    for row in starts[1:]:
        ax.axhline(row - 0.5, color=ax.get_facecolor(), linewidth=1.5, zorder=2.5)


def _theme_of(ax):
    return "light" if np.mean(to_rgb(ax.get_facecolor())) > 0.5 else "dark"


def _rows(name, theme):
    if theme not in ("light", "dark"):
        raise ValueError(f"theme: found {theme!r}, expected 'light' or 'dark'")
    with open(HERE / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
