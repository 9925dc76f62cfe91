"""Matplotlib figures as inline SVG that follows the page's colours, light or dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins: matplotlib needs concrete colours, the page has CSS variables. No other colour occurs in a figure.
INK, MUTED, GRID, ACCENT, ALERT = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", ACCENT: "--accent", ALERT: "--wrong"}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "font.family": "sans-serif",
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


@contextmanager
def page_style() -> Iterator[None]:
    """Draw with the page's colours and type inside this block."""
    with matplotlib.rc_context(_STYLE):
        yield


def plain_log_ticks(ax: Axes, axis: str) -> None:
    """Label decades as 0.01, 1, 100, 1e6 instead of with raised exponents, which SVG text cannot hold on one line."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    target = ax.xaxis if axis == "x" else ax.yaxis
    target.set_major_locator(LogLocator(base=10, numticks=7))
    target.set_minor_locator(NullLocator())
    target.set_major_formatter(
        FuncFormatter(
            lambda x, _: (
                f"{x:g}" if 1e-3 <= x < 1e5 else f"{x:.0e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
            )
        )
    )


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Return `figure` as an <svg> element with a description for screen readers.

    `name` keeps the identifiers inside apart from those of other figures on the page; the same figure gives the same
    text, byte for byte. `description` is plain text; it is escaped here.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"font: ([^;\"]*?)([0-9.]+)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        rf'<svg viewBox="\g<1>" role="img" aria-label="{_literal(label)}">',
        text,
        count=1,
    )


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")
