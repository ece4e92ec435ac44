import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError

VALUES = {"attack_s": 0.01, "decay_s": 0.2, "sustain": 0.4, "release_s": 0.05, "gate_s": 0.5}


def _expected(time, attack_s, decay_s, sustain, release_s, gate_s):
    def held(t):
        if t < attack_s:
            return t / attack_s
        return sustain + (1 - sustain) * np.exp(-(t - attack_s) / decay_s)

    return [
        held(t) if t < gate_s else held(gate_s) * np.exp(-(t - gate_s) / release_s) for t in time
    ]


@pytest.mark.parametrize("gate_s", [0.5, 0.004, 0.0, 3.0])
def test_closed_form(gate_s):
    values = VALUES | {"gate_s": gate_s}
    actual = F.adsr(1000, sample_rate=1000, dtype=torch.float64, **values)
    np.testing.assert_allclose(actual, _expected(np.arange(1000) / 1000, **values), atol=1e-12)


def test_zero_times_do_not_divide_by_zero():
    values = VALUES | {"attack_s": 0.0, "decay_s": 0.0, "release_s": 0.0}
    actual = F.adsr(1000, sample_rate=1000, **values)
    assert actual[0] == 1
    assert (actual[1:500] - 0.4).abs().max() < 1e-6
    assert (actual[501:] == 0).all()


def test_tensors_broadcast_and_have_gradients():
    names = list(VALUES)
    values = [torch.tensor([v, 1.3 * v], dtype=torch.float64) for v in VALUES.values()]
    options = {"sample_rate": 61.7, "dtype": torch.float64}
    both = F.adsr(50, **options, **dict(zip(names, values, strict=True)))
    assert both.shape == (2, 50)
    single = F.adsr(
        50, sample_rate=61.7, dtype=torch.float64, **{n: 1.3 * v for n, v in VALUES.items()}
    )
    torch.testing.assert_close(both[1], single)
    for value in values:
        value.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda *v: F.adsr(50, **options, **dict(zip(names, v, strict=True))),
        values,
    )


def test_refuses_negative_values():
    with pytest.raises(ParameterError, match=r"release_s is -1"):
        F.adsr(10, sample_rate=10, **(VALUES | {"release_s": -1}))
    with pytest.raises(ParameterError, match=r"samples is -1"):
        F.adsr(-1, sample_rate=10, **VALUES)
