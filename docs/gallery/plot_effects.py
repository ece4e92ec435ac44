"""
Every effect in one picture
===========================

What an effect does is best seen with the right signal: an impulse shows filters and echoes, a ramp
shows curves, a burst shows what follows the level, noise shows what sweeps. Here each processor of
:mod:`sonograd.effects` meets its signal. All of them have exact gradients and stream; the formulas
are in the guide to effects.
"""

# %%
# The helpers
# -----------

import math

import matplotlib.pyplot as plt
import torch

from sonograd import effects

RATE = 44_100


def impulse(seconds, channels=1):
    x = torch.zeros(channels, round(seconds * RATE), dtype=torch.float64)
    x[:, 0] = 1
    return x


def response_db(effect, channel=0, channels=1, **values):
    """Magnitude response of a linear effect, from its impulse response."""
    y = effect(impulse(1.0, channels), **values)[channel]
    return 20 * torch.log10(torch.fft.rfft(y).abs().clamp_min(1e-6))


def panels(count, columns=4, height=2.2):
    rows = math.ceil(count / columns)
    _, axes = plt.subplots(
        rows, columns, figsize=(11, height * rows), layout="constrained", squeeze=False
    )
    for ax in axes.flat[count:]:
        ax.set_axis_off()
    return axes.flat


def draw_responses(cases, low=-30, high=15):
    frequencies = torch.fft.rfftfreq(RATE, 1 / RATE)
    for ax, (title, effect, settings) in zip(panels(len(cases)), cases, strict=False):
        for values in settings:
            ax.semilogx(frequencies[20:20000], response_db(effect, **values)[20:20000])
        ax.set(title=title, ylim=(low, high), xlim=(20, 20_000))
        ax.grid(alpha=0.3)
    plt.show()


# %%
# Filters
# -------
# Gain in dB over frequency in Hz.

E = effects
draw_responses(
    [
        ("Peak", E.Peak(RATE), [{"gain_db": g, "q": 2.0} for g in (-12.0, 6.0, 12.0)]),
        ("LowShelf", E.LowShelf(RATE), [{"gain_db": g} for g in (-12.0, 6.0, 12.0)]),
        ("HighShelf", E.HighShelf(RATE), [{"gain_db": g} for g in (-12.0, 6.0, 12.0)]),
        ("Tilt", E.Tilt(RATE), [{"tilt_db": g} for g in (-12.0, 6.0, 12.0)]),
        ("LowPass, order 1", E.LowPass(RATE, order=1), [{"cutoff_hz": 500.0}]),
        ("LowPass, order 8", E.LowPass(RATE, order=8), [{"cutoff_hz": 500.0}]),
        ("HighPass, order 2", E.HighPass(RATE), [{"cutoff_hz": 200.0}]),
        ("ResonantLowPass", E.ResonantLowPass(RATE), [{"q": q} for q in (0.5, 1.0, 4.0)]),
        ("ResonantHighPass", E.ResonantHighPass(RATE), [{"q": q} for q in (0.5, 1.0, 4.0)]),
        ("BandPass", E.BandPass(RATE), [{"q": q} for q in (0.5, 2.0, 8.0)]),
        ("Notch", E.Notch(RATE), [{"q": q} for q in (0.5, 2.0, 8.0)]),
        ("AllPass: flat", E.AllPass(RATE), [{"q": 2.0}]),
        (
            "ParametricEQ",
            E.ParametricEQ(RATE),
            [{"band1_gain_db": 6.0, "band3_gain_db": -9.0, "band6_gain_db": 4.0}],
        ),
        (
            "GraphicEQ",
            E.GraphicEQ(RATE),
            [{"gain_125hz_db": 9.0, "gain_1000hz_db": -9.0, "gain_2000hz_db": -9.0}],
        ),
        ("FirEQ", E.FirEQ(RATE), [{"gain_125hz_db": 9.0, "gain_4000hz_db": -9.0}]),
        ("DCBlocker", E.DCBlocker(RATE), [{"cutoff_hz": f} for f in (20.0, 100.0)]),
        (
            "Crossover: one band off",
            E.Crossover(RATE, bands=3),
            [{f"band{k}_gain_db": -60.0} for k in (1, 2, 3)],
        ),
    ]
)

# %%
# Level and stereo
# ----------------
# Pan laws, the width of a stereo signal, the delay of a channel and a gain that moves.

axes = panels(5, 5)
pans = torch.linspace(-1, 1, 101, dtype=torch.float64)
for law in (3, 4.5, 6):
    y = E.Pan(RATE, law_db=law)(torch.ones(101, 1, 1, dtype=torch.float64), pan=pans)
    axes[0].plot(pans, y[:, :, 0])
axes[0].set(title="Pan: 3, 4.5, 6 dB")
stereo = torch.randn(2, 800).double()
stereo = torch.stack([stereo[0] + 0.4 * stereo[1], stereo[0] - 0.4 * stereo[1]])
for width in (2.0, 1.0, 0.0):
    y = E.Width(RATE)(stereo, width=width)
    axes[1].plot(*y, ".", markersize=2)
axes[1].set(title="Width 2, 1, 0", xlabel="left", ylabel="right")
middle = E.MidSideEncode(RATE)(stereo)
axes[2].plot(*middle, ".", markersize=2, label="encoded")
axes[2].plot(*E.MidSideDecode(RATE)(middle), ".", markersize=1, label="decoded")
axes[2].set(title="MidSideEncode, Decode")
axes[2].legend()
y = E.ChannelDelay(RATE)(impulse(0.002, 2), delay_ms=torch.tensor([[0.4, 1.01]]))
axes[3].plot(y.mT)
axes[3].set(title="ChannelDelay")
curve = E.Curve(torch.tensor([0.0, 6.0, -30.0, 0.0]).double(), 15_000)
axes[4].plot(E.Gain(RATE)(torch.ones(1, 50_000).double(), gain_db=curve)[0])
axes[4].set(title="Gain along a Curve")
plt.show()

# %%
# Drive
# -----
# The output over the input, for three drives; and why there is oversampling: the spectrum of a
# distorted tone of 5 kHz, of which everything between the harmonics is an alias.

ramp = torch.linspace(-1, 1, 801, dtype=torch.float64)[None]
shapes = [
    ("Distortion", E.Distortion(RATE), "drive_db", (0.0, 12.0, 24.0)),
    ("SoftClip", E.SoftClip(RATE), "drive_db", (0.0, 12.0, 24.0)),
    ("CubicClip", E.CubicClip(RATE), "drive_db", (0.0, 6.0, 12.0)),
    ("Clipping", E.Clipping(RATE), "threshold_db", (-3.0, -6.0, -12.0)),
    ("AsymmetricClip", E.AsymmetricClip(RATE), "bias", (0.0, 0.5, 1.0)),
    ("WaveFolder", E.WaveFolder(RATE), "drive_db", (0.0, 12.0, 18.0)),
    ("BitCrush", E.BitCrush(RATE), "bits", (1.0, 2.0, 4.0)),
]
axes = panels(len(shapes) + 1)
for ax, (title, effect, name, settings) in zip(axes, shapes, strict=False):
    for value in settings:
        ax.plot(ramp[0], effect(ramp, **{name: value})[0])
    ax.set(title=title)
slow = torch.sin(torch.linspace(0, 4 * math.pi, 400)).double()[None]
axes[7].plot(E.RateReduction(RATE)(slow, rate_hz=2000.0)[0])
axes[7].set(title="RateReduction")
plt.show()

tone = torch.sin(2 * math.pi * 4999 * torch.arange(RATE).double() / RATE)[None]
_, axes = plt.subplots(1, 2, figsize=(11, 2.6), layout="constrained", sharey=True)
for ax, factor in zip(axes, (1, 8), strict=True):
    spectrum = torch.fft.rfft(E.Distortion(RATE, oversampling=factor)(tone)[0]).abs() / RATE * 2
    ax.plot(20 * torch.log10(spectrum.clamp_min(1e-7)), linewidth=0.6)
    ax.set(title=f"oversampling={factor}", xlabel="Hz", ylim=(-140, 5))
plt.show()

# %%
# Dynamics
# --------
# A tone that is soft, loud and soft again, before (gray) and after.

time = torch.arange(RATE, dtype=torch.float64) / RATE
level = torch.where((time > 0.2) & (time < 0.6), 0.8, 0.08)
burst = (level * torch.sin(2 * math.pi * 400 * time))[None]
hiss = (level * torch.sin(2 * math.pi * 7000 * time))[None]
cases = [
    ("Compressor", E.Compressor(RATE), burst, {"threshold_db": -18.0, "attack_ms": 100.0}),
    ("Limiter", E.Limiter(RATE), burst, {"ceiling_db": -9.0}),
    ("TwoStageLimiter", E.TwoStageLimiter(RATE), burst, {"threshold_db": -6.0}),
    ("Gate", E.Gate(RATE), burst, {"threshold_db": -15.0, "hold_ms": 50.0}),
    ("MultibandCompressor", E.MultibandCompressor(RATE), burst, {"band2_attack_ms": 200.0}),
    ("TransientShaper", E.TransientShaper(RATE), burst, {"attack_db": 6.0, "sustain_db": -6.0}),
    ("DeEsser at 7 kHz", E.DeEsser(RATE), hiss, {"threshold_db": -25.0}),
]
for ax, (title, effect, x, values) in zip(panels(len(cases)), cases, strict=False):
    ax.plot(time, x[0], color="0.8", linewidth=0.3)
    ax.plot(time, effect(x, **values)[0], linewidth=0.3)
    ax.set(title=title, ylim=(-1, 1))
plt.show()

# %%
# Delays and reverbs
# ------------------
# Impulse responses; for reverbs the level in dB.

cases = [
    ("Delay", E.Delay(RATE), 1, {"delay_ms": 120.0, "feedback": 0.6}),
    (
        "Delay, filtered",
        E.Delay(RATE, filtered=True),
        1,
        {"delay_ms": 120.0, "feedback": 0.9, "high_cut_hz": 2000.0},
    ),
    ("PingPongDelay", E.PingPongDelay(RATE), 2, {"delay_ms": 120.0, "feedback": 0.7}),
    ("MultitapDelay", E.MultitapDelay(RATE), 1, {}),
]
for ax, (title, effect, channels, values) in zip(panels(4), cases, strict=False):
    y = effect(impulse(0.8, channels), mix=1.0, **values)
    for channel in y:
        ax.plot(torch.arange(y.shape[-1]) / RATE, channel)
    ax.set(title=title)
plt.show()

recorded = torch.randn(8000) * torch.exp(-torch.arange(8000) / 1500)
cases = [
    ("Freeverb", E.Freeverb(RATE), {"dry": 0.0, "wet": 1.0}),
    ("FDNReverb", E.FDNReverb(RATE), {"mix": 1.0}),
    ("FDNReverb, 16 lines", E.FDNReverb(RATE, lines=16), {"mix": 1.0, "t60_mid_s": 0.8}),
    ("RoomReverb", E.RoomReverb(RATE), {"mix": 1.0}),
    ("NoiseReverb", E.NoiseReverb(RATE), {"mix": 1.0}),
    ("ConvolutionReverb", E.ConvolutionReverb(RATE, impulse=recorded), {"mix": 1.0}),
]
for ax, (title, effect, values) in zip(panels(6, 3), cases, strict=False):
    y = effect(impulse(1.0), **values)[0]
    ax.plot(torch.arange(RATE) / RATE, 20 * torch.log10(y.abs().clamp_min(1e-6)), linewidth=0.3)
    ax.set(title=title, ylim=(-90, 10))
plt.show()

# %%
# Modulation
# ----------
# What is multiplied, with a constant; what sweeps, as the spectrogram of noise or of a tone.

axes = panels(3, 3)
ones = torch.ones(2, RATE).double()
axes[0].plot(time, E.Tremolo(RATE)(ones, rate_hz=3.0, depth=0.8, spread_deg=90.0).mT)
axes[0].set(title="Tremolo, channels 90 degrees apart")
axes[1].plot(time, E.AutoPan(RATE, shape="triangle")(ones[:1], rate_hz=3.0).mT)
axes[1].set(title="AutoPan, triangle")
axes[2].plot(time[:2000], E.RingModulation(RATE)(ones[:1], rate_hz=100.0, mix=1.0)[0, :2000])
axes[2].set(title="RingModulation")
plt.show()

noise = 0.3 * torch.randn(1, 2 * RATE)
chord = sum(torch.sin(2 * math.pi * f * torch.arange(2 * RATE) / RATE) for f in (500, 1500, 2500))
cases = [
    ("Chorus", E.Chorus(RATE), noise, {"depth": 0.05, "center_ms": 1.5, "feedback": 0.5}),
    ("Flanger", E.Flanger(RATE), noise, {"rate_hz": 0.5, "center_ms": 1.5, "feedback": 0.6}),
    ("Phaser", E.Phaser(RATE), noise, {"rate_hz": 0.5, "feedback": 0.5}),
    ("Vibrato", E.Vibrato(RATE), chord[None] / 3, {"rate_hz": 3.0, "depth_ms": 8.0}),
]
for ax, (title, effect, x, values) in zip(panels(4), cases, strict=False):
    ax.specgram(effect(x, **values)[0].numpy(), NFFT=1024, Fs=RATE, noverlap=512, vmin=-120)
    ax.set(title=title, ylim=(0, 8000))
plt.show()

# %%
# Chains
# ------
# Effects are combined by structures: in a row, side by side, with their dry signal, on a send,
# switched off, or as a graph. Values go by the names of the stages.

graph = E.Graph(
    {
        "low": E.LowPass(RATE, order=4),
        "high": E.HighPass(RATE, order=4),
        "bent": E.Distortion(RATE, oversampling=4),
        "sum": E.Gain(RATE),
    },
    {"low": ["input"], "high": ["input"], "bent": ["high"], "sum": ["low", "bent"]},
)
chain = E.Chain(
    graph=graph,
    glue=E.Parallel(dry=E.Gain(RATE), crushed=E.Compressor(RATE)),
    space=E.Send(E.Mix(E.Freeverb(RATE))),
    off=E.Bypass(E.BitCrush(RATE)),
)
y = chain(burst, graph={"bent": {"drive_db": 18.0}}, space={"level_db": -6.0})
plt.figure(figsize=(11, 2.2), layout="constrained")
plt.plot(time, burst[0], color="0.8", linewidth=0.3)
plt.plot(time, y[0], linewidth=0.3)
plt.title(f"a burst through {len(chain.names)} parameters, {chain.latency} samples late")
plt.show()
