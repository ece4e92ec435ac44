"""Every format of FORMATS: write, read, seek, lengths, channels, tags."""

import struct
import sys
import zlib
from subprocess import run

import numpy as np
import pytest
import soundfile
import torch

from sonograd.data import FORMATS, AudioFile, check_format, read_audio, read_info, write_audio
from sonograd.data.formats import READ_SUFFIXES, format_from_path
from sonograd.errors import ParameterError

NAMES = sorted(FORMATS)
# Signal to noise ratio that a lossy codec reaches at its default bit rate.
LOSSY_DB = {"ogg": 20.0, "opus": 12.0, "mp3": 20.0, "m4a": 20.0}


def sample_rate_of(name):
    rates = FORMATS[name].sample_rates
    return 22050 if not rates or 22050 in rates else rates[0]


def song(channels, samples, sample_rate):
    """Return notes with attacks and pauses, every channel another pitch."""
    t = torch.arange(samples, dtype=torch.float64) / sample_rate
    pitches = 220.0 * 1.5 ** torch.arange(channels, dtype=torch.float64)[:, None]
    envelope = torch.exp(-6.0 * ((3.0 * t) % 1.0)) * ((t % 1.7) < 1.4)
    return (0.4 * envelope * torch.sin(2 * torch.pi * pitches * t)).float()


def png():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\xff\0\0\0\xff\0" * 2)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


def written(folder, name, samples, channels, **options):
    path = folder / f"{name} {samples} {channels} ♪ ü:%d{FORMATS[name].suffix}"
    if not path.exists() or options:
        audio = song(channels, samples, sample_rate_of(name))
        write_audio(path, audio, sample_rate_of(name), format=name, overwrite=True, **options)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_what_is_written_is_read(folder, name, channels):
    if channels > FORMATS[name].max_channels:
        pytest.skip("the format cannot hold so many channels")
    samples = 30_011
    path = written(folder, name, samples, channels)
    expected = song(channels, samples, sample_rate_of(name))
    got, sample_rate = read_audio(path)
    assert sample_rate == sample_rate_of(name)
    assert got.shape == expected.shape
    assert got.dtype == torch.float32
    if FORMATS[name].lossy:
        noise = (got - expected).square().sum(-1)
        ratios_db = 10 * torch.log10(expected.square().sum(-1) / noise)
        # In 5.1, the fourth channel carries only bass: its tone may be lost.
        ratios_db = ratios_db[[c for c in range(channels) if c != 3]]
        assert ratios_db.min() > LOSSY_DB[name] - (8.0 if channels == 6 else 0.0)
    else:
        step = {"16": 2.0**-15, "24": 2.0**-23, "32f": 0.0}[FORMATS[name].default_bits]
        assert (got - expected).abs().max() <= step / 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("samples", [0, 1, 46, 575, 1190, 4097])
def test_lengths_are_kept(folder, name, samples):
    path = written(folder, name, samples, 1)
    expected = max(samples, FORMATS[name].min_samples)
    info = read_info(path)
    assert info.samples == expected
    assert read_audio(path)[0].shape == (1, expected)
    with AudioFile(path) as file:
        assert file.read(expected).shape == (1, 0)
        assert file.read(max(0, expected - 1), 5).shape == (1, min(1, expected))
        assert sum(block.shape[-1] for block in file.blocks(1000)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_any_range_equals_that_range_of_the_whole(folder, name):
    sample_rate = sample_rate_of(name)
    samples = 8 * sample_rate + 137
    path = written(folder, name, samples, 2)
    whole, _ = read_audio(path)
    assert whole.shape == (2, samples)
    random = np.random.default_rng(7).integers(0, samples, 12)
    starts = [0, 1, samples // 2, samples - 1, samples - 700, samples - sample_rate, *random, 0]
    with AudioFile(path) as file:
        for start in map(int, starts):
            got = file.read(start, 3000)
            assert torch.equal(got, whole[:, start : start + 3000]), start
        blocks = list(file.blocks(9973, start=4321, stop=samples - 99))
    assert all(block.shape[-1] == 9973 for block in blocks[:-1])
    assert torch.equal(torch.cat(blocks, dim=-1), whole[:, 4321:-99])


def test_long_vorbis_is_as_exact_as_short(folder):
    samples = 1_200_000
    path = folder / "long.ogg"
    noise = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    write_audio(path, noise, 8000, bitrate_kbps=64)
    whole, _ = read_audio(path)
    assert whole.shape == (1, samples)
    with AudioFile(path) as file:
        # The last page, entered from behind, is where time stamps are hardest to get right.
        for start in (0, samples - 1, samples - 777, 12_345, samples // 2, samples - 60_000):
            assert torch.equal(file.read(start, 3000), whole[:, start : start + 3000]), start


@pytest.mark.parametrize("decoder", ["libsndfile", "FFmpeg"])
@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
def test_vorbis_keeps_the_order_of_channels(tmp_path, monkeypatch, channels, decoder):
    if decoder == "FFmpeg":
        monkeypatch.setattr("sonograd.data.readers._SHORT_VORBIS", 0)
    samples = 40_000
    t = torch.arange(samples) / 8000
    # The channel for bass, wherever the layout has it, holds what is below 120 Hz.
    pitches = torch.tensor([300.0, 500, 700, 70, 900, 1100, 1300, 1500][:channels])
    if channels == 5:
        pitches[3] = 1700.0
    write_audio(tmp_path / "a.ogg", 0.3 * torch.sin(2 * torch.pi * pitches[:, None] * t), 8000)
    got, _ = read_audio(tmp_path / "a.ogg")
    peaks = torch.fft.rfft(got[:, :16_000], n=16_000).abs().argmax(-1) / 2
    assert torch.allclose(peaks, pitches, atol=1.0)


TAGS = {"title": "Tïtle ♪", "artist": "Björk", "album": "B", "date": "2020", "genre": "Rock"}
# libsndfile writes these to AIFF; it has no others there.
HELD = {"aiff": {"title", "artist"}}


@pytest.mark.parametrize("name", NAMES)
def test_tags_and_cover(folder, name):
    path = written(folder, name, 2000, 1, tags={**TAGS, "track": "3"}, cover=png())
    info = read_info(path)
    if FORMATS[name].tags:
        kept = HELD.get(name, {*TAGS, "track"})
        assert dict(info.tags) == {k: v for k, v in {**TAGS, "track": "3"}.items() if k in kept}
    else:
        assert not info.tags
    assert info.cover == (png() if FORMATS[name].cover else None)
    assert info.samples == 2000


@pytest.mark.parametrize("name", ["wav", "rf64", "aiff", "flac", "ogg", "opus", "mp3"])
def test_another_library_reads_the_tags_and_the_length(folder, name):
    path = written(folder, name, 2000, 1, tags=TAGS, cover=png())
    with soundfile.SoundFile(path) as file:
        assert file.frames == 2000
        assert file.title == TAGS["title"]
        assert file.artist == TAGS["artist"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", ["16", "24", "32f"])
def test_check_format_tells_what_can_be_written(tmp_path, name, bits):
    audio = song(1, 500, sample_rate_of(name))
    path = tmp_path / f"a{FORMATS[name].suffix}"
    try:
        check_format(name, sample_rate=sample_rate_of(name), channels=1, bits=bits)
    except ParameterError:
        assert bits not in FORMATS[name].bits
        assert not FORMATS[name].lossy
        return
    write_audio(path, audio, sample_rate_of(name), format=name, bits=bits)
    if not FORMATS[name].lossy:
        step = {"16": 2.0**-15, "24": 2.0**-23, "32f": 0.0}[bits]
        assert (read_audio(path)[0] - audio).abs().max() <= step / 2


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_rate_that_is_promised_works(tmp_path, name):
    rates = FORMATS[name].sample_rates or (8000, 11025, 96000, 192000)
    for sample_rate in rates:
        path = tmp_path / f"{sample_rate}{FORMATS[name].suffix}"
        write_audio(path, song(1, 3001, sample_rate), sample_rate, format=name)
        info = read_info(path)
        assert (info.sample_rate, info.samples) == (sample_rate, 3001)


@pytest.mark.parametrize("name", [n for n in NAMES if FORMATS[n].bitrates_kbps])
def test_the_bit_rate_changes_the_size(tmp_path, name):
    noise = 0.1 * torch.randn(2, 96_000, generator=torch.Generator().manual_seed(0))
    low, high = FORMATS[name].bitrates_kbps
    sizes = []
    for kbps in (low, high):
        path = tmp_path / f"{kbps}{FORMATS[name].suffix}"
        write_audio(path, noise, 48_000, format=name, bitrate_kbps=kbps)
        sizes.append(path.stat().st_size)
    assert 1.8 * sizes[0] < sizes[1]
    if name == "mp3":
        assert sizes[1] == pytest.approx(320_000 / 8 * 2, rel=0.05)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"name": "flca"}, "Did you mean 'flac'"),
        ({"name": "mp3", "channels": 6}, "holds 1 to 2 channels, got 6; choose flac or wav"),
        ({"name": "wav", "channels": 0}, "got 0"),
        ({"name": "mp3", "sample_rate": 96_000}, "Resample to 48000 Hz"),
        ({"name": "opus", "sample_rate": 44_100}, "expected 48000. Resample to 48000 Hz"),
        ({"name": "mp3", "sample_rate": 7}, "expected one of 8000, 11025"),
        ({"name": "flac", "bits": "32f"}, "expected one of 16, 24, or choose wav"),
        ({"name": "mp3", "bitrate_kbps": 64}, "mp3 takes 96 to 320"),
        ({"name": "wav", "sample_rate": 0}, "got 0"),
    ],
)
def test_check_format_refuses_with_a_remedy(options, match):
    with pytest.raises(ParameterError, match=match):
        check_format(**{"sample_rate": 44_100, "channels": 2, **options})


def test_the_ending_chooses_the_format():
    assert format_from_path("x.M4A") == "m4a"
    for item in FORMATS.values():
        assert item.suffix in READ_SUFFIXES
        assert format_from_path(f"a{item.suffix}") in {item.name, "m4a"}
    with pytest.raises(ParameterError, match=r"has the ending '.xyz'; audio can be written as"):
        format_from_path("a.xyz")
    with pytest.raises(ParameterError, match="has no ending"):
        format_from_path("a")


def test_formats_need_no_torch():
    code = "import sys, sonograd.data.formats; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
