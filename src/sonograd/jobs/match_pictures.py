"""The charts of a match, and charts as SVG that follows the colors of a page."""

import contextlib
import importlib
import io
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonograd import plotting
from sonograd.jobs.match_words import chain_words, settings
from sonograd.matching import Candidate, Landscape, MatchResult
from sonograd.plotting import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "PICTURES",
    "Chart",
    "Picture",
    "charts",
    "landscape_names",
    "load_drawing",
    "picture",
    "slice_around",
    "to_svg",
]

#: Half of the width of the slice through the solution, as part of a parameter's range.
_SPAN = 0.12
_POINTS = 13
#: Most candidates that are drawn.
_LINES = 6
#: What is looked at first, if the audio shows it: what people ask for.
_WANTED = ("threshold_db", "ratio", "attack_ms", "release_ms", "drive_db", "gain_db", "room_size")
_VARIABLES = {
    style.INK: "--ink",
    style.MUTED: "--muted",
    style.GRID: "--grid",
    style.ACCENT: "--accent",
    style.TRUTH: "--truth",
    style.SHADE: "--shade",
}
_FONT = "font-family: inherit"
_BACKENDS = ("matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg")


@dataclass(frozen=True)
class Chart:
    """A picture of the report.

    Attributes:
        name: Of the file, without ending.
        title: Above it.
        caption: What is to be seen, in a sentence or two.
        figure: The picture.
    """

    name: str
    title: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class Picture:
    """A chart that is drawn.

    Attributes:
        name: Of the file, without ending.
        title: Above it.
        caption: What is to be seen, in a sentence or two.
        png: The file.
        svg: The element for a page, see :func:`to_svg`.
    """

    name: str
    title: str
    caption: str
    png: bytes
    svg: str


#: Width and height in inches, so that type is of one size wherever the page puts them.
_SIZES = {
    "response": (9.8, 3.3),
    "static_curve": (4.3, 4.3),
    "gain_reduction": (6.2, 4.1),
    "remains": (9.8, 2.9),
    "convergence": (6.2, 4.3),
    "landscape": (4.6, 4.2),
}

#: The name of every picture there may be, in the order in which they are drawn.
PICTURES = tuple(_SIZES)


def load_drawing() -> None:
    """Import what draws, which takes a while; nothing happens where it is not installed."""
    with contextlib.suppress(ImportError):
        for name in ("sonograd.plotting.chart", *_BACKENDS):
            importlib.import_module(name)


def charts(
    result: MatchResult,
    *,
    around: Callable[[], Landscape | None] | None = None,
    only: Container[str] = PICTURES,
) -> Iterator[Chart]:
    """Yield every picture that the match has something to show in, laid out.

    Args:
        result: What was found.
        around: Returns the slice through the solution; asked last, so that it may be computed
            meanwhile. :func:`slice_around` by default.
        only: Names of the pictures that are wanted.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    for chart in _drawn(result, around or (lambda: slice_around(result)), only):
        figure = chart.figure
        figure.set_size_inches(*_SIZES[chart.name])
        # Once for all formats: each of them would draw everything to find the same places.
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        yield chart


def slice_around(result: MatchResult) -> Landscape | None:
    """Compute the slice through the solution; None where fewer than two values are known."""
    names = landscape_names(result)
    return None if names is None else result.landscape(*names, points=_POINTS, span=_SPAN)


def _drawn(
    result: MatchResult, around: Callable[[], Landscape | None], only: Container[str]
) -> Iterator[Chart]:
    if "response" in only:
        yield _response(result)
    if "static_curve" in only and len(result.static_curve.curve_input_db):
        yield _static(result)
    if "gain_reduction" in only and result.gain_trace is not None:
        yield _trace(result)
    if "remains" in only:
        yield _remains(result)
    if "convergence" in only and any(result.history.values()):
        yield _convergence(result)
    slice_ = around() if "landscape" in only else None
    if slice_ is not None:
        yield _landscape(result, slice_)


def picture(chart: Chart) -> Picture:
    """Draw a chart in all formats."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    png = io.BytesIO()
    # savefig() would draw everything twice, first to see what stands out of the figure.
    canvas: Any = FigureCanvasAgg(chart.figure)
    canvas.print_png(png)
    return Picture(chart.name, chart.title, chart.caption, png.getvalue(), to_svg(chart))


def to_svg(chart: Chart) -> str:
    """Return a picture as an SVG element, in the font and the colors of the page around it."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    in_its_font = matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.name})
    with in_its_font, _transparent(chart.figure):
        canvas: Any = FigureCanvasSVG(chart.figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]+", rf"font-size: \1px; {_FONT}", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return _own_ids(text, chart.name)


@contextlib.contextmanager
def _transparent(figure: "Figure") -> Iterator[None]:
    """Take the colors of all backgrounds away for a while."""
    patches = [figure.patch, *(ax.patch for ax in figure.axes)]
    colors = [(patch.get_facecolor(), patch.get_edgecolor()) for patch in patches]
    for patch in patches:
        patch.set(facecolor="none", edgecolor="none")
    try:
        yield
    finally:
        for patch, (face, edge) in zip(patches, colors, strict=True):
            patch.set(facecolor=face, edgecolor=edge)


def landscape_names(result: MatchResult) -> tuple[str, str] | None:
    """Return the two parameters that a slice through the solution is most telling for."""
    free = [s for s in settings(result) if s.known and not s.fixed]
    known = {f"{s.stage}.{s.name}" for s in free}
    for first, second, _ in result.correlations:
        if {first, second} <= known and not _both_bands(first, second):
            return first, second
    ranked = sorted(
        free, key=lambda s: _WANTED.index(s.name) if s.name in _WANTED else len(_WANTED)
    )
    if len(ranked) < 2:
        return None
    a, b = (f"{s.stage}.{s.name}" for s in ranked[:2])
    return a, b


def _both_bands(first: str, second: str) -> bool:
    return ".band" in first and ".band" in second


def _response(result: MatchResult) -> Chart:
    transfer = result.transfer
    curves = {"match": transfer.fitted}
    caption = (
        "The linear part of the change: how loud wet is over dry at each frequency. Points fade, "
        "and their ribbon widens, where the two are less coherent and the measurement says less."
    )
    if transfer.designed is not None:
        curves["its filters alone"] = transfer.designed
        caption += " The filters alone lie apart from the match by what the other stages add."
    figure = plotting.response(
        curves,
        sample_rate=result.sample_rate,
        frequencies=transfer.frequencies_hz,
        measured=transfer.measured,
        coherence=transfer.coherence,
    )
    return Chart("response", "Frequency response", caption, figure)


def _static(result: MatchResult) -> Chart:
    static = result.static_curve
    heard = static.curve_input_db >= static.input_db.min() - 12
    figure = plotting.static_curve(
        {"match": (static.curve_input_db[heard], static.curve_output_db[heard])},
        pairs=(static.input_db, static.output_db),
    )
    caption = (
        "Each point is a short piece of the audio: its level before and after. The line is the "
        "curve of the dynamics that were found, for steady sound."
    )
    return Chart("static_curve", "Level in, level out", caption, figure)


def _trace(result: MatchResult) -> Chart:
    trace = result.gain_trace
    assert trace is not None
    figure = plotting.gain_reduction(
        {"measured": trace.measured_db, "match": trace.fitted_db}, time_s=trace.time_s
    )
    caption = f"The gain of the {trace.stage.replace('_', ' ')} over time, as its needle shows it."
    return Chart("gain_reduction", "Gain reduction", caption, figure)


def _remains(result: MatchResult) -> Chart:
    figure = plotting.levels(
        {"wet": result.wet, "what remains": result.residual()}, sample_rate=result.sample_rate
    )
    caption = (
        "Where in the spectrum the match and wet still differ: the distance of the two lines is "
        "the null depth in each band."
    )
    return Chart("remains", "What remains", caption, figure)


def _landscape(result: MatchResult, slice_: Landscape) -> Chart:
    first, second = slice_.names
    units = {f"{s.stage}.{s.name}": s for s in settings(result)}

    def words(name: str) -> str:
        setting = units[name]
        unit = f" ({setting.unit})" if setting.unit else ""
        band = f"band {setting.band[0]} " if setting.band else ""
        return f"{setting.stage.replace('_', ' ')}: {band}{setting.label}{unit}"

    figure = plotting.loss_landscape(
        -slice_.null_db.mT,
        (words(first), slice_.first),
        (words(second), slice_.second),
        truth=slice_.solution,
        mark="match",
        log=False,
        label="residual (dB)",
    )
    caption = (
        "How well the chain would do with other values of these two, all else held: a round hole "
        "is a sharp answer, a valley says that they can make up for each other."
    )
    return Chart("landscape", "Around the solution", caption, figure)


def _convergence(result: MatchResult) -> Chart:
    shown = sorted(result.candidates, key=lambda item: item.bic)[:_LINES]
    histories = {_name(item): item.history for item in shown if item.history}
    best = "last fit, on all excerpts"
    if final := result.history.get("final", ()):
        histories = {best: final, **histories}
    figure = plotting.convergence(histories, best=best if final else None)
    caption = "Each chain that was tried, from its best start; then the last fit of the best one."
    return Chart("convergence", "How it was found", caption, figure)


def _name(item: Candidate) -> str:
    return chain_words(item.chain) if item.chain else item.name


def _own_ids(text: str, prefix: str) -> str:
    """Keep only the ids that are referred to, and make them this picture's own."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(
        r'\s?\bid="([^"]*)"',
        lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "",
        text,
    )
    return re.sub(r"(url\(#|href=\"#)", rf"\1{prefix}-", text)
