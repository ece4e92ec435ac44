"""Finding songs, whatever their layout, and reading their stems."""

import numpy as np
import pytest
import soundfile
import torch

from sonograd.data.cache import cached_stem, open_pcm
from sonograd.data.layouts import StemFile, find_songs
from sonograd.data.stems import StemFolder
from sonograd.errors import AudioError, DatasetError

RATE = 8000


def _write(path, audio, *, rate=RATE, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(audio).T, rate, subtype=subtype)


def _noise(rng, channels=2, samples=1000):
    return np.round(rng.uniform(-0.2, 0.2, (channels, samples)) * 32768) / 32768


@pytest.fixture
def hq(tmp_path, rng):
    stems = {}
    for song in ("b", "a"):
        for stem in ("drums", "vocals", "guitar"):
            stems[song, stem] = _noise(rng)
            _write(tmp_path / "train" / song / f"{stem}.wav", stems[song, stem])
        mix = sum(stems[song, stem] for stem in ("drums", "vocals", "guitar"))
        _write(tmp_path / "train" / song / "mixture.wav", mix)
    return tmp_path, stems


def test_song_folders(hq):
    root, _ = hq
    songs = find_songs(root, "train")
    assert [song.name for song in songs] == ["a", "b"]
    assert set(songs[0].stems) == {"drums", "vocals", "guitar"}
    assert songs[0].mixture == StemFile(root / "train" / "a" / "mixture.wav")


def test_stem_folders(tmp_path, rng):
    for stem in ("drums", "vocals"):
        for song in ("x", "y"):
            _write(tmp_path / stem / f"{song}.flac", _noise(rng))
    songs = find_songs(tmp_path)
    assert [song.name for song in songs] == ["x", "y"]
    assert songs[1].stems["vocals"].path == tmp_path / "vocals" / "y.flac"


def test_stem_files(tmp_path):
    (tmp_path / "song.stem.mp4").touch()
    (song,) = find_songs(tmp_path)
    assert song.name == "song"
    assert {name: stem.stream for name, stem in song.stems.items()} == {
        "drums": 1,
        "bass": 2,
        "other": 3,
        "vocals": 4,
    }


def test_empty_folders_are_named(tmp_path, hq):
    with pytest.raises(DatasetError, match=r"no songs.*train: is that meant"):
        find_songs(hq[0])
    with pytest.raises(DatasetError, match="no such folder"):
        find_songs(tmp_path / "nothing")


def test_stems_are_read_exactly(hq):
    root, stems = hq
    folder = StemFolder(root, ["vocals", "drums"], split="train", sample_rate=RATE)
    assert folder.stems == ("vocals", "drums", "rest")
    example = folder[0]
    assert example.name == "a"
    for index, stem in enumerate(("vocals", "drums", "guitar")):
        np.testing.assert_array_equal(example.stems[index], stems["a", stem].astype(np.float32))
    part = folder.read(1, 0, 990, 20)
    np.testing.assert_array_equal(part[:, :10], stems["b", "vocals"][:, 990:].astype(np.float32))
    assert not part[:, 10:].any()
    with pytest.raises(IndexError):
        folder[2]


def test_rest_is_the_mixture_minus_the_stems(tmp_path, rng):
    vocals, mix = _noise(rng), _noise(rng)
    _write(tmp_path / "s" / "vocals.wav", vocals)
    _write(tmp_path / "s" / "mixture.wav", mix)
    folder = StemFolder(tmp_path, ["vocals"], sample_rate=RATE, complete=False)
    np.testing.assert_allclose(folder[0].stems[1], mix - vocals, atol=1e-6)


def test_no_rest_is_an_error(tmp_path, rng):
    for stem in ("vocals", "drums"):
        _write(tmp_path / "s" / f"{stem}.wav", _noise(rng))
    with pytest.raises(DatasetError, match="nothing to separate from"):
        StemFolder(tmp_path, ["vocals", "drums"], sample_rate=RATE, complete=False)


def test_missing_stems_are_all_named(hq):
    with pytest.raises(DatasetError, match=r"2 of 2 songs lack stems: a \(bass\); b \(bass\)"):
        StemFolder(hq[0], ["vocals", "bass"], split="train", sample_rate=RATE)


@pytest.mark.parametrize("channels", [1, 2])
def test_channels_are_converted(tmp_path, rng, channels):
    other = 3 - channels
    audio = _noise(rng, other)
    _write(tmp_path / "s" / "vocals.wav", audio)
    _write(tmp_path / "s" / "drums.wav", audio)
    folder = StemFolder(tmp_path, ["vocals", "drums"], sample_rate=RATE, channels=channels)
    expected = np.broadcast_to(audio.mean(0, keepdims=True), (channels, 1000))
    np.testing.assert_allclose(folder[0].stems[0], expected, atol=1e-6)


def test_16_bit_wav_is_read_where_it_lies(tmp_path, rng):
    _write(tmp_path / "a.wav", _noise(rng))
    found = cached_stem(StemFile(tmp_path / "a.wav"), RATE, folder=tmp_path / "cache")
    assert found.path == tmp_path / "a.wav"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_24"), ("flac", "PCM_16")])
def test_other_formats_are_converted_once(tmp_path, rng, suffix, subtype):
    audio = _noise(rng)
    path = tmp_path / f"a.{suffix}"
    _write(path, audio, subtype=subtype)
    found = cached_stem(StemFile(path), RATE, folder=tmp_path / "cache")
    np.testing.assert_array_equal(found.read(0, 2000), np.round(audio.T * 32768))
    stamp = found.path.stat().st_ino
    assert cached_stem(StemFile(path), RATE, folder=tmp_path / "cache") == found
    assert found.path.stat().st_ino == stamp
    assert [p.suffix for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [".wav"]


def test_rate_is_converted(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    _write(tmp_path / "a.wav", np.stack([tone, tone]), rate=16000)
    found = cached_stem(StemFile(tmp_path / "a.wav"), RATE, folder=tmp_path / "cache")
    assert (found.samples, found.sample_rate) == (8000, RATE)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    np.testing.assert_allclose(found.read(1000, 6000)[:, 0] / 32768, expected[1000:7000], atol=1e-3)


def test_numbers_that_are_none_are_refused(tmp_path):
    audio = torch.zeros(2, 100).numpy()
    audio[0, 7] = np.nan
    _write(tmp_path / "a.wav", audio, subtype="FLOAT")
    with pytest.raises(AudioError, match="sample 7"):
        cached_stem(StemFile(tmp_path / "a.wav"), RATE, folder=tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_damaged_wav_is_not_mapped(tmp_path, rng):
    path = tmp_path / "a.wav"
    _write(path, _noise(rng))
    whole = path.read_bytes()
    for length in (0, 11, 30, 43, len(whole) - 2):
        path.write_bytes(whole[:length])
        assert open_pcm(path) is None
    assert open_pcm(tmp_path / "missing.wav") is None
