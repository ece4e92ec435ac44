"""Options of ``separate`` that a model cannot follow."""

import pytest

from sonograd.config import OpenUnmixConfig
from sonograd.errors import ConfigError
from sonograd.jobs import separate_files
from sonograd.separators import OpenUnmix


@pytest.mark.parametrize("option", [{"overlap": 0.5}, {"padding": 16}])
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
