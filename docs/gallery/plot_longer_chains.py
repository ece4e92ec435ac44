"""
Longer chains
=============

From one gain to the chain of a mastering desk, link by link. A dry and a processed recording go in,
the settings come out: :func:`~sonograd.matching.match`. It is the promise that the exercise with
the gain makes, kept with other means: processors that are exact, closed forms for what can be
solved, and a second-order solver for the rest.
"""

# %%
# The material
# ------------
# Three seconds of a synthetic song, mono and at a low rate to keep this page quick.

import matplotlib.pyplot as plt
import torch

from sonograd import plotting
from sonograd.data.songs import make_song
from sonograd.effects import Chain, Compressor, Gain, ParametricEQ, TwoStageLimiter
from sonograd.matching import match

RATE = 11_025

song = make_song(3, seconds=3.0, sample_rate=RATE)
dry = song.stems.sum(0).mean(0, keepdim=True)
dry = 0.6 * dry / dry.abs().max()


def tell(result, truth):
    """Print what was found beside what was set."""
    for stage, name, value, unit, error, known in result.rows():
        if name in truth.get(stage, {}):
            found = f"{value:9.3f} ± {error:.1g} {unit}" if known else "not identifiable"
            print(f"{stage + '.' + name:34} {found:24} truth {truth[stage][name]:9.3f}")
    print(f"null depth {result.score.null_db:.1f} dB, a gain alone {result.score.gain_only_db:.1f}")


# %%
# A gain, a delay, a turn
# -----------------------
# The exercise again, on music, and made harder: the wet file is late by 23 samples and turned over.
# Neither is a problem once both are among the unknowns.

late = torch.nn.functional.pad(-0.15 * dry, (23, 0))
gain = match(dry, late, "gain", sample_rate=RATE)
print(
    f"gain {gain.gain:.6f}, polarity {gain.polarity}, {gain.delay_samples:.3f} samples late,"
    f" null depth {gain.score.null_db:.0f} dB"
)

# %%
# A compressor
# ------------
# Five values, one of which (the gain) the others can nearly make up for. Levenberg-Marquardt with
# exact derivatives takes a few steps; Adam on the same exact model is given sixty.

compressor = Chain(compressor=Compressor(RATE), gain=Gain(RATE))
compressor_truth = {
    "compressor": {"threshold_db": -24.0, "ratio": 3.0, "attack_ms": 10.0, "release_ms": 120.0},
    "gain": {"gain_db": 3.0},
}
wet = compressor(dry, **compressor_truth)
second_order = match(dry, wet, "compressor,gain", sample_rate=RATE)
tell(second_order, compressor_truth)
first_order = match(dry, wet, "compressor,gain", sample_rate=RATE, method="adam", steps=60)
print(f"Adam: {first_order.score.null_db:.1f} dB after 60 steps")

# %%
figure = plotting.static_curve(
    {
        "found": (
            second_order.static_curve.curve_input_db,
            second_order.static_curve.curve_output_db,
        )
    },
    pairs=(second_order.static_curve.input_db, second_order.static_curve.output_db),
    title="Level in, level out",
)
figure

# %%
# An equalizer
# ------------
# The response is measured first, from the cross spectrum of the two recordings; then bands are laid
# on it, and all values refined on the waveform. Bands that overlap can trade places, so compare
# curves.

equalizer = Chain(parametric_eq=ParametricEQ(RATE, bands=3), gain=Gain(RATE))
equalizer_truth = {
    "parametric_eq": {
        "band1_frequency_hz": 150.0,
        "band1_gain_db": 5.0,
        "band2_frequency_hz": 900.0,
        "band2_gain_db": -6.0,
        "band2_q": 1.4,
        "band3_frequency_hz": 3000.0,
        "band3_gain_db": 3.5,
    }
}
equalized = match(dry, equalizer(dry, **equalizer_truth), "eq3,gain", sample_rate=RATE)
tell(equalized, equalizer_truth)

transfer = equalized.transfer
figure = plotting.response(
    {
        "found": transfer.fitted,
        "truth": lambda x: equalizer(x, **equalizer_truth),
    },
    sample_rate=RATE,
    frequencies=transfer.frequencies_hz,
    measured=transfer.measured,
    coherence=transfer.coherence,
    title="An equalizer",
)
figure

# %%
# A mastering chain
# -----------------
# Equalizer, compressor and limiter in a row. A band of the equalizer moves every threshold after
# it, so nothing can be found stage by stage: the solver has all values in one system of equations.
# The limiter has little to do here. What the recording does not show of it is not made up.

mastering = Chain(
    parametric_eq=ParametricEQ(RATE, bands=3),
    compressor=Compressor(RATE),
    two_stage_limiter=TwoStageLimiter(RATE),
)
mastering_truth = {
    **equalizer_truth,
    "compressor": {"threshold_db": -22.0, "ratio": 2.5, "attack_ms": 15.0, "release_ms": 150.0},
    "two_stage_limiter": {"threshold_db": -6.0, "release_ms": 90.0},
}
mastered = match(dry, mastering(dry, **mastering_truth), "eq3,compressor,limiter", sample_rate=RATE)
tell(mastered, mastering_truth)
print(*mastered.verdict, *mastered.warnings, sep="\n")

# %%
# How each of them came to its end: the level of wet over what remains, after each step.

figure = plotting.convergence(
    {
        "compressor, second order": second_order.history["final"],
        "compressor, Adam": first_order.history["final"],
        "equalizer": equalized.history["final"],
        "equalizer, compressor, limiter": mastered.history["final"],
    },
    title="Null depth",
)
figure

# %%
# On the command line this is ``sonograd match dry.wav wet.wav``, with a report for each; the guide
# :doc:`/match` tells how to read it.

plt.close("all")
