import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.separators import (
    CenterExtraction,
    ChunkPlan,
    HarmonicPercussive,
    RepetitionExtraction,
)

CLASSES = [HarmonicPercussive, CenterExtraction, RepetitionExtraction]
RATE = 8000


def tone(seconds, *frequencies_hz):
    t = torch.arange(round(seconds * RATE)) / RATE
    return sum(torch.sin(2 * math.pi * f * t) for f in frequencies_hz) / len(frequencies_hz)


def gain_db(separator, sources):
    """Return by how many dB each stem is nearer to its source than the mix is."""
    mix = sum(sources)
    stems = separator.separate(mix)
    references = torch.stack(list(sources)).flatten(1)
    mixes = mix.flatten().expand_as(references)
    return F.si_sdr(stems.flatten(1), references) - F.si_sdr(mixes, references)


def test_hpss_tells_tones_from_clicks():
    tones = tone(4, 220, 331, 587, 1210).repeat(2, 1) / 2
    clicks = torch.zeros(2, 4 * RATE)
    clicks[:, 1000 :: RATE // 2] = 4
    assert (gain_db(HarmonicPercussive(sample_rate=RATE), (tones, clicks)) > 10).all()


def test_center_tells_what_is_alike_from_what_is_not():
    center = tone(2, 220, 331, 587).repeat(2, 1) / 2
    sides = torch.stack((tone(2, 444, 1333), tone(2, 777, 1999))) / 2
    assert (gain_db(CenterExtraction(sample_rate=RATE), (center, sides)) > 20).all()
    left = torch.stack((torch.randn(2 * RATE) / 10, torch.zeros(2 * RATE)))
    assert (gain_db(CenterExtraction(sample_rate=RATE), (center, left)) > 9).all()


def test_repet_tells_what_happens_once_from_a_loop():
    notes = torch.cat([tone(0.5, f, 2 * f) for f in (220, 330, 440, 275)]).repeat(8)
    voice = torch.zeros_like(notes)
    t = torch.arange(RATE) / RATE
    for begin, f in ((3, 600), (8, 740), (13, 510)):
        sung = torch.sin(2 * math.pi * (f * t + 4 * torch.sin(5 * t)))
        voice[begin * RATE : (begin + 1) * RATE] = sung / 2
    sources = (voice.repeat(2, 1), notes.repeat(2, 1))
    assert (gain_db(RepetitionExtraction(sample_rate=RATE), sources) > 8).all()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("sample_rate", [100, 8000, 44100])
def test_stems_sum_to_the_mix_at_any_rate(cls, channels, sample_rate):
    if cls is CenterExtraction and channels == 6:
        return
    separator = cls(sample_rate=sample_rate, channels=channels)
    mix = torch.randn(2, channels, 5001, dtype=torch.float64)
    stems = separator(mix)
    torch.testing.assert_close(stems.sum(1), mix, rtol=0, atol=1e-12)
    assert (stems != 0).any()


def small_chunks(separator, frames, overlap_frames):
    """Give a separator chunks of a few frames, with the context that it asks for."""
    hop = separator.hop_length
    length = frames * hop
    separator.plan = ChunkPlan(length, length - overlap_frames * hop, separator.plan.context)
    return separator


@given(
    cls=st.sampled_from([HarmonicPercussive, CenterExtraction]),
    frames=st.integers(1, 40),
    overlap=st.floats(0, 0.9),
    samples=st.integers(1, 3000),
    low_hz=st.sampled_from([0, 100]),
)
@settings(max_examples=25)
def test_chunks_equal_the_whole(cls, frames, overlap, samples, low_hz):
    options = {"low_hz": low_hz} if cls is CenterExtraction else {"time_length": 9}
    separator = cls(sample_rate=1000, channels=2, **options)
    small_chunks(separator, frames, int(overlap * frames))
    mix = torch.randn(2, samples, dtype=torch.float64)
    whole = separator(mix[None])[0]
    torch.testing.assert_close(separator.separate(mix), whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.3, 0.3333, 0.77])
@pytest.mark.parametrize("cls", [HarmonicPercussive, CenterExtraction])
def test_chunks_equal_the_whole_for_any_chosen_overlap(cls, overlap):
    separator = cls(sample_rate=1000, channels=2)
    mix = torch.randn(2, 25_000, dtype=torch.float64)
    whole = separator(mix[None])[0]
    stems = separator.separate(mix, overlap=overlap)
    torch.testing.assert_close(stems, whole, rtol=0, atol=1e-11)


@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=5), samples=st.integers(0, 2500))
@settings(max_examples=15)
def test_streams_in_any_blocks_equal_the_whole(sizes, samples):
    mix = torch.randn(2, samples)
    for cls in CLASSES:
        separator = small_chunks(cls(sample_rate=1000), 8, 4)
        stream, parts, begin = separator.stream(), [], 0
        while begin < samples:
            size = sizes[len(parts) % len(sizes)]
            parts.append(stream.push(mix[:, begin : begin + size]))
            begin += size
        parts.append(stream.finish())
        assert torch.equal(torch.cat(parts, dim=-1), separator.separate(mix))


def test_repet_needs_one_chunk_only_for_short_signals():
    separator = RepetitionExtraction(sample_rate=1000)
    mix = torch.randn(2, 9000, dtype=torch.float64)
    # The silence that fills a chunk is like no other frame.
    whole = separator(mix[None])[0]
    torch.testing.assert_close(separator.separate(mix), whole, rtol=0, atol=1e-11)


def test_mono_is_all_center():
    mix = torch.randn(2, 1, 999)
    stems = CenterExtraction(sample_rate=8000, channels=1)(mix)
    torch.testing.assert_close(stems[:, 0], mix, rtol=0, atol=2e-6)
    assert stems[:, 1].abs().max() < 2e-6


def test_center_within_a_range():
    low, high = tone(1, 100), tone(1, 1500)
    mix = (low + high).repeat(2, 1)
    separator = CenterExtraction(sample_rate=RATE, low_hz=500, high_hz=3000)
    center, sides = separator.separate(mix)
    assert (F.si_sdr(center, high.repeat(2, 1)) > 30).all()
    assert (F.si_sdr(sides, low.repeat(2, 1)) > 30).all()


def test_center_of_opposed_and_of_silent_channels_is_nothing():
    wave = tone(1, 300, 500)
    for pair in (torch.stack((wave, -wave)), torch.stack((wave, 0 * wave))):
        center, sides = CenterExtraction(sample_rate=RATE).separate(pair)
        assert center.abs().max() < 2e-6
        torch.testing.assert_close(sides, pair, rtol=0, atol=2e-6)


def test_what_lies_below_the_cutoff_is_background():
    wave = torch.zeros(2, 3 * RATE)
    wave[:, RATE : RATE + 2000] = tone(0.25, 40)
    wave[:, RATE + 6000 : RATE + 8000] = tone(0.25, 900)
    foreground, _ = RepetitionExtraction(sample_rate=RATE, min_similarity=0.5).separate(wave)
    assert foreground[:, :14000].square().sum() < 1e-2 * wave.square().sum()


@pytest.mark.parametrize("cls", CLASSES)
def test_partly_silent_and_loud_and_tiny_signals_stay_finite(cls):
    separator = cls(sample_rate=1000)
    mix = torch.randn(2, 4000)
    mix[:, 1000:3000] = 0
    mix[0, 3500:] = 0
    for scale in (1.0, 1e-30, 1e12):
        stems = separator.separate(scale * mix)
        assert stems.isfinite().all()
        assert stems[..., 1300:2700].abs().max() <= 1e-6 * scale
        torch.testing.assert_close(stems.sum(0) / scale, mix, rtol=0, atol=1e-5)


def test_errors():
    with pytest.raises(ParameterError, match=r"channels is 6;.*Separate pairs of channels"):
        CenterExtraction(channels=6)
    with pytest.raises(ParameterError, match="sample_rate is 0 and channels 2"):
        HarmonicPercussive(sample_rate=0)
    with pytest.raises(ParameterError, match="channels 0"):
        RepetitionExtraction(channels=0)
    with pytest.raises(ParameterError, match="time_length is 4; expected an odd number"):
        HarmonicPercussive(time_length=4)
    with pytest.raises(ParameterError, match="frequency_length is -1"):
        HarmonicPercussive(frequency_length=-1)
    with pytest.raises(ParameterError, match="power is 0"):
        HarmonicPercussive(power=0)
    with pytest.raises(ParameterError, match="power is nan"):
        CenterExtraction(power=float("nan"))
    with pytest.raises(ParameterError, match="low_hz is 300 and high_hz 200"):
        CenterExtraction(low_hz=300, high_hz=200)
    with pytest.raises(ParameterError, match="min_distance_s is 0"):
        RepetitionExtraction(min_distance_s=0)
    with pytest.raises(ParameterError, match="max_similar 0"):
        RepetitionExtraction(max_similar=0)
    with pytest.raises(ShapeError, match=r"mix has shape \(2, 500\); expected \(batch, channels"):
        HarmonicPercussive()(torch.zeros(2, 500))
