"""Options of ``separate`` that a model cannot follow."""

import pytest

from sonograd.config import OpenUnmixConfig
from sonograd.errors import ConfigError
from sonograd.jobs import separate_files
from sonograd.separators import OpenUnmix


@pytest.mark.parametrize(
    "option", [{"overlap": 0.5}, {"padding": 16}, {"overlap": 0.5, "shifts": 2, "invert": True}]
)
def test_whole_songs_have_no_overlap(use_model, make_song, tmp_path, option):
    use_model(
        OpenUnmix(
            OpenUnmixConfig(
                targets=("vocals",), sample_rate=8000, num_fft=64, hop_length=16, hidden_size=8
            )
        )
    )
    song, _ = make_song(samples=1000)
    with pytest.raises(ConfigError, match="hears a song as a whole, so that nothing overlaps"):
        separate_files("m", [song], save=tmp_path / "out", **option)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("faster", [False, True])
def test_slow_arithmetic_is_said(monkeypatch, use_model, filters, make_song, tmp_path, faster):
    use_model(filters())
    monkeypatch.setattr("sonograd.jobs.separate.bf16_is_faster", lambda _: faster)
    song, _ = make_song()
    told = []
    separate_files("m", [song], save=tmp_path / "out", precision="bf16", on_event=told.append)
    warnings = [event.message for event in told if event.kind == "warning"]
    assert warnings == ([] if faster else ["bf16 is not faster than float32 on this cpu"])


def test_speakers_need_some_overlap(use_model, filters, make_song, tmp_path):
    model = use_model(filters())
    model.interchangeable = True
    song, _ = make_song()
    with pytest.raises(ConfigError, match="overlap: got 0; this model puts the stems of chunks"):
        separate_files("m", [song], save=tmp_path / "out", overlap=0.0)
