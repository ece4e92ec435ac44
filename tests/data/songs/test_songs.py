"""Same seed, same bytes; every genre plays; stems add up; parts are their own."""

import dataclasses

import numpy as np
import pytest
import torch

from sonograd.data.songs import GENRES, STEMS, compose, describe, make_song, render
from sonograd.data.songs.bass import BASSES, bass_patch
from sonograd.data.songs.compose import SOUNDS
from sonograd.data.songs.instruments import INSTRUMENTS, instrument_patch
from sonograd.data.songs.leads import LEADS, lead_patch
from sonograd.data.songs.melody import CONSONANTS, VOWELS
from sonograd.data.songs.score import Note
from sonograd.data.songs.sound import filtered, random_eq
from sonograd.data.songs.voice import draw_singer, sing_line
from sonograd.errors import ParameterError
from sonograd.functional import sosfilt

RATE = 8000


def test_the_same_seed_gives_the_same_song_and_another_seed_another():
    first, again, other = (make_song(seed, seconds=1.5, sample_rate=RATE) for seed in (5, 5, 6))
    assert torch.equal(first.stems, again.stems)
    assert first.description == again.description
    assert not torch.equal(first.stems, other.stems)


@pytest.mark.parametrize("genre", sorted(GENRES))
def test_every_genre_plays(genre):
    song = make_song(3, seconds=2.0, sample_rate=RATE, genre=genre)
    assert song.names == STEMS
    assert song.description["genre"] == genre
    assert song.stems.shape == (4, 2, 2 * RATE)
    assert torch.isfinite(song.stems).all()
    assert 0.3 < song.mixture.abs().max() <= 0.986
    assert song.stems.abs().max() <= 0.986


@pytest.mark.parametrize(
    ("seconds", "rate"), [(0.5, 8000), (0.0001, 8000), (1.0, 11025), (0.7, 48000), (0.51, 96000)]
)
def test_length_and_rate_are_exact(seconds, rate):
    song = make_song(2, seconds=seconds, sample_rate=rate)
    assert song.stems.shape == (4, 2, max(round(seconds * rate), 1))
    assert torch.isfinite(song.stems).all()


def test_one_part_changes_without_the_others():
    score = compose(11, seconds=4.0, genre="rock")
    assert all(score.of_stem(stem) for stem in ("bass", "other", "vocals"))
    assert score.drums
    # Same level and strip settings; only the master hears the other stems.
    from sonograd.data.songs.render import dry_parts

    mute = dataclasses.replace(score, drums=(), parts=score.of_stem("bass"))
    whole = dry_parts(score, "bass", RATE, 4 * RATE)
    alone = dry_parts(mute, "bass", RATE, 4 * RATE)
    assert torch.equal(whole[0][1], alone[0][1])
    silent = render(mute, RATE)
    assert silent[0].abs().max() == 0
    assert silent[3].abs().max() == 0
    assert silent[1].abs().max() > 0.1


def test_long_songs_have_sections_and_rests():
    resting = dict.fromkeys(STEMS, 0.0)
    for seed in range(6):
        score = compose(seed, seconds=180.0, genre="rock")
        names = [section.name for section in score.sections]
        assert {"verse", "chorus"} <= set(names)
        assert score.sections[0].first_bar == 0
        ends = [s.first_bar + s.bars for s in score.sections]
        assert ends[:-1] == [s.first_bar for s in score.sections[1:]]
        assert ends[-1] * 240 / score.tempo_bpm - score.offset_seconds >= 180.0
        for stem in ("bass", "vocals"):
            notes = [note for part in score.of_stem(stem) for note in part.notes]
            busy = np.zeros(1800, bool)
            for note in notes:
                busy[max(int(note.start * 10), 0) : int((note.start + note.duration) * 10) + 1] = (
                    True
                )
            resting[stem] += float(1 - busy.mean()) / 6
    assert 0.1 < resting["vocals"] < 0.8
    assert 0.0 < resting["bass"] < 0.5


def test_voices_never_sing_two_notes_at_once_and_use_known_syllables():
    for seed in range(12):
        for part in compose(seed, seconds=30.0).of_stem("vocals"):
            for note in part.notes:
                onset, vowel, coda = note.syllable.split("-")
                assert onset in CONSONANTS
                assert vowel in VOWELS
                assert coda in CONSONANTS
            if part.name != "backing":
                ends = [note.start + note.duration for note in part.notes]
                starts = [note.start for note in part.notes]
                assert all(
                    end <= start + 1e-9 for end, start in zip(ends, starts[1:], strict=False)
                )


def test_hits_lie_inside_the_song():
    for seed in range(12):
        score = compose(seed, seconds=5.0)
        assert all(0.0 <= hit.start < 5.0 and 0.0 < hit.velocity <= 1.0 for hit in score.drums)


def test_genres_name_only_instruments_that_exist():
    known = {*INSTRUMENTS, *LEADS}
    for name, genre in GENRES.items():
        assert set(genre.bass_sounds) <= set(BASSES), name
        assert set(genre.roles) <= set(SOUNDS), name
        for sounds in (*genre.sounds.values(), *SOUNDS.values()):
            assert set(sounds) <= known, name


@pytest.mark.parametrize("name", sorted({*INSTRUMENTS, *LEADS, *BASSES}))
def test_every_instrument_plays_its_pitch(name):
    pitch = 45 if name in BASSES else 69
    maker = bass_patch if name in BASSES else lead_patch if name in LEADS else instrument_patch
    notes = (Note(0.1, 0.5, pitch, 1.0),)
    for seed in range(2):
        patch = maker(name, np.random.default_rng(seed), 16000)
        y = patch.play(notes, np.random.default_rng(seed), 16000, 16000)
        assert y.shape == (16000,)
        assert torch.isfinite(y).all()
        assert y.abs().max() > 1e-3
        assert y[:1500].abs().max() <= 0.05 * y.abs().max() + 1e-6


def test_a_voice_sings_its_pitch_and_rests():
    rng = np.random.default_rng(0)
    singer = dataclasses.replace(
        draw_singer(rng, "melody", "low"), jitter=0.0, vibrato_semitones=0.0, drift_semitones=0.0
    )
    notes = (Note(0.2, 1.0, 57.0, 1.0, "-a-"), Note(1.6, 0.3, 57.0, 1.0, "s-i-"))
    y = sing_line(notes, singer, rng, 16000, 32000)
    steady = y[8000:16192].double() * torch.hann_window(8192, dtype=torch.float64)
    spectrum = torch.fft.rfft(steady).abs()
    harmonic = [spectrum[round(220 * k * 8192 / 16000)] for k in range(1, 8)]
    between = [spectrum[round(220 * (k + 0.5) * 8192 / 16000)] for k in range(1, 8)]
    assert sum(harmonic) > 5 * sum(between)
    assert y[21500:25000].abs().max() < 0.05 * y.abs().max()


def test_description_is_plain_and_complete():
    import json

    score = compose(9, seconds=40.0, genre="jazz")
    found = json.loads(json.dumps(describe(score)))
    assert found["genre"] == "jazz"
    assert found["seed"] == 9
    assert [part["name"] for part in found["parts"]] == [part.name for part in score.parts]
    assert 70 <= found["tempo_bpm"] <= 190


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (4, 2, 3)])
def test_short_sounds_are_filtered_as_long_ones_are(shape):
    sections = random_eq(np.random.default_rng(1), RATE)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(filtered(x, sections), sosfilt(x, sections), atol=1e-5, rtol=1e-5)


def test_bad_input_is_refused_with_the_remedy():
    with pytest.raises(ParameterError, match="Did you mean 'rock'"):
        make_song(1, seconds=1.0, genre="rokc")
    with pytest.raises(ParameterError, match="seconds is -1"):
        make_song(1, seconds=-1.0)
    with pytest.raises(ParameterError, match="seconds is nan"):
        make_song(1, seconds=float("nan"))
    with pytest.raises(ParameterError, match="seed is -3"):
        make_song(-3, seconds=1.0)
    with pytest.raises(ParameterError, match="sample_rate is 100"):
        make_song(1, seconds=1.0, sample_rate=100)
