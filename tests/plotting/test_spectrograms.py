"""Pictures of every kind: where tones lie, that blocks do not show, what axes say."""

import math

import numpy as np
import pytest
import torch

from sonograd import plotting
from sonograd.errors import ParameterError
from sonograd.plotting.axes import frequency_marks, time_marks
from sonograd.plotting.spectrograms import KINDS, PictureMaker
from sonograd.plotting.terminal import as_text

RATE = 8000


def tone(hz, seconds=1.0, level=0.5):
    return level * torch.sin(2 * math.pi * hz * torch.arange(int(seconds * RATE)) / RATE)


def picture(x, kind, **options):
    x = x.reshape(-1, x.shape[-1])
    maker = PictureMaker(kind, sample_rate=RATE, samples=x.shape[-1], **options)
    maker.fill(lambda start, stop: x[:, start:stop])
    return maker.picture()


@pytest.mark.parametrize("kind", ["stft", "mel", "cqt", "vqt", "gammatone"])
def test_a_tone_is_loudest_at_its_frequency(kind):
    found = picture(tone(523.25, 2.0), kind)
    row = int(found.values.mean(1).argmax())
    assert float(found.frequencies[row]) == pytest.approx(523.25, rel=0.05)
    assert float(found.values.max()) == pytest.approx(0.0, abs=1e-4)


def test_chroma_names_the_pitch_class():
    found = picture(tone(440.0), "chroma")
    assert dict(frequency_marks(found))[int(found.values.mean(1).argmax()) + 0.5] == "A"
    assert found.values.max() == 1.0


def test_notes_and_hertz_stand_at_their_rows():
    found = picture(tone(523.25, 2.0), "cqt")
    marks = {text: place for place, text in frequency_marks(found)}
    assert marks["C5 · 523 Hz"] == pytest.approx(int(found.values.mean(1).argmax()) + 0.5, abs=0.6)
    assert next(iter(marks)).startswith("C1")


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_do_not_show(kind, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 30_001, generator=rng) * torch.linspace(0, 1, 30_001)
    options = {"n_fft": 1024, "bins_per_octave": 12, "columns": 100}
    whole = picture(x, kind, **options)
    monkeypatch.setattr("sonograd.plotting.spectrograms._BLOCK", 4096)
    pieces = picture(x, kind, **options).values
    # The fast constant-Q transform leaves out what is 60 dB below.
    floor = -40.0 if kind in {"cqt", "vqt"} else -torch.inf
    torch.testing.assert_close(
        pieces.clamp(min=floor), whole.values.clamp(min=floor), atol=0.05, rtol=0
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 500])
def test_silence_and_short_clips_have_a_picture(kind, samples):
    found = picture(torch.zeros(1, samples), kind)
    assert found.values.isfinite().all()
    plotting.spectrogram(torch.zeros(samples), sample_rate=RATE, kind=kind)


def test_every_column_is_the_mean_power_of_its_frames():
    x = torch.cat([tone(1000.0, 8.0), torch.zeros(8 * RATE)])
    found = picture(x, "stft", columns=4)
    assert found.values.shape == (320, 4)
    level = found.values.max(0).values
    assert level[:2].tolist() == pytest.approx([0, 0], abs=0.1)
    assert float(level[3]) == -80.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "wavelet"}, "kind is 'wavelet'; expected one of stft"),
        ({"fmax": 5000.0}, "fmax 5000 Hz; expected"),
        ({"fmin": 900.0, "fmax": 800.0}, "fmin is 900 Hz"),
        ({"n_fft": 2}, "n_fft is 2; expected at least 16"),
        ({"floor_db": 3.0}, "floor_db is 3"),
    ],
)
def test_wrong_options_are_named(options, match):
    with pytest.raises(ParameterError, match=match):
        plotting.spectrogram(torch.zeros(RATE), sample_rate=RATE, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_text_fits_the_terminal(kind):
    lines = as_text(picture(tone(440.0), kind), columns=60, lines=20).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 60


def test_text_shows_a_tone_as_a_line():
    lines = as_text(picture(tone(1000.0), "stft"), columns=60, lines=24).splitlines()
    loudest = [line for line in lines if "@" * 20 in line]
    assert len(loudest) == 1
    assert "\x1b" not in "".join(lines)
    colored = as_text(picture(tone(1000.0), "stft"), columns=60, lines=24, color=True)
    assert "\x1b[38;2;" in colored
    assert "▀" in colored


def test_times_are_even_and_inside():
    for seconds in (0.001, 0.3, 6.0, 75.0, 3700.0, 40_000.0):
        marks = time_marks(seconds)
        assert marks[0] == 0
        assert marks[-1] <= seconds
        assert len(marks) <= 9
        assert np.allclose(np.diff(marks), marks[1] - marks[0]) if len(marks) > 1 else True
