"""What every picture shares: colours for colour-blind readers, line styles that print in grey, panels, and saving."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text

from autorobustloss.errors import ConfigError
from autorobustloss.escape import clipped, visible
from autorobustloss.runs.run_folder import RunFolder

OKABE_ITO = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#8C8C8C")
"""The palette of Okabe and Ito (2008), its yellow replaced by a grey that shows on white."""

LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")

METADATA = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
"""By suffix, what a picture does not say about its making: no version and no date, so equal data give equal bytes."""

# Text stays text in SVG, and is no formula whatever signs it holds; a fixed salt makes ids repeat.
SETTINGS: dict[Any, Any] = {
    **{"svg.fonttype": "none", "svg.hashsalt": "autorobustloss", "pdf.fonttype": 42},
    **{"text.usetex": False, "text.parse_math": False, "axes.formatter.use_mathtext": False},
}


def line_style(index: int) -> dict[str, Any]:
    """Return colour, dashes and marker of the curve number `index`; no two of the first 56 look alike."""
    return {
        "color": OKABE_ITO[index % len(OKABE_ITO)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches that belongs to no window and no global state."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def layout(count: int, widest: int) -> tuple[int, int]:
    """Return rows and columns for so many panels, as even as `widest` columns allow.

    >>> layout(6, widest=4), layout(7, widest=4)
    ((2, 3), (2, 4))
    """
    rows = -(-count // widest)
    return rows, -(-count // rows)


def panels(figure: Figure | SubFigure, count: int, widest: int, **how: Any) -> list[Axes]:
    """Return so many axes, laid out by `layout`."""
    rows, columns = layout(count, widest)
    grid = list(figure.subplots(rows, columns, squeeze=False, **how).flat)
    for axes in grid[count:]:
        axes.set_visible(False)
    return grid[:count]


def tidy(axes: Axes, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Write labels and title in small letters; take away what carries no data: half the frame, heavy grid lines."""
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(xlabel, fontsize=8)
    axes.set_ylabel(ylabel, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def add_legend(figure: Figure | SubFigure, handles: Sequence[Artist], names: Sequence[str], **how: Any) -> None:
    """Draw a legend outside, below the panels; a name may begin with "_", which matplotlib would leave out."""
    legend = figure.legend(
        handles, [str(i) for i in range(len(names))], loc="outside lower center", frameon=False, **how
    )
    for text, name in zip(legend.get_texts(), names):
        text.set_text(name)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix of `path`; the same figure gives the same bytes.

    Raises ConfigError for another suffix and for a file that cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in METADATA:
        raise ConfigError(f"got picture {str(path)!r}, expected a name that ends in {', '.join(METADATA)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(render(figure, suffix))
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}; try another --out") from None
    return target


def write_figure(folder: RunFolder, stem: str, figure: Figure) -> Path:
    """Write a figure into a run folder as stem.png and stem.svg; return the path of the first."""
    path, _ = (folder.write(stem + suffix, render(figure, suffix)) for suffix in (".png", ".svg"))
    return path


def render(figure: Figure, suffix: str) -> bytes:
    """Return the bytes of a figure as ".png", ".svg" or ".pdf"; its texts are drawn as they are, none is parsed."""
    buffer = io.BytesIO()
    with rc_context(SETTINGS), warnings.catch_warnings():
        for known in ("Glyph .* missing from", "constrained_layout not applied"):  # a box is drawn, panels are narrow
            warnings.filterwarnings("ignore", message=known)
        for text in figure.findobj(Text):
            text.set(parse_math=False, usetex=False, text=label(text.get_text()))
        figure.savefig(buffer, format=suffix[1:], metadata=METADATA[suffix])
    return buffer.getvalue()


def label(name: str) -> str:
    """Return a name as a picture shows it: in one line, and not too long."""
    return clipped(visible(name))
