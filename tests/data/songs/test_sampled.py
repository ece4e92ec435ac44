"""The sampled source: what can be tested without its programs, and with them where installed."""

import sys

import numpy as np
import pytest
import torch

from sonograd.data.songs import make_song, programs
from sonograd.data.songs.midi import MidiFile
from sonograd.data.songs.score import Note
from sonograd.data.songs.speech import analyze, sing_speech
from sonograd.errors import ConfigError, SonogradError


def installed():
    try:
        programs.check_programs()
    except ConfigError:
        return False
    return True


def test_midi_file_is_what_the_standard_says():
    midi = MidiFile()
    midi.program(0.0, 2, 33)
    midi.note(0.25, 0.5, 2, 60, 100)
    midi.bend(0.3, 2, 1.0)
    expected_track = bytes.fromhex(
        "00ff51030f4240"  # one quarter per second
        "00c221"
        "817a923c64" + "32e20060" + "8342823c00" + "817aff2f00"
    )
    data = midi.to_bytes(1.0)
    assert data[:14] == bytes.fromhex("4d546864000000060000000103e8")
    assert data[22:] == expected_track
    assert int.from_bytes(data[18:22], "big") == len(expected_track)


def test_speech_is_taken_apart_and_sung():
    pytest.importorskip("pyworld", exc_type=ImportError)
    rate = 22050
    time = torch.arange(2 * rate) / rate
    pulses = sum(torch.sin(2 * torch.pi * 110 * k * time) / k for k in range(1, 40))
    loudness = torch.sin(2 * torch.pi * time).square()  # four syllables
    utterance = analyze(0.3 * pulses * loudness, rate)
    assert utterance.voiced.any()
    assert 0 < utterance.aperiodicity.min() < utterance.aperiodicity.max() <= 1
    assert len(utterance.peaks) == 4
    assert len(utterance.borders) == len(utterance.peaks) + 1
    notes = (Note(0.2, 0.8, 57.0, 1.0), Note(1.4, 0.4, 60.0, 1.0))
    y = sing_speech(
        notes, utterance, np.random.default_rng(0), 16000, 32000, size=1.0, vibrato_semitones=0.0
    )
    assert torch.isfinite(y).all()
    assert y[:2500].abs().max() < 1e-3 * y.abs().max()
    assert y[5000:14000].abs().max() > 0.1 * y.abs().max()


def test_an_utterance_without_pitch_is_spoken_again(monkeypatch):
    pytest.importorskip("pyworld", exc_type=ImportError)
    from sonograd.data.songs import speech

    spoken = []
    time = torch.arange(11025) / 22050
    voiced = sum(torch.sin(2 * torch.pi * 110 * k * time) / k for k in range(1, 40))

    def speak(text, voice, **_options):
        spoken.append(text)
        return (torch.zeros(11025) if len(spoken) < 3 else 0.3 * voiced), 22050

    monkeypatch.setattr(speech, "speak", speak)
    assert speech.draw_utterance(np.random.default_rng(0)).voiced.any()
    assert len(spoken) == 3
    monkeypatch.setattr(speech, "speak", lambda *_args, **_options: (torch.zeros(0), 22050))
    with pytest.raises(SonogradError, match="espeak-ng said nothing that has a pitch, 5 times"):
        speech.draw_utterance(np.random.default_rng(0))


def test_a_rendering_that_ends_early_is_an_error(monkeypatch):
    monkeypatch.setattr(programs, "find_soundfont", lambda: "any.sf2")
    monkeypatch.setattr(programs, "_run", lambda *_args: (torch.zeros(2, 8000), 8000))
    assert programs.play_midi(b"", 8000, seconds=1.0).shape == (2, 8000)
    with pytest.raises(SonogradError, match=r"wrote 1\.0 of 3\.0 s; is the disk of"):
        programs.play_midi(b"", 8000, seconds=3.0)


def test_rates_beyond_the_synthesizer_are_resampled(monkeypatch):
    asked = []

    def run(command, _output):
        asked.append(command[command.index("-r") + 1])
        return torch.zeros(2, 96000), 96000

    monkeypatch.setattr(programs, "find_soundfont", lambda: "any.sf2")
    monkeypatch.setattr(programs, "_run", run)
    assert programs.play_midi(b"", 192000, seconds=1.0).shape == (2, 192000)
    assert asked == ["96000"]


def test_everything_missing_is_named_at_once(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pyworld", None)
    monkeypatch.setenv(programs.SOUNDFONT_VARIABLE, "/no/such.sf2")
    programs.find_soundfont.cache_clear()
    with pytest.raises(
        ConfigError, match=r"fluidsynth.*espeak-ng.*/no/such\.sf2.*vocoder"
    ) as caught:
        programs.check_programs()
    assert len(caught.value.problems) == 4
    programs.find_soundfont.cache_clear()


@pytest.mark.skipif(not installed(), reason="needs the programs of the sampled source")
@pytest.mark.slow
def test_sampled_songs_are_songs():
    first, again = (
        make_song(seed, seconds=3.0, sample_rate=22050, source="sampled") for seed in (4, 4)
    )
    assert torch.equal(first.stems, again.stems)
    assert first.stems.shape == (4, 2, 66150)
    assert torch.isfinite(first.stems).all()
    plain = make_song(4, seconds=3.0, sample_rate=22050)
    assert first.description == plain.description
    assert not torch.equal(first.stems, plain.stems)
