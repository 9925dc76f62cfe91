"""The two plots of a report: how far off the answers are, and the lock-step training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import formatting as fmt
from .svg import ACCENT, ALERT, INK, MUTED, page_style, plain_log_ticks, to_svg
from .verdicts import SETTLED

Z_LOW, Z_HIGH = 1e-3, 1e9
"""Range of the z axis (spreads). What lies outside is counted in the first or last bar, which the caption says."""
BARS_PER_DECADE = 4
WIDE, NARROW = 800, 350
"""Widths in points: shown at about 1.3 and 1 CSS pixels a point on a desktop and a telephone."""


@dataclass(frozen=True)
class Plot:
    """One plot in two widths; the page shows the one that fits. `facts` are sentences that say what it shows."""

    wide: str
    narrow: str
    facts: Sequence[str]


def z_distribution(frame: pd.DataFrame, threshold: float | None) -> Plot | None:
    """Histogram of z on two logarithmic axes: settled comparisons, and on top of them all others.

    Exact equality (z = 0) and infinite z have no place on a logarithmic axis and are told in the facts. None where no
    comparison has a z.
    """
    z = frame["z"].to_numpy(dtype=float)
    known = ~np.isnan(z)
    if not known.any():
        return None
    good = frame["verdict"].isin(list(SETTLED)).to_numpy(dtype=bool)
    edges = 10 ** np.arange(np.log10(Z_LOW), np.log10(Z_HIGH) + 1e-9, 1 / BARS_PER_DECADE)
    drawn = known & (z > 0)
    clipped = np.clip(z, Z_LOW, Z_HIGH * (1 - 1e-12))
    settled_bars = np.histogram(clipped[drawn & good], edges)[0]
    other_bars = np.histogram(clipped[drawn & ~good], edges)[0]

    facts = [
        f"{fmt.noun(int(known.sum()), 'comparison has', 'comparisons have')} a z; "
        f"{fmt.count(int((z == 0).sum()))} of them are exactly equal (z = 0) and not drawn."
    ]
    beyond = int((z >= Z_HIGH).sum())
    if beyond:
        facts.append(
            f"The last bar holds {fmt.count(beyond)} at or above {fmt.score(Z_HIGH)}, "
            f"{fmt.count(int(np.isinf(z).sum()))} of them infinite (an error where rounding allows none)."
        )
    below = int(((z > 0) & (z < Z_LOW)).sum())
    if below:
        facts.append(f"The first bar holds {fmt.count(below)} below {fmt.score(Z_LOW)}.")
    if threshold is not None:
        facts.append(f"The dashed line is the threshold, z = {fmt.score(threshold)}.")

    def draw(width: int) -> str:
        with page_style():
            figure = Figure(figsize=(width / 72, (250 if width == WIDE else 240) / 72), layout="constrained")
            ax = figure.add_subplot()
            ax.set(xscale="log", yscale="log", xlabel="z: error in units of the rounding spread", ylabel="comparisons")
            ax.stairs(
                settled_bars,
                edges,
                fill=True,
                baseline=0.5,
                color=ACCENT,
                alpha=0.75,
                label="agree, convention, inaccurate",
            )
            ax.stairs(other_bars, edges, fill=True, baseline=0.5, color=ALERT, alpha=0.35)
            ax.stairs(
                other_bars, edges, baseline=0.5, color=ALERT, hatch="////", linewidth=1.2, label="every other verdict"
            )
            ax.set_ylim(0.7, max(int(settled_bars.max()), int(other_bars.max()), 1) * 3)
            ax.set_xlim(Z_LOW, Z_HIGH)
            ax.grid(axis="x", visible=False)
            plain_log_ticks(ax, "x")
            plain_log_ticks(ax, "y")
            _mark_threshold(ax, threshold, vertical=True)
            figure.legend(loc="outside upper left", ncols=2 if width == WIDE else 1, handlelength=1.4)
            return to_svg(figure, f"z{width}", "Histogram of z. " + " ".join(facts))

    return Plot(draw(WIDE), draw(NARROW), facts)


def lockstep_plot(lockstep: Mapping[str, Any]) -> Plot | None:
    """z of the worst gradient entry at every training step, and the loss in both engines. None where no step ran."""
    step, z, by_torch, by_witness = (
        np.array([np.nan if x is None else x for x in lockstep[name]], dtype=float)
        for name in ("step", "z", "loss_torch", "loss_witness")
    )
    if not step.size:
        return None
    threshold = lockstep["threshold"]
    finite = np.isfinite(z)
    facts = [
        f"{fmt.noun(step.size, 'step')}; greatest z {fmt.score(float(np.max(z[finite])) if finite.any() else None)}"
        + (f", threshold {fmt.score(threshold)}." if threshold is not None else ".")
    ]
    if not finite.all():
        facts.append(
            f"{fmt.noun(int((~finite).sum()), 'step')} with a z that is infinite or NaN, drawn as ✗ at the top."
        )
    gap = np.abs(by_torch - by_witness)
    if np.isfinite(gap).any():
        facts.append(
            f"The losses differ by at most {fmt.score(float(np.nanmax(gap)))}; the last ones are "
            f"{fmt.score(by_torch[-1])} (PyTorch) and {fmt.score(by_witness[-1])} (witness)."
        )

    def draw(width: int) -> str:
        with page_style():
            wide = width == WIDE
            figure = Figure(figsize=(width / 72, (250 if wide else 430) / 72), layout="constrained")
            left, right = figure.subplots(1, 2) if wide else figure.subplots(2, 1)
            _draw_z(left, step, z, threshold)
            right.set_title("loss in both engines")
            right.plot(step, by_torch, color=ACCENT, label="PyTorch", linewidth=3.2, alpha=0.5)
            right.plot(step, by_witness, color=INK, label="witness", linewidth=1.1, linestyle=(0, (4, 2)))
            right.set_xlabel("step")
            right.legend(loc="best")
            return to_svg(figure, f"lockstep{width}", "Lock-step training. " + " ".join(facts))

    return Plot(draw(WIDE), draw(NARROW), facts)


def _draw_z(ax: Axes, step: np.ndarray, z: np.ndarray, threshold: float | None) -> None:
    ax.set_title("z of every step")
    ax.set_xlabel("step")
    finite = np.isfinite(z)
    top = max([float(np.max(z[finite])) if finite.any() else 1.0, threshold or 0.0, 1e-9])
    ax.plot(step[finite], z[finite], color=ACCENT, marker="o", markersize=2.6, linewidth=0.8)
    if not finite.all():
        ax.plot(step[~finite], np.full(int((~finite).sum()), top * 1.1), color=ALERT, marker="x", linestyle="none")
    ax.set_ylim(0, top * 1.2)
    _mark_threshold(ax, threshold, vertical=False)


def _mark_threshold(ax: Axes, threshold: float | None, vertical: bool) -> None:
    if threshold is None or not np.isfinite(threshold):
        return
    style: dict[str, Any] = {"color": INK, "linestyle": (0, (5, 3)), "linewidth": 1.0}
    where: dict[str, Any] = {"color": MUTED, "textcoords": "offset points", "fontsize": 9}
    if vertical:
        ax.axvline(threshold, **style)
        ax.annotate(
            "threshold", (threshold, 0.97), xytext=(4, 0), va="top", xycoords=("data", "axes fraction"), **where
        )
    else:
        ax.axhline(threshold, **style)
        ax.annotate(
            "threshold", (0.99, threshold), xytext=(0, 3), ha="right", xycoords=("axes fraction", "data"), **where
        )
