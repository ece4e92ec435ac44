import math

import pytest
import torch

from sonograd.data.songs import average_statistics, stem_statistics
from sonograd.data.songs.statistics import BANDS_HZ
from sonograd.errors import ParameterError, ShapeError


def test_statistics_of_a_tone_with_silence():
    time = torch.arange(16000, dtype=torch.float64) / 8000
    tone = 0.5 * torch.sin(2 * math.pi * 300 * time)
    tone[8000:] = 0
    found = stem_statistics(torch.stack((tone, tone)), sample_rate=8000)
    assert found.level_db == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.05)
    assert found.crest_db == pytest.approx(3.01, abs=0.05)
    assert found.silence == pytest.approx(0.5)
    assert found.width_db == -100
    assert found.bands_db[BANDS_HZ.index(250)] == pytest.approx(0.0, abs=0.1)


def test_onsets_and_pitch_of_notes():
    rate = 16000
    time = torch.arange(4 * rate, dtype=torch.float64) / rate
    notes = [220.0, 247.0, 262.0, 294.0, 330.0, 349.0, 392.0, 440.0]
    melody = torch.zeros(4 * rate, dtype=torch.float64)
    for index, hz in enumerate(notes):
        part = slice(index * rate // 2, index * rate // 2 + rate * 2 // 5)
        melody[part] = sum(torch.sin(2 * math.pi * k * hz * time[part]) / k for k in range(1, 6))
    melody *= (1 - 2.6 * (time % 0.5)).clamp_min(0)  # no click at the end of a note
    found = stem_statistics(torch.stack((melody, melody)), sample_rate=rate)
    assert found.onsets_hz == pytest.approx(7 / 4, abs=0.05)  # the first is there from the start
    assert found.periodicity > 0.95
    low, middle, high = found.pitch_hz
    assert low == pytest.approx(235, rel=0.07)
    assert middle == pytest.approx(310, rel=0.1)
    assert high == pytest.approx(440, rel=0.07)


def test_noise_has_no_pitch():
    noise = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    found = stem_statistics(noise, sample_rate=16000)
    assert found.periodicity < 0.5
    assert all(math.isnan(hz) for hz in average_statistics([found]).pitch_hz)


def test_silence_is_silent_and_counts_only_as_silence():
    silent = stem_statistics(torch.zeros(2, 100), sample_rate=8000)
    assert silent.silence == 1
    noise = torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    loud = stem_statistics(noise, sample_rate=8000)
    both = average_statistics([silent, loud])
    assert both.level_db == loud.level_db
    assert both.silence == 0.5
    assert loud.width_db == pytest.approx(0.0, abs=0.5)


def test_bad_input():
    with pytest.raises(ShapeError):
        stem_statistics(torch.zeros(100), sample_rate=8000)
    with pytest.raises(ParameterError, match="at least one"):
        average_statistics([])
