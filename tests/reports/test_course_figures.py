"""The plots of the course: both widths, a description in words, what cannot be drawn is told, bad input refused."""

import math
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from gradwitness.reports.course_figures import crossing_figure, error_curve_figure, evaluation_figure, growth_figure
from gradwitness.reports.errors import ReportDataError
from gradwitness.reports.figures import Plot

STEPS = [10.0**-k for k in range(1, 17)]
ERRORS = [
    {"method": method, "step": h, "error": h**order + 1e-16 / h}
    for method, order in (("one_sided", 1), ("central", 2))
    for h in STEPS
]
FIT = {"method": "central", "part": "truncation", "slope": 2.0, "intercept": 0.0, "low": 1e-4, "high": 1e-2}
BEST = {"method": "one_sided", "step": 1e-8, "error": 2e-8, "theory_step": 1.5e-8}
GROWTH = [
    {
        "depth": d,
        "derivative": 3**d,
        "expanded": None if d > 2 else 4**d,
        "derivative_distinct": 9 * d,
        "automatic": 8 * d,
    }
    for d in range(1, 6)
]
JACOBIANS = [
    {
        "inputs": n,
        "outputs": 16 // n,
        "forward_passes": n,
        "reverse_passes": 16 // n,
        "forward_seconds": n * 1e-4,
        "reverse_seconds": 16 / n * 1e-4,
    }
    for n in (1, 2, 4, 8, 16)
]
COSTS = [
    {"method": m, "parameters": n, "calls": c, "passes": p, "seconds": 1e-5 * (c + p) * n, "measured": n < 100}
    for n in (1, 10, 100)
    for m, c, p in (("central", 2 * n, 0), ("reverse", 1, 1))
]
DRAWINGS: list[tuple[str, Callable[[], Plot]]] = [
    ("errors", lambda: error_curve_figure(ERRORS, [FIT], [BEST])),
    ("growth", lambda: growth_figure(GROWTH, 100)),
    ("crossing", lambda: crossing_figure(JACOBIANS, [1.0], [1.3])),
    ("costs", lambda: evaluation_figure(COSTS)),
]


@pytest.mark.parametrize("draw", [d for _, d in DRAWINGS], ids=[n for n, _ in DRAWINGS])
def test_each_plot_has_two_widths_described_in_words_and_in_the_colours_of_the_page(draw: Callable[[], Plot]) -> None:
    plot = draw()
    for svg, width in ((plot.wide, 800), (plot.narrow, 350)):
        assert svg.startswith(f'<svg viewBox="0 0 {width} ')
        label = re.search(r'role="img" aria-label="([^"]+)"', svg)
        assert label is not None and all(fact in label[1] for fact in plot.facts)
        assert not re.findall(r"#0a0b0\d", svg) and "var(--accent)" in svg
        # Text stands inside the drawing: no label begins left of it, none right of it.
        places = [float(x) for x in re.findall(r"<text [^>]*transform=\"translate\(([-0-9.]+) ", svg)]
        assert all(0 <= x <= width for x in places)
    assert draw() == plot  # byte for byte


def test_the_error_curve_tells_slopes_best_steps_and_theory() -> None:
    plot = error_curve_figure(ERRORS, [FIT], [BEST])
    assert plot.facts[0] == "One-sided difference: least error 2e−8 at h = 1e−8 (theory 1.5e−8)."
    assert plot.facts[1] == "Central difference: slope 2.00 (truncation) from h = 1e−4 to 0.01."
    assert "central difference: slope 2.00" in plot.wide and "one-sided difference" in plot.narrow


def test_errors_that_cannot_stand_on_the_axis_are_told() -> None:
    rows = [
        {"method": "complex_step", "step": h, "error": e}
        for h, e in ((1e-2, 1e-4), (1e-9, 0.0), (1.0, math.nan), (1e-300, 1e-16))
    ]
    (fact,) = error_curve_figure(rows).facts
    assert "exact, and so not drawn, at 1 step" in fact and "outside the domain, and so not drawn, at 1 step" in fact
    assert "error at most 1e−16 at the 1 step below the axis, down to 1e−300" in fact


def test_growth_tells_where_sizes_end_and_the_limit() -> None:
    facts = growth_figure(GROWTH, 100).facts
    assert "Formula as it is: 3 at depth 1, 243 at depth 5." in facts
    assert "Multiplied out: 4 at depth 1, 16 at depth 2; beyond it no size was computed." in facts
    assert facts[-1] == "The dashed line is the size limit, 100 nodes."
    nothing = [{**row, "expanded": None} for row in GROWTH]
    assert "Multiplied out: no size was computed." in growth_figure(nothing).facts


def test_the_crossing_is_told_and_so_is_its_absence() -> None:
    facts = crossing_figure(JACOBIANS, [1.0], []).facts
    assert facts[0] == "1 input, 16 outputs: forward 1 pass in 100 µs, reverse 16 passes in 0.0016 s."
    assert "Equal passes at 1 inputs per output." in facts and "Equal seconds: nowhere in this range." in facts


def test_costs_that_were_scaled_up_are_hollow_and_told() -> None:
    facts = evaluation_figure(COSTS).facts
    assert facts[0] == "Central difference, 100 parameters: 200 calls, 0 passes, 0.2 s, scaled up from a part."
    assert facts[-1] == "Hollow markers are scaled up from the coordinates that were run."
    measured = [row for row in COSTS if row["measured"]]
    assert "Hollow" not in " ".join(evaluation_figure(measured).facts)


def test_frames_are_drawn_like_records() -> None:
    assert growth_figure(pd.DataFrame(GROWTH), 100) == growth_figure(GROWTH, 100)
    frames = error_curve_figure(pd.DataFrame(ERRORS), pd.DataFrame([FIT]), pd.DataFrame([BEST]))
    assert frames == error_curve_figure(ERRORS, [FIT], [BEST])


BAD: list[tuple[Callable[[Any], Plot], Any, str]] = [
    (error_curve_figure, [], "found no records; accepted are records with method, step, error"),
    (growth_figure, [{"depth": 1}], "found columns depth; accepted are records with depth, derivative"),
    (crossing_figure, [], "found no records"),
    (evaluation_figure, [{**COSTS[0], "method": "guess"}], "found methods 'guess'; accepted are one_sided"),
    (error_curve_figure, [{"method": "central", "step": 0.1, "error": 0.0}], "no error in rows is above 0"),
]


@pytest.mark.parametrize(("figure", "records", "text"), BAD)
def test_records_that_do_not_fit_are_refused_with_a_reason(figure: Any, records: Any, text: str) -> None:
    with pytest.raises(ReportDataError, match=re.escape(text)):
        figure(records)
