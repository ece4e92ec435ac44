"""Level, drive, delay, reverb and modulation against closed forms and sample-by-sample loops."""

import math

import numpy as np
import pytest
import torch
from scipy import signal as scipy_signal

from sonograd.effects import (
    AsymmetricClip,
    AutoPan,
    BitCrush,
    ChannelDelay,
    Chorus,
    ConvolutionReverb,
    CubicClip,
    Curve,
    DCBlocker,
    Delay,
    Distortion,
    FDNReverb,
    Flanger,
    Freeverb,
    Gain,
    Learnable,
    LinearGain,
    MidSideDecode,
    MidSideEncode,
    MultitapDelay,
    NoiseReverb,
    Pan,
    PingPongDelay,
    RateReduction,
    RingModulation,
    RoomReverb,
    Tremolo,
    Vibrato,
    Width,
)
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.feedback_networks import feedback_network, hadamard, prime_delays

RATE = 8000


def noise(channels=1, samples=600):
    return 0.4 * torch.randn(channels, samples, dtype=torch.float64)


def impulse(samples, channels=1):
    x = torch.zeros(channels, samples, dtype=torch.float64)
    x[:, 0] = 1
    return x


def test_linear_gain_learns_the_gain_of_the_tutorial():
    x = torch.sin(torch.linspace(0, 2 * torch.pi * 300, 8000))
    model = LinearGain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        torch.nn.L1Loss()(model(x), 0.15 * x).backward()
        optimizer.step()
    assert float(model.gain.detach()) == pytest.approx(0.147035, abs=1e-5)
    assert list(model.state_dict()) == ["gain"]


def test_learnable_recovers_a_gain_in_db():
    x = noise()
    model = Learnable(Gain(RATE))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (model(x) - 0.3 * x).square().mean().backward()
        optimizer.step()
    learned = float(model.values()["gain_db"].detach())
    assert learned == pytest.approx(20 * math.log10(0.3), abs=0.05)


def test_gain_follows_a_curve():
    x = torch.ones(1, 100, dtype=torch.float64)
    y = Gain(RATE)(x, gain_db=Curve(torch.tensor([0.0, -20.0], dtype=torch.float64), 40))
    assert y[0, 20] == pytest.approx(10**-0.5)
    assert y[0, 40] == pytest.approx(0.1)
    assert y[0, 99] == pytest.approx(0.1)


@pytest.mark.parametrize("law", [3.0, 4.5, 6.0])
def test_pan_laws(law):
    x = torch.ones(1, 4, dtype=torch.float64)
    center = Pan(RATE, law_db=law)(x)
    exact = {3.0: 0.5**0.5, 4.5: 0.5**0.75, 6.0: 0.5}[law]
    assert torch.allclose(center, torch.full_like(center, exact))
    left = Pan(RATE, law_db=law)(x, pan=-1.0)
    assert torch.allclose(left[:, 0], torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-15)


def test_middle_and_side():
    x = noise(2)
    assert torch.allclose(MidSideDecode(RATE)(MidSideEncode(RATE)(x)), x)
    mono = Width(RATE)(x, width=0.0)
    assert torch.allclose(mono, x.mean(0, keepdim=True).expand_as(x))
    with pytest.raises(ShapeError, match="width works on 2 channels; x has 1"):
        Width(RATE)(x[:1])


def test_channel_delay_is_exact_at_whole_samples_and_between():
    x = noise(2)
    y = ChannelDelay(RATE)(x, delay_ms=torch.tensor([[0.0, 5 * 1000 / RATE]]))
    assert torch.allclose(y[0], x[0])
    assert torch.allclose(y[1, 5:], x[1, :-5], atol=1e-12)
    time = torch.arange(400, dtype=torch.float64)
    slow = torch.sin(0.05 * time)[None]
    y = ChannelDelay(RATE)(slow, delay_ms=2.5 * 1000 / RATE)
    assert torch.allclose(y[0, 10:-5], torch.sin(0.05 * (time - 2.5))[10:-5], atol=1e-6)


def test_dc_blocker_equals_scipy(rng):
    x = rng.standard_normal((2, 500)) + 1
    b, a = scipy_signal.butter(1, 20, "high", fs=RATE)
    expected = scipy_signal.lfilter(b, a, x)
    np.testing.assert_allclose(
        DCBlocker(RATE)(torch.from_numpy(x), cutoff_hz=20.0), expected, atol=1e-9
    )


def alias_level_db(effect, **values):
    """Loudest component that is no harmonic, relative to the fundamental, up to 0.45 rate."""
    rate, tone = 44100, 4999
    x = torch.sin(2 * torch.pi * tone * torch.arange(rate, dtype=torch.float64) / rate)[None]
    level = torch.fft.rfft(effect(x, **values)[0]).abs()[:19845]
    fundamental = float(level[tone])
    level[::tone] = 0
    return 20 * math.log10(float(level.max() / fundamental))


@pytest.mark.parametrize(("factor", "limit"), [(1, -18.8), (2, -52.5), (4, -100), (8, -95)])
def test_oversampling_lowers_aliases(factor, limit):
    level = alias_level_db(Distortion(44100, oversampling=factor), drive_db=12.0)
    assert limit - 15 < level < limit


def test_oversampling_keeps_a_soft_signal():
    time = torch.arange(3000, dtype=torch.float64)
    for frequency in (0.01, 0.2, 0.44):
        x = 1e-4 * torch.sin(2 * torch.pi * frequency * time)[None]
        for factor in (2, 3, 8):
            y = Distortion(RATE, oversampling=factor)(x, drive_db=0.0)
            assert torch.allclose(y[..., 200:-200], x[..., 200:-200], atol=2e-8)


def test_drive_curves():
    x = noise()
    y = AsymmetricClip(RATE)(x, bias=0.5, drive_db=6.0)
    g = 10 ** (6 / 20)
    slope = 1 - math.tanh(0.5) ** 2
    assert torch.allclose(y, (torch.tanh(g * x + 0.5) - math.tanh(0.5)) / slope)
    tone = torch.sin(2 * torch.pi * 10 * torch.arange(1000, dtype=torch.float64) / 1000)[None]
    spectrum = torch.fft.rfft(CubicClip(RATE)(tone, drive_db=0.0)[0]).abs() / 500
    assert spectrum[10] == pytest.approx(1 - 1 / 9)
    assert spectrum[30] == pytest.approx(1 / 27)
    assert float(spectrum[40:].max()) < 1e-12
    assert torch.equal(BitCrush(RATE)(x, bits=3.0), (x * 8).round() / 8)
    for wrong in (0, 9, 2.5, True):
        with pytest.raises(ParameterError, match="expected a whole number from 1 to 8"):
            Distortion(RATE, oversampling=wrong)


def test_straight_through_gradients_point_the_right_way():
    x = torch.sin(torch.arange(800, dtype=torch.float64) / 9)[None].requires_grad_()
    bits = torch.tensor([4.5], dtype=torch.float64, requires_grad=True)
    y = BitCrush(RATE)(x, bits=bits)
    (y - x.detach()).square().sum().backward()
    assert float(bits.grad) < 0  # more bits, less error
    assert bool((x.grad != 0).any())
    rate = torch.tensor([1000.0], dtype=torch.float64, requires_grad=True)
    y = RateReduction(RATE)(x.detach(), rate_hz=rate)
    (y - x.detach()).square().sum().backward()
    assert float(rate.grad) < 0


def test_sample_and_hold_equals_a_loop():
    x = noise(samples=300)
    rate = 3017.0
    y = RateReduction(RATE)(x, rate_hz=rate)
    held, period, expected = 0.0, -1, []
    for n, value in enumerate(x[0].tolist()):
        if math.floor(n * rate / RATE + 1e-9) > period:
            period, held = math.floor(n * rate / RATE + 1e-9), value
        expected.append(held)
    assert y[0].tolist() == expected


def test_delay_equals_a_loop():
    x = noise(samples=300)
    y = Delay(RATE)(x, delay_ms=37 * 1000 / RATE, feedback=0.6, mix=0.3)
    w, expected = [], []
    for n, value in enumerate(x[0].tolist()):
        past = w[n - 37] if n >= 37 else 0.0
        w.append(value + 0.6 * past)
        expected.append(0.7 * value + 0.3 * past)
    assert torch.allclose(y[0], torch.tensor(expected, dtype=torch.float64), atol=1e-12)


def test_filtered_delay_darkens_each_echo():
    y = Delay(RATE, filtered=True)(
        impulse(900), delay_ms=25.0, feedback=0.9, mix=1.0, high_cut_hz=1000.0, low_cut_hz=20.0
    )
    first, second = y[0, 200:400], y[0, 400:600]
    assert first[0] == 1
    b, a = scipy_signal.butter(1, 1000, fs=RATE)
    d, c = scipy_signal.butter(1, 20, "high", fs=RATE)
    expected = 0.9 * scipy_signal.lfilter(b, a, scipy_signal.lfilter(d, c, first.numpy()))
    np.testing.assert_allclose(second, expected, atol=1e-10)


def test_tempo_sets_the_delay():
    y = Delay(RATE, sync="1/8.")(impulse(4000), tempo_bpm=120.0, mix=1.0, feedback=0.0)
    assert int(y[0].argmax()) == round(0.375 * RATE)
    with pytest.raises(ParameterError, match="note is '1/q'; expected a fraction"):
        Delay(RATE, sync="1/q")


def test_ping_pong_goes_from_left_to_right():
    y = PingPongDelay(RATE)(impulse(900), delay_ms=25.0, feedback=0.5, mix=1.0)
    assert [(int(c), int(n)) for c, n in y.nonzero()] == [
        (0, 200),
        (0, 600),
        (1, 400),
        (1, 800),
    ] or [(round(float(y[0, 200]), 9), round(float(y[1, 400]), 9), round(float(y[0, 600]), 9))] == [
        (1.0, 0.5, 0.25)
    ]
    assert float(y[1, 200].abs()) < 1e-12


def test_taps_have_their_times_and_levels():
    effect = MultitapDelay(RATE, taps=2)
    y = effect(impulse(900), mix=1.0, tap_1_ms=10.0, tap_1_db=-6.0, tap_2_ms=50.0, tap_2_db=0.0)
    assert y[0, 80] == pytest.approx(10**-0.3)
    assert y[0, 400] == pytest.approx(1.0)


def test_the_network_without_filters_loses_nothing():
    delays = prime_delays(8, 0.01, 0.03, RATE)
    x = torch.zeros(1, 8, 1, dtype=torch.float64)
    x[0, :, 0] = torch.randn(8)
    _, state = feedback_network(x, delays, hadamard(8))
    energies = []
    for _ in range(4):
        _, state = feedback_network(x.new_zeros(1, 8, 1000), delays, hadamard(8), state=state)
        lines = [state.lines[0, k, -delay:] for k, delay in enumerate(delays)]
        energies.append(sum(float(line.square().sum()) for line in lines))
    assert energies == pytest.approx([float(x.square().sum())] * 4, rel=1e-10)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.4), (0.5, 0.5)])
def test_reverberation_times_are_those_asked_for(low, high):
    y = FDNReverb(16000, lines=16)(
        impulse(12000), t60_low_s=low, t60_mid_s=0.5, t60_high_s=high, low_edge_hz=200.0,
        high_edge_hz=3000.0, mix=1.0,
    )[0]  # fmt: skip
    for edges, expected in (((20, 90), low), ((600, 1000), 0.5), ((6000, 7500), high)):
        sos = scipy_signal.butter(3, edges, "band", fs=16000, output="sos")
        band = scipy_signal.sosfilt(sos, y.numpy())
        energy = 10 * np.log10(np.cumsum(band[::-1] ** 2)[::-1])
        stretch = slice(1600, 6000)
        slope = np.polyfit(np.arange(12000)[stretch] / 16000, energy[stretch], 1)[0]
        assert -60 / slope == pytest.approx(expected, rel=0.12)


def test_freeverb_equals_a_loop():
    rate, x = 4410, noise(2, 500)
    y = Freeverb(rate)(x, room_size=0.8, damping=0.6, wet=0.5, dry=0.3, width=0.7)
    entering, feedback, damp = 0.015 * x.sum(0).numpy(), 0.28 * 0.8 + 0.7, 0.4 * 0.6
    rooms = []
    for spread in (0, 23):
        total = np.zeros(500)
        for length in (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617):
            delay, last = rate * (length + spread) // 44100, 0.0
            line = np.zeros(500 + delay)
            for n in range(500):
                out = line[n]
                last = out * (1 - damp) + last * damp
                line[n + delay] = entering[n] + feedback * last
                total[n] += out
        for length in (556, 441, 341, 225):
            delay = rate * (length + spread) // 44100
            line, out = np.zeros(500 + delay), np.zeros(500)
            for n in range(500):
                out[n] = line[n] - total[n]
                line[n + delay] = total[n] + 0.5 * line[n]
            total = out
        rooms.append(total)
    wide, narrow = 1.5 * 0.5 * 1.7, 1.5 * 0.5 * 0.3
    expected = 0.6 * x.numpy() + wide * np.stack(rooms) + narrow * np.stack(rooms[::-1])
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_convolution_equals_scipy(rng):
    x, h = rng.standard_normal((2, 400)), rng.standard_normal((2, 77))
    y = ConvolutionReverb(RATE, impulse=torch.from_numpy(h))(torch.from_numpy(x), mix=1.0)
    expected = scipy_signal.fftconvolve(x, h, axes=-1)[:, :400]
    np.testing.assert_allclose(y, expected, atol=1e-10)
    with pytest.raises(ShapeError, match="the impulse has 2 channels; x has 3"):
        ConvolutionReverb(RATE, impulse=torch.from_numpy(h))(torch.zeros(3, 10))
    with pytest.raises(ParameterError, match="no finite numbers"):
        ConvolutionReverb(RATE, impulse=[math.nan])


def test_images_lie_where_mirrors_put_them():
    effect = RoomReverb(48000, order=1, duration_s=0.05, source=[0.3, 0.5, 0.5], listener=[0.7] * 3)
    size, alpha = (4.0, 6.0, 3.0), 0.4
    values = dict(zip(("width_m", "depth_m", "height_m"), size, strict=True))
    y = effect(impulse(2400), mix=1.0, absorption=alpha, **values)[0]
    source, listener = np.array([0.3, 0.5, 0.5]) * size, np.array([0.7] * 3) * size
    direct = np.linalg.norm(source - listener)
    assert y[0] == pytest.approx(1.0)
    for axis in range(3):
        for wall in (0.0, size[axis]):
            image = source.copy()
            image[axis] = 2 * wall - image[axis]
            distance = np.linalg.norm(image - listener)
            place = (distance - direct) / 343 * 48000
            around = y[round(place) - 3 : round(place) + 4]
            level = direct / distance * math.sqrt(1 - alpha)
            # The sum of the taps of a windowed sinc is close to its level.
            assert float(around.abs().max()) > 0.5 * level


def test_noise_reverb_is_seeded_and_decays_in_each_band():
    x = impulse(4000)
    one, two = NoiseReverb(RATE, duration_s=0.4), NoiseReverb(RATE, duration_s=0.4, seed=1)
    assert torch.equal(one(x, mix=1.0), NoiseReverb(RATE, duration_s=0.4)(x, mix=1.0))
    assert not torch.allclose(one(x), two(x))
    wet = one(x, mix=1.0)
    assert float(wet.square().sum()) == pytest.approx(1.0, rel=1e-6)
    quiet = {f"band_{k}_db": -60.0 for k in range(1, 13) if k != 8}
    spectrum = torch.fft.rfft(one(x, mix=1.0, **quiet)[0]).abs()
    low, high = math.log(20), math.log(0.49 * RATE)
    center = math.exp(low + 7.5 / 12 * (high - low))
    assert int(spectrum.argmax()) / 4000 * RATE == pytest.approx(center, rel=0.5)


def test_tremolo_ring_modulation_and_auto_pan_are_products():
    x, time = noise(samples=500), torch.arange(500, dtype=torch.float64) / RATE
    swing = torch.sin(2 * torch.pi * 7 * time)
    assert torch.allclose(
        Tremolo(RATE)(x, rate_hz=7.0, depth=0.6), (1 - 0.3 * (1 - swing)) * x, atol=1e-6
    )
    ring = torch.sin(2 * torch.pi * 440 * time)
    y = RingModulation(RATE)(x, rate_hz=440.0, mix=1.0)
    assert torch.allclose(y, ring * x, atol=1e-6)
    y = AutoPan(RATE)(x, rate_hz=7.0, depth=1.0)
    assert torch.allclose(y.square().sum(0), x[0].square(), atol=1e-12)


def test_a_rate_curve_keeps_the_phase():
    x = torch.ones(1, 2000, dtype=torch.float64)
    moving = Curve(torch.tensor([2.0, 12.0], dtype=torch.float64), 2000)
    y = Tremolo(RATE)(x, rate_hz=moving, depth=1.0)[0]
    n = torch.arange(2000, dtype=torch.float64)
    turns = (2 * n + 10 * n * (n - 1) / 2 / 2000) / RATE
    assert torch.allclose(y, 0.5 + 0.5 * torch.sin(2 * torch.pi * turns), atol=1e-6)


@pytest.mark.parametrize("feedback", [0.0, 0.5])
def test_chorus_and_flanger_equal_loops(feedback):
    x = noise(samples=400)
    n = np.arange(400)
    lfo = -np.sin(2 * np.pi * 3 * n / RATE)
    delay = np.maximum(1.0, 7 + 10 * 0.3 * lfo) * RATE / 1000
    w, wet, last = np.zeros(400), np.zeros(400), 0.0
    for k in range(400):
        w[k] = x[0, k] - feedback * last
        whole, rest = divmod(delay[k], 1)
        a, b = k - int(whole), k - int(whole) - 1
        last = (1 - rest) * (w[a] if a >= 0 else 0) + rest * (w[b] if b >= 0 else 0)
        wet[k] = last
    y = Chorus(RATE)(x, rate_hz=3.0, depth=0.3, center_ms=7.0, feedback=feedback, mix=0.4)
    np.testing.assert_allclose(y[0], 0.6 * x[0].numpy() + 0.4 * wet, atol=1e-6)
    y = Flanger(RATE)(x, depth=0.0, center_ms=2.0, feedback=feedback, mix=0.5)
    comb = scipy_signal.lfilter(
        [0.5 + 0] + [0] * 15 + [0.5 - 0.5 * feedback], [1] + [0] * 15 + [-feedback], x[0]
    )
    np.testing.assert_allclose(y[0], comb, atol=1e-10)


def test_vibrato_shifts_the_pitch():
    time = torch.arange(4000, dtype=torch.float64) / RATE
    x = torch.sin(2 * torch.pi * 200 * time)[None]
    y = Vibrato(RATE)(x, rate_hz=4.0, depth_ms=2.0)
    # The oscillation is one sample ahead, as the effect is.
    delay = 1e-3 * (1 + torch.sin(2 * torch.pi * 4 * (time + 1 / RATE)))
    expected = torch.sin(2 * torch.pi * 200 * (time - delay))
    assert torch.allclose(y[0, 100:-5], expected[100:-5], atol=1e-4)


def test_spread_moves_the_channels_apart():
    x = torch.ones(2, 800, dtype=torch.float64)
    y = Tremolo(RATE)(x, rate_hz=10.0, depth=1.0, spread_deg=180.0)
    assert torch.allclose(y.sum(0), torch.ones(800, dtype=torch.float64), atol=1e-9)


def test_wrong_choices_are_refused():
    for make, message in (
        (lambda: RoomReverb(RATE, source=3), "source is 3; expected three fractions"),
        (lambda: RoomReverb(RATE, listener=[0, 0, 0]), "from 0.06 to 0.94"),
        (lambda: NoiseReverb(RATE, seed=-1), "seed is -1; expected a whole number"),
        (lambda: Chorus(RATE, shape="sin"), "Did you mean 'sine'"),
        (lambda: Chorus(RATE, phase="a"), "phase is 'a'; expected a number of turns"),
        (lambda: FDNReverb(RATE, lines=4), "lines is 4; expected one of 8, 16"),
        (lambda: MultitapDelay(RATE, taps=0), "taps is 0; expected a whole number from 1 to 16"),
        (lambda: Learnable(3), "effect is 3; expected an Effect"),
    ):
        with pytest.raises(ParameterError, match=message):
            make()


def test_half_precision_comes_back_as_it_went():
    x = noise(2).half()
    for effect in (NoiseReverb(RATE, duration_s=0.1), Freeverb(RATE), Delay(RATE, filtered=True)):
        y = effect(x)
        assert y.dtype == torch.float16
        assert torch.allclose(y.double(), effect(x.double()), atol=4e-3)


def test_a_delay_is_never_below_three_samples():
    x = torch.zeros(1, 12, dtype=torch.float64)
    x[0, 0] = 1.0
    y = Delay(1000)(x, delay_ms=1.0, mix=1.0, feedback=0.0)
    assert int(y.abs().argmax()) == 3
    assert PingPongDelay(1000)(x).shape == (2, 12)


def test_a_generator_draws_the_seed_of_the_noise():
    drawn = [
        NoiseReverb(RATE, duration_s=0.05, seed=torch.Generator().manual_seed(k)).seed
        for k in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    x = torch.randn(2, 200)
    again = NoiseReverb(RATE, duration_s=0.05, seed=drawn[0])
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(NoiseReverb(RATE, duration_s=0.05, seed=generator)(x), again(x))
