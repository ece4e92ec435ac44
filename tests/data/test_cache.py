"""Stems that are decoded once, or each time."""

import os
import time

import numpy as np
import pytest
import soundfile

from sonograd.data.audio import read_audio
from sonograd.data.cache import CachedFile, DecodedFile, PcmFile, open_stems
from sonograd.data.layouts import StemFile
from sonograd.data.resample import resample_audio
from sonograd.data.tracks import StemAudio
from sonograd.errors import AudioError

RATE = 8000


@pytest.fixture
def stems(tmp_path, rng):
    found = []
    for number in range(4):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, rng.uniform(-0.5, 0.5, (20_000, 2)), RATE, subtype="PCM_16")
        found.append(StemFile(path))
    return found


def _kinds(opened):
    return [type(item) for item in opened]


def test_cache_is_bounded(stems, tmp_path):
    folder, size = tmp_path / "cache", 80_000 / 1e9
    said = []
    opened = open_stems(stems, RATE, folder=folder, limit_gb=2.5 * size, on_message=said.append)
    assert _kinds(opened) == [CachedFile, CachedFile, DecodedFile, DecodedFile]
    assert len(list(folder.rglob("*.wav"))) == 2
    assert said[0].startswith("decoding 2 stems once")
    # What others used lately stays.
    opened = open_stems(stems[2:], RATE, folder=folder, limit_gb=2.5 * size)
    assert _kinds(opened) == [DecodedFile, DecodedFile]
    for path in folder.rglob("*.wav"):
        os.utime(path, (0, time.time() - 3 * 86400))
    open_stems(stems[:1], RATE, folder=folder, limit_gb=2.5 * size)  # uses one of them
    opened = open_stems(stems[2:], RATE, folder=folder, limit_gb=2.5 * size)
    assert _kinds(opened) == [CachedFile, DecodedFile]
    assert len(list(folder.rglob("*.wav"))) == 2


def test_no_cache(stems, tmp_path):
    opened = open_stems(stems, RATE, folder=tmp_path / "cache", limit_gb=0)
    assert _kinds(opened) == [DecodedFile] * 4
    assert not (tmp_path / "cache").exists()


def test_both_ways_read_the_same(stems, tmp_path):
    (cached,) = open_stems(stems[:1], RATE, folder=tmp_path / "cache")
    (decoded,) = open_stems(stems[:1], RATE, limit_gb=0)
    whole = read_audio(stems[0].path)[0].numpy()
    for start, count in ((0, 100), (777, 5000), (19_990, 50), (30_000, 10)):
        expected = whole[:, start : start + count]
        np.testing.assert_array_equal(cached.read_audio(start, count), expected)
        np.testing.assert_array_equal(decoded.read_audio(start, count), expected)


@pytest.mark.parametrize("rate", [11025, 16000, 7999])
def test_ranges_of_resampled_files_are_those_of_the_whole(stems, rate):
    (decoded,) = open_stems(stems[:1], rate, limit_gb=0)
    whole = resample_audio(read_audio(stems[0].path)[0], RATE, rate).numpy()
    assert decoded.samples == whole.shape[-1]
    last = decoded.samples
    for start, count in ((0, 1000), (1, 10), (9_999, 3000), (last - 500, 500), (last - 9, 99)):
        found = decoded.read_audio(start, count)
        np.testing.assert_allclose(found, whole[:, start : start + count], atol=2e-6)


def test_vanished_files_are_decoded(stems, tmp_path):
    (cached,) = open_stems(stems[:1], RATE, folder=tmp_path / "cache")
    expected = cached.read_audio(100, 50)
    for path in (tmp_path / "cache").rglob("*.wav"):
        path.unlink()
    np.testing.assert_array_equal(cached.read_audio(100, 50), expected)


def test_errors_stand_where_the_stem_would(stems, tmp_path, rng):
    stems[1].path.write_bytes(b"nothing")
    wav = tmp_path / "a.wav"
    soundfile.write(wav, rng.uniform(-1, 1, (100, 1)), RATE, subtype="PCM_16")
    files = [*stems[:2], StemFile(tmp_path / "missing.flac"), StemFile(wav)]
    opened = open_stems(files, RATE, folder=tmp_path / "cache")
    assert _kinds(opened) == [CachedFile, AudioError, AudioError, PcmFile]


def test_files_of_one_stem_are_added(stems, tmp_path, rng):
    mono = tmp_path / "mono.wav"
    soundfile.write(mono, rng.uniform(-0.5, 0.5, 30_000), RATE, subtype="PCM_16")
    stem = StemFile(stems[0].path, 0, (stems[1].path, mono))
    with StemAudio(stem) as audio:
        assert (audio.samples, audio.channels) == (30_000, 2)
        parts = [read_audio(path)[0] for path in stem.paths]
        expected = parts[2].expand(2, -1).clone()
        expected[:, :20_000] += parts[0] + parts[1]
        np.testing.assert_allclose(audio.read(), expected, atol=1e-6)
        np.testing.assert_allclose(audio.read(19_000, 2000), expected[:, 19_000:21_000], atol=1e-6)
        assert sum(block.shape[-1] for block in audio.blocks(7000)) == 30_000
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros(10), 2 * RATE)
    with pytest.raises(AudioError, match="files of one stem must agree"):
        StemAudio(StemFile(mono, 0, (other,)))
