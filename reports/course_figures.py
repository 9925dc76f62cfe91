"""The plots of the course on derivatives: error against step, growth of formulas, forward against reverse, cost of n.

Each takes plain records (a list of dicts, or a frame) with the columns its docstring names, and returns a `Plot` in two
widths. All axes that carry numbers of several sizes are logarithmic; what cannot stand on one is told in the facts.
Series differ by marker and dash as well as by colour.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import formatting as fmt
from .errors import ReportDataError
from .figures import NARROW, WIDE, Plot
from .svg import ACCENT, ALERT, INK, MUTED, page_style, plain_log_ticks, to_svg

Records = Sequence[Mapping[str, Any]] | pd.DataFrame

SHOWN_STEPS = (1e-16, 1e-1)
"""Range of the step axis; it grows where larger steps were taken. Smaller ones are told in the facts."""
STYLES: dict[str, dict[str, Any]] = {
    "one_sided": {"color": ALERT, "marker": "o", "linestyle": "-"},
    "central": {"color": ACCENT, "marker": "s", "linestyle": (0, (6, 2))},
    "richardson": {"color": MUTED, "marker": "^", "linestyle": (0, (1, 1.5))},
    "complex_step": {"color": INK, "marker": "x", "linestyle": (0, (4, 2, 1, 2))},
    "forward": {"color": MUTED, "marker": "^", "linestyle": (0, (1, 1.5))},
    "reverse": {"color": INK, "marker": "D", "linestyle": "-"},
}
NAMES = {
    "one_sided": "one-sided difference",
    "central": "central difference",
    "richardson": "Richardson",
    "complex_step": "complex step",
    "forward": "forward mode",
    "reverse": "reverse mode",
}


def error_curve_figure(rows: Records, lines: Records = (), bests: Records = ()) -> Plot:
    """Error of numerical derivatives against the step, on two logarithmic axes, with the fitted slopes.

    rows: method, step (units of x), error (absolute). lines: method, part ("truncation" or "rounding"), slope,
    intercept, low, high, in log₁₀-log₁₀. bests: method, step, error, theory_step (None where there is none). Errors
    that are 0 or NaN are not drawn. Raises ReportDataError for missing columns, an unknown method, or nothing to draw.
    """
    frame = _frame("error_curve_figure", rows, ("method", "step", "error"))
    fits = _records("error_curve_figure", lines, ("method", "part", "slope", "intercept", "low", "high"))
    best = _records("error_curve_figure", bests, ("method", "step", "error", "theory_step"))
    methods = _methods("error_curve_figure", frame)
    drawn = frame[(frame["error"] > 0) & np.isfinite(frame["error"])]
    if drawn.empty:
        raise ReportDataError(
            "error_curve_figure: no error in rows is above 0 and finite; accepted is at least one, since the axis is "
            "logarithmic. Pass the steps where the method is off."
        )
    facts = []
    for method in methods:
        own = frame[frame["method"] == method]
        parts = [
            f"slope {_signed(fit['slope'])} ({fit['part']}) from h = {fmt.score(fit['low'])} "
            f"to {fmt.score(fit['high'])}"
            for fit in fits
            if fit["method"] == method
        ]
        for row in (row for row in best if row["method"] == method):
            theory = "" if pd.isna(row["theory_step"]) else f" (theory {fmt.score(row['theory_step'])})"
            parts.append(f"least error {fmt.score(row['error'])} at h = {fmt.score(row['step'])}{theory}")
        exact, undefined = int((own["error"] == 0).sum()), int((~np.isfinite(own["error"])).sum())
        beyond = own[own["step"] < SHOWN_STEPS[0]]
        parts += [f"exact, and so not drawn, at {fmt.noun(exact, 'step')}"] if exact else []
        parts += [f"outside the domain, and so not drawn, at {fmt.noun(undefined, 'step')}"] if undefined else []
        if not beyond.empty:
            parts.append(
                f"error at most {fmt.score(beyond['error'].max())} at the {fmt.noun(len(beyond), 'step')} below the "
                f"axis, down to {fmt.score(beyond['step'].min())}"
            )
        facts.append(f"{NAMES[method].capitalize()}: {'; '.join(parts) or 'drawn as measured'}.")

    def draw(ax: Axes) -> None:
        ax.set(xscale="log", yscale="log", xlabel="step h", ylabel="absolute error")
        for method in methods:
            own = drawn[(drawn["method"] == method) & (drawn["step"] >= SHOWN_STEPS[0])]
            style = {**STYLES[method], "linestyle": "none", "markersize": 2.8, "alpha": 0.75}
            slopes = [_signed(fit["slope"]) for fit in fits if fit["method"] == method]
            told = f": slope{'s' if len(slopes) > 1 else ''} {', '.join(slopes)}" if slopes else ""
            ax.plot(own["step"], own["error"], label=NAMES[method] + told, **style)
        for fit in fits:
            ends = np.array([fit["low"], fit["high"]])
            colour = STYLES[fit["method"]]["color"]
            ax.plot(ends, 10 ** fit["intercept"] * ends ** fit["slope"], color=colour, linewidth=1.6)
        ax.set_xlim(SHOWN_STEPS[0] / 2, max(SHOWN_STEPS[1], drawn["step"].max()) * 2)
        _log_axes(ax)

    return _plot("errorcurve", "Error of numerical derivatives against the step.", facts, draw, 340, columns=2)


def growth_figure(rows: Records, size_limit: int | None = None) -> Plot:
    """Size of a symbolic derivative against depth of nesting, next to the operations of the automatic gradient.

    rows: depth, derivative and expanded (nodes of the tree as it is, and multiplied out), derivative_distinct (nodes
    with common subexpressions shared), automatic (operations); None where the size was not computed. size_limit: drawn
    as a dashed line. Raises ReportDataError for missing columns or no rows.
    """
    columns = ("depth", "derivative", "expanded", "derivative_distinct", "automatic")
    frame = _frame("growth_figure", rows, columns).sort_values("depth")
    series: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("derivative", "formula as it is", {"color": ALERT, "marker": "o", "linestyle": "-"}),
        ("expanded", "multiplied out", {"color": MUTED, "marker": "^", "linestyle": (0, (1, 1.5))}),
        ("derivative_distinct", "subexpressions shared", {"color": ACCENT, "marker": "s", "linestyle": (0, (6, 2))}),
        ("automatic", "automatic gradient", {"color": INK, "marker": "D", "linestyle": "-"}),
    )
    facts = []
    for column, label, _ in series:
        known = frame[frame[column].notna()]
        if known.empty:
            facts.append(f"{label.capitalize()}: no size was computed.")
            continue
        first, last = known.iloc[0], known.iloc[-1]
        fact = (
            f"{label.capitalize()}: {fmt.count(int(first[column]))} at depth {int(first['depth'])}, "
            f"{fmt.count(int(last[column]))} at depth {int(last['depth'])}"
        )
        facts.append(fact + ("." if len(known) == len(frame) else "; beyond it no size was computed."))
    if size_limit is not None:
        facts.append(f"The dashed line is the size limit, {fmt.count(size_limit)} nodes.")

    def draw(ax: Axes) -> None:
        ax.set(yscale="log", xlabel="depth of nesting", ylabel="nodes, or operations")
        for column, label, style in series:
            known = frame[frame[column].notna()]
            ax.plot(known["depth"], known[column].astype(float), label=label, markersize=4, **style)
        if size_limit is not None:
            ax.axhline(size_limit, color=INK, linestyle=(0, (5, 3)), linewidth=1.0)
        ax.set_xticks(frame["depth"].to_list())
        plain_log_ticks(ax, "y")

    return _plot("growth", "Size of a derivative against depth of nesting.", facts, draw, 280)


def crossing_figure(rows: Records, pass_crossings: Sequence[float] = (), time_crossings: Sequence[float] = ()) -> Plot:
    """Seconds of a Jacobian by forward and by reverse mode against inputs per output, with the points where they cross.

    rows: inputs, outputs, forward_passes, reverse_passes, forward_seconds, reverse_seconds (wall clock). The crossings
    are ratios inputs/outputs, by passes and by seconds. Raises ReportDataError for missing columns or no rows.
    """
    columns = ("inputs", "outputs", "forward_passes", "reverse_passes", "forward_seconds", "reverse_seconds")
    frame = _frame("crossing_figure", rows, columns)
    frame = frame.assign(ratio=frame["inputs"] / frame["outputs"]).sort_values("ratio")
    facts = []
    for row in (frame.iloc[0], frame.iloc[-1]) if len(frame) > 1 else (frame.iloc[0],):
        facts.append(
            f"{fmt.noun(int(row['inputs']), 'input')}, {fmt.noun(int(row['outputs']), 'output')}: forward "
            f"{fmt.noun(int(row['forward_passes']), 'pass', 'passes')} in {_time(row['forward_seconds'])}, reverse "
            f"{fmt.noun(int(row['reverse_passes']), 'pass', 'passes')} in {_time(row['reverse_seconds'])}."
        )
    for what, crossings in (("passes", pass_crossings), ("seconds", time_crossings)):
        places = ", ".join(fmt.score(c) for c in crossings)
        facts.append(
            f"Equal {what} at {places} inputs per output." if places else f"Equal {what}: nowhere in this range."
        )

    def draw(ax: Axes) -> None:
        ax.set(xscale="log", yscale="log", xlabel="inputs per output, n/m", ylabel="seconds")
        for mode, marker in (("forward", ALERT), ("reverse", ACCENT)):
            style = {**STYLES[mode], "color": marker, "markersize": 4}
            ax.plot(frame["ratio"], frame[f"{mode}_seconds"], label=NAMES[mode], **style)
        for crossing in pass_crossings:
            ax.axvline(crossing, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        for crossing in time_crossings:
            ax.axvline(crossing, color=INK, linestyle=(0, (5, 3)), linewidth=1.0)
        if pass_crossings:
            ax.plot([], [], color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2, label="equal passes")
        if time_crossings:
            ax.plot([], [], color=INK, linestyle=(0, (5, 3)), linewidth=1.0, label="equal seconds")
        _log_axes(ax)

    return _plot("crossing", "Cost of a Jacobian by forward and by reverse mode.", facts, draw, 280)


def evaluation_figure(rows: Records) -> Plot:
    """Seconds of one gradient against the number of parameters, by method; hollow markers where scaled up from a part.

    rows: method, parameters, calls, passes, seconds (wall clock), measured (False: scaled up). Raises ReportDataError
    for missing columns, an unknown method, or no rows.
    """
    frame = _frame("evaluation_figure", rows, ("method", "parameters", "calls", "passes", "seconds", "measured"))
    methods = _methods("evaluation_figure", frame)
    frame = frame.assign(measured=frame["measured"].astype(bool)).sort_values("parameters")
    facts = []
    for method in methods:
        last = frame[frame["method"] == method].iloc[-1]
        facts.append(
            f"{NAMES[method].capitalize()}, {fmt.noun(int(last['parameters']), 'parameter')}: "
            f"{fmt.noun(int(last['calls']), 'call')}, {fmt.noun(int(last['passes']), 'pass', 'passes')}, "
            f"{_time(last['seconds'])}{'' if last['measured'] else ', scaled up from a part'}."
        )
    if not frame["measured"].all():
        facts.append("Hollow markers are scaled up from the coordinates that were run.")

    def draw(ax: Axes) -> None:
        ax.set(xscale="log", yscale="log", xlabel="parameters n", ylabel="seconds for one gradient")
        for method in methods:
            own = frame[frame["method"] == method]
            style = STYLES[method]
            marks = {**style, "linestyle": "none"}
            ax.plot(own["parameters"], own["seconds"], color=style["color"], linestyle=style["linestyle"])
            real, guess = own[own["measured"]], own[~own["measured"]]
            ax.plot(real["parameters"], real["seconds"], markersize=4, **marks)
            ax.plot(guess["parameters"], guess["seconds"], markersize=7, fillstyle="none", **marks)
            ax.plot([], [], label=NAMES[method], markersize=4, **style)
        _log_axes(ax)

    return _plot("evaluations", "Cost of one gradient against the number of parameters.", facts, draw, 280)


def _frame(figure: str, rows: Records, columns: tuple[str, ...]) -> pd.DataFrame:
    """The records as a frame, which has these columns."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame([dict(row) for row in rows])
    missing = [column for column in columns if column not in frame.columns]
    if frame.empty or missing:
        found = "no records" if frame.empty else f"columns {', '.join(map(str, frame.columns))}"
        raise ReportDataError(
            f"{figure}: found {found}; accepted are records with {', '.join(columns)}. Add what is missing where the "
            "records are made."
        )
    return frame


def _records(figure: str, rows: Records, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """The same as plain dicts; none at all are accepted too."""
    if not len(rows):
        return []
    values = _frame(figure, rows, columns)[list(columns)].to_numpy()
    return [dict(zip(columns, row, strict=True)) for row in values]


def _methods(figure: str, frame: pd.DataFrame) -> list[str]:
    methods = [str(m) for m in dict.fromkeys(frame["method"])]
    unknown = [m for m in methods if m not in STYLES]
    if unknown:
        raise ReportDataError(
            f"{figure}: found methods {', '.join(map(repr, unknown))}; accepted are {', '.join(STYLES)}. Correct the "
            "spelling where the records are made."
        )
    return methods


def _plot(
    name: str, title: str, facts: Sequence[str], draw: Callable[[Axes], None], height: int, columns: int = 4
) -> Plot:
    """The drawing in both widths, with its legend above it. Heights in points."""

    def svg(width: int) -> str:
        with page_style():
            figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
            ax = figure.add_subplot()
            draw(ax)
            figure.legend(loc="outside upper left", ncols=columns if width == WIDE else columns // 2, handlelength=1.8)
            return to_svg(figure, f"{name}{width}", f"{title} {' '.join(facts)}")

    return Plot(svg(WIDE), svg(NARROW), tuple(facts))


def _log_axes(ax: Axes) -> None:
    plain_log_ticks(ax, "x")
    plain_log_ticks(ax, "y")


def _signed(slope: float) -> str:
    return f"{slope:.2f}".replace("-", "−")


def _time(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else fmt.duration(float(seconds))
