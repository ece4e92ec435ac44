"""Every layout gives the same songs."""

import csv

import numpy as np
import pytest
import soundfile

from sonograd.data.layouts import SPLITS, find_songs, find_splits, to_targets
from sonograd.data.splits import MUSDB_VALIDATION, choose_held_out
from sonograd.data.stems import StemFolder
from sonograd.errors import DatasetError

av = pytest.importorskip("av")
RATE = 44100
NAMES = ("mixture", "drums", "bass", "other", "vocals")
SONGS = ("a", "b")


def _audio(song):
    rng = np.random.default_rng(ord(song))
    time = np.arange(RATE // 2) / RATE
    tones = [0.15 * np.sin(2 * np.pi * rng.uniform(100, 900) * time) for _ in NAMES[1:]]
    stems = {name: np.stack((x, 0.5 * x)) for name, x in zip(NAMES[1:], tones, strict=True)}
    return {"mixture": sum(stems.values()), **stems}


def _wav(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.T, RATE, subtype="PCM_16")


def _stem_file(path, audio):
    """Write a file as the authors of MUSDB18 did, of five AAC streams."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        streams = [container.add_stream("aac", rate=RATE, layout="stereo") for _ in NAMES]
        for stream in streams:
            stream.bit_rate = 256_000
        for start in range(0, audio["mixture"].shape[-1], 1024):
            for stream, name in zip(streams, NAMES, strict=True):
                block = np.ascontiguousarray(audio[name][:, start : start + 1024], np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))


def _musdb(root):
    for song in SONGS:
        _stem_file(root / f"{song}.stem.mp4", _audio(song))


def _hq(root):
    for song in SONGS:
        for name, audio in _audio(song).items():
            _wav(root / song / f"{name}.wav", audio)


def _per_stem(root):
    for song in SONGS:
        for name, audio in _audio(song).items():
            _wav(root / name / f"{song}.wav", audio)


def _moises(root):
    for song in SONGS:
        stems = _audio(song)
        half = np.round(stems["drums"] * 2**14) / 2**15
        _wav(root / song / "drums" / "kick.wav", half)
        _wav(root / song / "percussion" / "shaker.wav", stems["drums"] - half)
        _wav(root / song / "bass" / "bass.wav", stems["bass"])
        _wav(root / song / "guitar" / "g.wav", 0.25 * stems["other"])
        _wav(root / song / "other keys" / "1.wav", 0.5 * stems["other"])
        _wav(root / song / "other keys" / "2.wav", 0.25 * stems["other"])
        _wav(root / song / "vocals" / "lead.wav", stems["vocals"])
        (root / song / "data.json").write_text("{}")


def _list(root):
    _hq(root / "files")
    with (root / "songs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *NAMES])
        for song in SONGS:
            writer.writerow([song, *(f"files/{song}/{name}.wav" for name in NAMES)])
    return root / "songs.csv"


LAYOUTS = {
    "MUSDB18": (_musdb, 0.05),
    "MUSDB18-HQ": (_hq, 1e-4),
    "folder per stem": (_per_stem, 1e-4),
    "MoisesDB": (_moises, 1e-4),
    "list": (_list, 1e-4),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(tmp_path, layout):
    write, tolerance = LAYOUTS[layout]
    (tmp_path / "data").mkdir()
    root = write(tmp_path / "data") or tmp_path / "data"
    stems = ("vocals", "drums", "bass", "other")
    folder = StemFolder(root, stems, cache=tmp_path / "cache")
    assert folder.names == SONGS
    assert folder.stems == stems
    for number, song in enumerate(SONGS):
        audio = _audio(song)
        expected = np.stack([audio[name] for name in stems])
        found = folder[number].stems.numpy()[..., : expected.shape[-1]]
        inside = slice(1100, -1100)  # AAC blurs where sound begins and ends at once
        assert np.abs(found - expected)[..., inside].max() < tolerance
        difference = (found.sum(0) - audio["mixture"])[..., inside]
        assert np.abs(difference).max() < 4 * tolerance
        part = folder.read(number, 1, 5000, 3000)
        np.testing.assert_allclose(part, found[1][:, 5000:8000], atol=1e-6)
    direct = StemFolder(root, stems, cache_gb=0.0)
    np.testing.assert_allclose(direct[1].stems, folder[1].stems, atol=4e-5)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "list"])
@pytest.mark.parametrize("valid", ["valid", "val"])
def test_splits(tmp_path, layout, valid):
    for part in ("train", valid):
        (tmp_path / part).mkdir()
        LAYOUTS[layout][0](tmp_path / part)
    (tmp_path / "readme").mkdir()
    assert find_splits(tmp_path) == ("train", valid)
    assert [song.name for song in find_songs(tmp_path, valid)] == list(SONGS)
    with pytest.raises(DatasetError, match=r"no songs.*train: is that meant"):
        find_songs(tmp_path)


def test_rest_of_multitrack_songs(tmp_path):
    _moises(tmp_path)
    folder = StemFolder(tmp_path, ("guitar",), cache=tmp_path / "cache")
    assert folder.stems == ("guitar", "rest")
    audio = _audio("a")
    np.testing.assert_allclose(folder[0].stems[0], 0.25 * audio["other"], atol=1e-4)
    np.testing.assert_allclose(folder[0].stems.sum(0), audio["mixture"], atol=2e-4)


def test_multitrack_songs_may_lack_stems(tmp_path):
    _moises(tmp_path)
    for path in (tmp_path / "a" / "bass").iterdir():
        path.unlink()
    folder = StemFolder(tmp_path, ("bass", "vocals"), cache=tmp_path / "cache")
    assert not folder[0].stems[0].any()
    assert folder[1].stems[0].any()
    with pytest.raises(DatasetError, match=r"all \(piano\)"):
        StemFolder(tmp_path, ("bass", "piano"))


def test_groups_do_not_take_what_is_asked_for(tmp_path):
    _moises(tmp_path)
    (song, _) = find_songs(tmp_path)
    assert set(song.stems) == {"drums", "percussion", "bass", "guitar", "other_keys", "vocals"}
    grouped = to_targets(song, ("drums", "percussion"))
    assert grouped.stems == song.stems
    grouped = to_targets(song, ("percussion", "other"))
    assert set(grouped.stems) == {"percussion", "other"}
    assert len(grouped.stems["other"].paths) == 6
    grouped = to_targets(song, ("drums",))
    assert [path.name for path in grouped.stems["drums"].paths] == ["kick.wav", "shaker.wav"]


def test_plain_files_are_mixtures(tmp_path):
    _wav(tmp_path / "song.wav", _audio("a")["mixture"])
    (tmp_path / "cover.txt").touch()
    (song,) = find_songs(tmp_path)
    assert (song.name, song.stems, song.mixture.path.name) == ("song", {}, "song.wav")
    with pytest.raises(DatasetError, match=r"song \(vocals\).*has none"):
        StemFolder(tmp_path, ("vocals",))


def test_list_of_splits(tmp_path):
    path = tmp_path / "songs.csv"
    path.write_text("name,split,vocals,drums\nx,train,x.wav,y.wav; z.wav\ny,val,x.wav,\n")
    assert find_splits(path) == ("train", "val")
    (song,) = find_songs(path, "train")
    assert [file.name for file in song.stems["drums"].paths] == ["y.wav", "z.wav"]
    assert len(find_songs(path)) == 2
    with pytest.raises(DatasetError, match="lists no songs whose split is test"):
        find_songs(path, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title,vocals\n", "has the columns title, vocals; expected name"),
        ("name,split\n", "expected name, perhaps split, and one for each stem"),
        ("", "has the columns none"),
        ("name,vocals\na\n", "line 2 has not as many values"),
        ("name,vocals\na,b,c\n", "line 2 has not as many values"),
        ("name,vocals\na,b\na,c\n", "lists 'a' twice"),
        ("name,vocals\n", "lists no songs"),
    ],
)
def test_bad_lists(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        find_songs(tmp_path / "x.csv")


def test_no_list_at_all(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="cannot be read as a list"):
        find_songs(tmp_path / "x.csv")


def test_held_out_songs_of_musdb():
    names = [*sorted(MUSDB_VALIDATION), *map(str, range(86))]
    assert choose_held_out(names, 14) == choose_held_out(names, 14, seed=5) == MUSDB_VALIDATION
    assert len(choose_held_out(names, 5)) == 5
    assert len(MUSDB_VALIDATION) == 14


def test_held_out_songs_are_seeded():
    names = [str(k) for k in range(100)]
    chosen = choose_held_out(names, 14, seed=1)
    assert len(chosen) == 14
    assert chosen == choose_held_out(names[::-1], 14, seed=1)
    assert chosen != choose_held_out(names, 14, seed=2)
    assert len(chosen & choose_held_out([*names, "new"], 14, seed=1)) >= 13
    assert choose_held_out(names, 0) == set()
    assert len(choose_held_out(names[:3], 14)) == 1
    assert choose_held_out(names[:1], 14) == set()
    assert "val" in SPLITS
