"""Draw charts with matplotlib as SVG: the same bytes for the same numbers, small, in the colours of the page."""

import contextlib
import html
import io
import re
import warnings
from collections.abc import Callable, Iterator

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1b1f24", "#5b6675", "#d9dfe6"
SERIES = ("#0b62c4", "#b4530a", "#1a7a3c", "#8b3fb0", "#a61b4b", "#00707a", "#6b5a00", "#555b66")
"""Lines of a chart; each has a contrast of at least 4.5 on white, and a lighter partner in style.css."""
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
COLOURS = "; ".join(f"{name}: {colour}" for colour, name in _VARIABLES.items())
"""The variables of CSS that a drawing uses, in the light colours."""
_STYLE = {
    "svg.fonttype": "none",  # text stays text: small, found by a search, read aloud
    "svg.hashsalt": "report",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.formatter.use_mathtext": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "text.parse_math": False,  # names may have dollar signs
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "font.size": 9.0,
    "figure.constrained_layout.use": True,
}
Draw = Callable[[Axes], None]
_COLOUR = re.compile(r"#[0-9a-f]{6}(?=[;\"])")
_FONT = re.compile(r"(?<=style=\")font(?:-size)?: ([\d.]+px)[^;\"]*;(?: font-family: [^;\"]+;)?")
_NOISE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->"
    r'| id="[a-zA-Z.0-9]+_\d+"| (?:width|height)="[\d.]+pt"(?=[^>]*>)| xmlns(?::xlink)?="[^"]*"| version="1.1"',
    re.DOTALL,
)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the report, not in the user's own one."""
    with (
        mpl.rc_context(dict(mpl.rcParamsDefault) | _STYLE),  # type: ignore[arg-type]  # names are only strings here
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the browser has fonts for it
        yield


def draw(label: str, draw_axes: Draw, width: float = 4.2, height: float = 3.1) -> str:
    """Return an SVG element for a page; `width` and `height` are inches at its natural size.

    `label` is what a screen reader says.
    """
    figure = Figure(figsize=(width, height))
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    draw_axes(axes)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return _for_page(written.getvalue(), label)


def _for_page(text: str, label: str) -> str:
    text = _COLOUR.sub(lambda found: _variable(found.group()), _NOISE.sub("", text))
    text = _FONT.sub(r"font-size: \1;", text)
    text = re.sub(r"\n\s*", "\n", text).strip().replace("xlink:href", "href")
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def _variable(colour: str) -> str:
    return f"var({_VARIABLES[colour]})" if colour in _VARIABLES else colour
