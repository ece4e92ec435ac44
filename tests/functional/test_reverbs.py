import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError

RATE = 44_100


def _room(seed=1, **values):
    generator = torch.Generator().manual_seed(seed)
    options = {"sample_rate": RATE, "generator": generator, "dtype": torch.float64}
    return F.noise_reverb_impulse(0.8, **options, **values)


def test_decays_by_its_time():
    """Schroeder's backward integral falls by 60 dB in ``t60_s``."""
    impulse = _room(channels=8, duration_s=2.0)
    energy = impulse.square().flip(-1).cumsum(-1).flip(-1).mean(0)
    level = 10 * torch.log10(energy / energy[0])
    time = np.arange(int(0.6 * RATE)) / RATE
    slope = np.polyfit(time, level[: len(time)].numpy(), 1)[0]
    assert -60 / slope == pytest.approx(0.8, rel=0.02)


def test_seed_energy_and_channels():
    impulse = _room(predelay_s=0.01)
    assert impulse.shape == (2, round(0.88 * RATE) + 441)
    assert (impulse[:, :441] == 0).all()
    torch.testing.assert_close(impulse.square().sum(-1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(impulse, _room(predelay_s=0.01), rtol=0, atol=0)
    assert abs(float((impulse[0] * impulse[1]).sum())) < 0.05
    assert not torch.equal(impulse, _room(2, predelay_s=0.01))


def test_cuts_damp_the_ends():
    def band(impulse, low, high):
        power = torch.fft.rfft(impulse).abs().square().mean(0)
        frequency = torch.fft.rfftfreq(impulse.shape[-1], 1 / RATE)
        return 10 * torch.log10(power[(frequency > low) & (frequency < high)].mean())

    cut = _room(low_cut_hz=400.0, high_cut_hz=4000.0)
    middle = band(cut, 900, 1700)
    assert middle - band(cut, 40, 60) == pytest.approx(18, abs=2.5)
    assert middle - band(cut, 15_500, 16_500) == pytest.approx(14, abs=3)


def test_refuses():
    generator = torch.Generator()
    with pytest.raises(ParameterError, match=r"t60_s is 0\.0"):
        F.noise_reverb_impulse(0.0, sample_rate=RATE, generator=generator)
    with pytest.raises(ParameterError, match="channels 0"):
        F.noise_reverb_impulse(1.0, sample_rate=RATE, generator=generator, channels=0)
