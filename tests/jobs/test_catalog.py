"""Which songs are meant, and where their stems go."""

import pytest

from sonograd.jobs.catalog import RECORD_NAME, find_songs

RECORD = '{"settings": {"stems": ["vocals", "drums"], "residual": true, "format": "flac"}}'


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path

    return make


def places(audio, root):
    songs, failures = find_songs(audio, root / "out")
    return [song.folder.relative_to(root / "out").as_posix() for song in songs], failures


def test_a_folder_is_mirrored(tree):
    root = tree("music/b.mp3", "music/x/a.flac", "music/x/notes.txt", "music/.hidden/c.wav")
    assert places([root / "music"], root) == (["b", "x/a"], [])


def test_a_file_goes_straight_below_the_results(tree):
    root = tree("music/x/a.flac")
    assert places(["music/x/a.flac"], root) == (["a"], [])


def test_equal_names_keep_their_endings(tree):
    root = tree("music/a.mp3", "music/A.wav", "music/b.wav")
    assert places(["music"], root) == (["A.wav", "a.mp3", "b"], [])


def test_equal_files_of_two_folders_are_numbered(tree):
    root = tree("one/a.mp3", "two/a.mp3")
    assert places(["one", "two"], root) == (["a.mp3", "a.mp3 (2)"], [])


def test_a_song_is_taken_once(tree):
    root = tree("music/a.mp3")
    assert places(["music/a.mp3", "music", root / "music" / "a.mp3"], root) == (["a"], [])


def test_dots_in_names_stay(tree):
    root = tree("music/01. Intro.mp3", "music/song.stem.mp4", "music/no ending.WAV")
    assert places(["music"], root)[0] == ["01. Intro", "no ending", "song"]


def test_earlier_results_are_no_songs(tree):
    root = tree("music/a.mp3", "music/a/vocals.flac", "music/a/residual.flac")
    (root / "music" / "a" / RECORD_NAME).write_text(RECORD)
    assert places(["music"], root) == (["a"], [])
    songs, failures = find_songs(["music/a"], root)
    assert songs == []
    assert "no audio in this folder, apart from earlier results" in failures[0].message


def test_other_audio_beside_results_is_taken(tree):
    root = tree("music/a/vocals.flac", "music/a/vocals.wav", "music/a/mine.flac")
    (root / "music" / "a" / RECORD_NAME).write_text(RECORD)
    assert places(["music"], root) == (["a/mine", "a/vocals"], [])


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"settings": {"format": [], "stems": 1}}'])
def test_what_is_no_record_hides_nothing(tree, text):
    root = tree("music/a/vocals.flac")
    (root / "music" / "a" / RECORD_NAME).write_text(text)
    assert places(["music"], root) == (["a/vocals"], [])


def test_wrong_arguments_are_listed_and_others_go_on(tree):
    root = tree("music/a.mp3", "empty/notes.txt")
    found, failures = places(["nope.wav", "music", "empty"], root)
    assert found == ["a"]
    assert [str(failure.source) for failure in failures] == ["nope.wav", "empty"]
    for failure, text in zip(failures, ("no such file", "no audio in this folder"), strict=True):
        assert str(failure.source) in failure.message
        assert text in failure.message
        assert "\n" not in failure.message
