"""Charts: what is drawn is what was given, and wrong input is refused in words."""

import base64
import io
import math

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sonograd import plotting
from sonograd.errors import OutputError, ParameterError, ShapeError
from sonograd.functional import peak_biquad, sosfilt
from sonograd.plotting.lines import lines_as_text

RATE = 16_000


def line(figure, label=None, axes=0):
    lines = figure.axes[axes].lines
    return next(x for x in lines if label is None or x.get_label() == label).get_xydata().T


def bell(x):
    sos = peak_biquad(*torch.tensor([1000.0, 6.0, 1.0]).double(), sample_rate=RATE)
    return sosfilt(x, sos)


def test_the_response_of_a_bell_peaks_at_its_frequency_and_gain():
    x, y = line(plotting.response(bell, sample_rate=RATE))
    assert x[y.argmax()] == pytest.approx(1000, rel=0.01)
    assert y.max() == pytest.approx(6.0, abs=1e-3)
    assert abs(y[0]) < 0.05


def test_responses_that_are_measured_fade_where_they_are_doubtful():
    hz = torch.logspace(2, 3.8, 60).double()
    sure = torch.linspace(1, 0, 60).double()
    figure = plotting.response(
        {"match": torch.full((60,), 2.0)},
        sample_rate=RATE,
        frequencies=hz,
        measured=torch.full((60,), 2.0 + 0j),
        coherence=sure,
    )
    points = figure.axes[0].collections[1]
    alpha = points.get_facecolor()[:, 3]
    assert (np.diff(alpha) < 0).all()
    assert points.get_offsets()[:, 1].tolist() == pytest.approx([20 * math.log10(2)] * 60)
    assert line(figure, "match")[1].tolist() == pytest.approx([20 * math.log10(2)] * 60)


def test_responses_without_frequencies_or_of_other_lengths_are_refused():
    with pytest.raises(ParameterError, match="pass its frequencies"):
        plotting.response({"a": torch.ones(3)}, sample_rate=RATE)
    with pytest.raises(ShapeError, match=r"a has shape \(3,\) and frequencies \(4,\)"):
        plotting.response({"a": torch.ones(3)}, sample_rate=RATE, frequencies=torch.ones(4))
    with pytest.raises(ParameterError, match="got no curves"):
        plotting.response({}, sample_rate=RATE)


def test_a_static_curve_shows_pairs_and_curve():
    x = torch.linspace(-60, 0, 20)
    figure = plotting.static_curve({"match": (x, x / 2)}, pairs=(x, x / 2), threshold_db=-20.0)
    assert (line(figure, "match")[1] == (x / 2).numpy()).all()
    assert len(figure.axes[0].collections[0].get_offsets()) == 20
    with pytest.raises(ShapeError, match="expected \\(points,\\) twice"):
        plotting.static_curve({"match": (x, x[:3])})


def test_pieces_of_a_trace_stand_side_by_side_with_their_times():
    time = torch.cat([torch.arange(100) * 0.01, 60 + torch.arange(100) * 0.01]).double()
    figure = plotting.gain_reduction({"match": torch.full((200,), -3.0)}, time_s=time)
    ax = figure.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "1:00"]
    assert ax.get_xlim()[1] == pytest.approx(1.99)
    low, high = ax.get_ylim()
    assert low < -3 < 0 <= high


def test_gaps_in_a_trace_stay_gaps():
    trace = torch.full((100,), -1.0)
    trace[40:60] = torch.nan
    figure = plotting.gain_reduction({"measured": trace}, sample_rate=100)
    assert figure.axes[0].get_ylim()[0] < -1
    with pytest.raises(ParameterError, match="one of the others"):
        plotting.gain_reduction({"a": trace})
    with pytest.raises(ShapeError, match="expected"):
        plotting.gain_reduction({"a": trace}, time_s=torch.arange(3))


def test_convergence_leaves_out_what_has_no_number():
    figure = plotting.convergence({"a": [1, 2, 30], "b": [math.nan]}, best="a")
    assert [x.get_label() for x in figure.axes[0].lines] == ["a"]
    with pytest.raises(ParameterError, match="nothing to draw"):
        plotting.convergence({"b": [math.nan]})


def test_levels_of_a_tone_are_in_its_band_and_right():
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(RATE * 2) / RATE)
    x, y = line(plotting.levels({"tone": tone, "off": 0 * tone}, sample_rate=RATE), "tone")
    assert 890 < x[y.argmax()] < 1130
    assert y.max() == pytest.approx(-3.01, abs=0.3)


def test_a_landscape_marks_its_lowest_point_truth_and_way():
    values = torch.linspace(0, 1, 101)
    figure = plotting.loss_landscape(
        lambda gain: (gain - 0.3) ** 2, ("gain", values), truth=0.3, path=[1.0, 0.5, 0.3]
    )
    labels = [x.get_label() for x in figure.axes[0].lines]
    assert "least at 0.3" in labels
    assert line(figure, "end")[:, 0].tolist() == pytest.approx([0.3, 0.0], abs=1e-4)
    assert figure.axes[0].get_xlabel() == "gain"


def test_a_map_has_the_loss_at_its_place():
    a, b = torch.linspace(0, 1, 5), torch.linspace(0, 2, 7)
    figure = plotting.loss_landscape(
        lambda x, y: x + 10 * y + 1, ("a", a), ("b", b), truth=(0, 0), mark="match", log=False
    )
    mesh = figure.axes[0].collections[0].get_array()
    assert mesh.reshape(7, 5)[6, 0] == pytest.approx(21.0)
    assert mesh.reshape(7, 5)[0, 4] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": ("a", torch.zeros(1))}, "at least 2"),
        ({"loss": torch.full((3,), math.nan)}, "no loss is a finite number"),
        ({"loss": torch.zeros(4)}, r"expected \(3,\)"),
        ({"path": [[1.0, 2.0]]}, r"expected \(steps,\)"),
    ],
)
def test_landscapes_that_make_no_sense_are_refused(options, message):
    given = {"loss": torch.arange(3.0), "x": ("a", torch.arange(3.0)), **options}
    with pytest.raises(ParameterError, match=message):
        plotting.loss_landscape(**given)


@pytest.fixture(scope="module")
def film():
    target = torch.sin(torch.arange(64.0) / 4)
    gains = torch.linspace(1, 0.2, 11)
    return plotting.animate_fit(
        gains[:, None] * target,
        0.2 * target,
        every=5,
        values={"gain": gains.tolist()},
        truth={"gain": 0.2},
        fps=10,
    )


def test_a_film_shows_every_few_steps_and_the_last(film):
    assert len(film.frames) == 3
    assert len({frame.shape for frame in film.frames}) == 1
    assert not any(size % 2 for size in film.frames[0].shape[:2])
    assert (film.frames[0] != film.frames[-1]).any()


def test_a_film_is_an_mp4_and_a_gif(film, tmp_path):
    path = film.save(tmp_path / "fit.mp4")
    with av.open(path) as file:
        stream = file.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.height, stream.width) == film.frames[0].shape[:2]
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(frames) == 3
    assert abs(frames[1].astype(float) - film.frames[1]).mean() < 3
    with Image.open(film.save(tmp_path / "fit.gif")) as picture:
        assert picture.n_frames == 3
        assert picture.info["duration"] == 100
    assert "data:video/mp4;base64," in film._repr_html_()
    with pytest.raises(ParameterError, match="expected mp4 or gif"):
        film.save(tmp_path / "fit.avi")
    with pytest.raises(OutputError, match="cannot be written"):
        film.save(tmp_path / "none" / "fit.gif")


def test_films_of_what_does_not_fit_are_refused():
    target = torch.zeros(10)
    with pytest.raises(ShapeError, match="expected"):
        plotting.animate_fit(torch.zeros(3, 9), target)
    with pytest.raises(ParameterError, match="raise every"):
        plotting.animate_fit(torch.zeros(700, 10), target, every=1)
    with pytest.raises(ParameterError, match="at least 1"):
        plotting.animate_fit(torch.zeros(0, 10), target)
    with pytest.raises(ShapeError, match="2 values for 3 estimates"):
        plotting.animate_fit(torch.zeros(3, 10), target, values={"g": [1.0, 2.0]})


def test_charts_show_themselves_in_notebooks():
    html = plotting.convergence({"a": [1, 2]})._repr_html_()
    data = html.partition("base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.format == "PNG"


def test_curves_as_text_rise_where_the_values_do():
    x = torch.linspace(0, 1, 50)
    text = lines_as_text(
        {"up": (x, x)}, columns=40, lines=8, marks=[(0.0, "0"), (1.0, "1")], unit="dB", title="t"
    )
    rows = text.split("\n")
    assert len(rows) == 8
    assert rows[0].startswith("t ")
    assert "dB" in rows[1]
    starts = [len(row[10:]) - len(row[10:].lstrip("⠀")) for row in rows[1:-1]]
    assert starts == sorted(starts, reverse=True)
    assert rows[-1].split() == ["0", "1"]
    assert "\x1b[" not in text
    assert "\x1b[31m" in lines_as_text({"up": (x, x)}, color=True)


def test_curves_as_text_leave_out_what_is_no_number():
    x = torch.tensor([-1.0, 0.0, 1.0, 10.0])
    text = lines_as_text({"a": (x, torch.tensor([0.0, 1.0, math.nan, 2.0]))}, log=True)
    assert text
    with pytest.raises(ParameterError, match="nothing to draw"):
        lines_as_text({"a": (x[:2], x[:2])}, log=True)
