import math

import numpy as np
import pytest
import torch

from sonograd import plotting
from sonograd.errors import ParameterError, ShapeError

RATE = 16_000


def tone(hz, seconds=1.0, level=1.0):
    return level * torch.sin(2 * math.pi * hz * torch.arange(int(seconds * RATE)) / RATE)


def image(figure, row=0):
    return figure.axes[row].images[0].get_array()


def test_a_tone_is_a_line_at_its_frequency():
    ax = plotting.spectrogram(tone(1000.0), sample_rate=RATE).axes[0]
    picture = ax.images[0].get_array()
    row = int(np.argmax(picture.mean(1)))
    place = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert (row + 0.5) / picture.shape[0] == pytest.approx(place["1 kHz"], abs=0.01)


def test_signals_share_one_color_scale():
    figure = plotting.compare(
        {"loud": tone(500.0), "soft": tone(500.0, level=0.1)}, sample_rate=RATE
    )
    assert image(figure, 0).max() == pytest.approx(0.0, abs=1e-4)
    assert image(figure, 1).max() == pytest.approx(-20.0, abs=0.1)


def test_silence_is_the_floor_not_nan():
    picture = image(plotting.spectrogram(torch.zeros(2, RATE), sample_rate=RATE, floor_db=-60.0))
    assert (picture == -60.0).all()


def test_long_signals_keep_the_size_of_the_picture():
    assert image(plotting.spectrogram(torch.zeros(600 * RATE), sample_rate=RATE)).shape[1] < 1300


def test_a_waveform_shows_every_peak_however_short(tmp_path):
    x = torch.zeros(2, 60 * RATE)
    x[0, 12_345] = 0.9
    figure = plotting.waveform(x, sample_rate=RATE, title="click")
    top = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(0.9)
    figure.savefig(tmp_path / "wave.png")
    assert (tmp_path / "wave.png").stat().st_size > 1000


@pytest.mark.parametrize("shape", [(2, 3, 100), (2, 0), ()])
def test_other_layouts_are_refused(shape):
    with pytest.raises(ShapeError, match=r"expected \(channels, samples\)"):
        plotting.waveform(torch.zeros(shape), sample_rate=RATE)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ParameterError, match="at least 1"):
        plotting.compare({}, sample_rate=RATE)
