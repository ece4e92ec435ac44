import pytest
import torch

from sonograd import synths
from sonograd.errors import ParameterError
from sonograd.params import Curve
from sonograd.synths import Note, render_notes

RATE = 8000
SHAPE = {"attack_s": 0.005, "release_s": 0.02}


def _generator(seed=3):
    return torch.Generator().manual_seed(seed)


def test_notes_add_up():
    """A chord is the sum of its notes, each rendered alone, shifted and enveloped."""
    synth = synths.Harmonic(RATE, harmonics=4)
    notes = [
        Note(0.0, 0.2, 220.0, 0.5),
        Note(0.05, 0.31, 330.0),
        Note.from_pitch(0.05, 0.1, 76, 0.3),
    ]
    y = render_notes(synth, notes, envelope=SHAPE)
    assert y.shape == (1, round((0.05 + 0.31 + 0.14) * RATE))
    expected = torch.zeros_like(y[0])
    for note in notes:
        length = round((note.duration_s + 0.14) * RATE)
        tone = synth(length, frequency_hz=note.frequency_hz)[0, 0] * note.velocity
        level = synths.Envelope(RATE)(length, gate_s=note.duration_s, **SHAPE)[0, 0]
        fade = ((length - torch.arange(length)) / 40).clamp(0, 1)
        first = round(note.start_s * RATE)
        expected[first : first + length] += tone * level * fade
    torch.testing.assert_close(y[0], expected, atol=2e-5, rtol=0)


def test_groups_do_not_change_the_sound(monkeypatch):
    notes = [Note(0.03 * k, 0.02 + 0.05 * k, 200.0 + 50 * k) for k in range(8)]
    synth = synths.KarplusStrong(RATE)
    y = render_notes(synth, notes, generator=_generator())
    monkeypatch.setattr("sonograd.synths.notes._AT_ONCE", 1)
    torch.testing.assert_close(render_notes(synth, notes, generator=_generator()), y)


def test_each_note_has_noise_of_its_own_and_the_seed_decides():
    notes = [Note(0.0, 0.1, 220.0), Note(0.2, 0.1, 220.0)]
    synth = synths.KarplusStrong(RATE)
    y = render_notes(synth, notes, generator=_generator())
    assert torch.equal(y, render_notes(synth, notes, generator=_generator()))
    assert not torch.equal(y, render_notes(synth, notes, generator=_generator(4)))
    assert not torch.allclose(y[0, :800], y[0, 1600:2400])


def test_gradients_reach_pitch_velocity_values_and_envelope():
    hz = torch.tensor(300.0, dtype=torch.float64, requires_grad=True)
    velocity = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    levels = torch.rand(3, dtype=torch.float64, requires_grad=True)
    release = torch.tensor(0.004, dtype=torch.float64, requires_grad=True)

    def run(hz, velocity, levels, release):
        notes = [
            Note(0.0, 0.003, hz, velocity, {"distribution": levels}),
            Note(0.001, 0.004, 400.0, 0.7),
        ]
        synth = synths.Harmonic(RATE, harmonics=3)
        return render_notes(synth, notes, envelope={"release_s": release}, tail_s=0.002)

    assert torch.autograd.gradcheck(run, (hz, velocity, levels, release), atol=1e-5)


def test_curves_run_from_the_beginning_of_a_note():
    glide, synth = torch.linspace(1.0, 2.0, 9), synths.Oscillator(RATE)
    swell = Curve(glide - 1, 100)
    notes = [Note(0.1, 0.1, Curve(200 * glide, 100), values={"amplitude": swell}), Note(0.4, 0.1)]
    y = render_notes(synth, notes)[0]
    tone = synth(1200, frequency_hz=Curve(200 * glide, 100), amplitude=swell)[0, 0]
    torch.testing.assert_close(y[800:1900], tone[:1100], atol=1e-6, rtol=0)
    torch.testing.assert_close(y[3200:4300], synth(1100)[0, 0], atol=1e-6, rtol=0)


def test_curves_of_vectors():
    shares = torch.rand(3, 5)
    synth = synths.Harmonic(RATE, harmonics=3)
    notes = [Note(0, 0.1, values={"distribution": Curve(shares, 200)}), Note(0, 0.1, 600.0)]
    y = render_notes(synth, notes)[0, :1000]
    first = synth(1000, distribution=Curve(shares[None], 200))
    torch.testing.assert_close(y, (first + synth(1000, frequency_hz=600.0))[0, 0])


def test_length_and_empty_lists():
    synth = synths.Oscillator(RATE)
    assert render_notes(synth, []).shape == (1, 0)
    assert (render_notes(synth, [], samples=50) == 0).all()
    notes = [Note(0.0, 0.1), Note(5.0, 0.1)]
    short = render_notes(synth, notes, samples=100)
    torch.testing.assert_close(short, render_notes(synth, notes)[:, :100])
    assert render_notes(synth, notes, samples=90_000)[0, -1] == 0


def test_an_unpitched_instrument_plays_too():
    y = render_notes(synths.FilteredNoise(RATE), [Note(0.0, 0.01)], generator=_generator())
    assert y.abs().max() > 0.1


def test_many_notes_take_time_by_their_length_not_by_that_of_the_song():
    """Adding ten thousand short notes must not copy the song ten thousand times."""
    notes = [Note(0.5 * k, 0.001) for k in range(2000)]
    y = render_notes(synths.Oscillator(RATE), notes, tail_s=0.001)
    assert y.shape[-1] == round(0.5 * 1999 * RATE) + 16
    assert (y[0, ::4000] == 0).all()
    assert (y[0, 1::4000] != 0).all()


def test_envelope_values_may_be_tensors_with_gradients():
    release = torch.tensor(0.01, requires_grad=True)
    y = render_notes(synths.Oscillator(RATE), [Note(0, 0.01)], envelope={"release_s": release})
    assert y.shape[-1] == round(0.08 * RATE)
    y.square().sum().backward()
    assert release.grad > 0


def test_refuses():
    synth = synths.Oscillator(RATE)
    with pytest.raises(ParameterError, match="note 1 starts at -1 s"):
        render_notes(synth, [Note(0, 1), Note(-1, 1)])
    with pytest.raises(ParameterError, match="starts at inf s"):
        render_notes(synth, [Note(float("inf"), 1)])
    with pytest.raises(ParameterError, match="lasts 0 s"):
        render_notes(synth, [Note(0, 0)])
    with pytest.raises(ParameterError, match="tail_s is -1"):
        render_notes(synth, [Note(0, 1)], tail_s=-1)
    curves = [Note(0, 1, Curve(torch.ones(3), hop)) for hop in (10, 20)]
    with pytest.raises(ParameterError, match=r"hop_length \[10, 20\]; notes played together"):
        render_notes(synth, curves)
    with pytest.raises(ParameterError, match="frequency_hz is among the values"):
        render_notes(synth, [Note(0, 1, values={"frequency_hz": 3.0})])
    with pytest.raises(ParameterError, match="no parameter 'amplitud'"):
        render_notes(synth, [Note(0, 1, values={"amplitud": 1.0})])
