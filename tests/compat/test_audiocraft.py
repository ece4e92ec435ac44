import inspect

import torch

from sonograd import functional, metrics
from sonograd.compat.audiocraft.metrics import rvm


def test_names_and_signatures_of_the_original():
    assert rvm.RelativeVolumeMel is metrics.RelativeVolumeMel
    assert rvm.db_to_scale is functional.db_to_scale
    signature = inspect.signature(rvm.RelativeVolumeMel)
    positional = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }
    assert positional == {
        "sample_rate": 24_000,
        "n_mels": 80,
        "n_fft": 512,
        "hop_length": 128,
        "min_relative_volume": -25,
        "max_relative_volume": 25,
        "max_initial_gain": 25,
        "min_activity_volume": -25,
        "num_aggregated_bands": 4,
    }
    call = list(inspect.signature(rvm.RelativeVolumeMel.forward).parameters)
    assert call[1:3] == ["estimate", "ground_truth"]
    scale = inspect.signature(rvm.scale_to_db).parameters
    assert list(scale) == ["scale", "min_volume"]
    assert scale["min_volume"].default == -120


def test_decibels():
    assert rvm.db_to_scale(-40.0) == 0.01
    torch.testing.assert_close(rvm.db_to_scale(torch.tensor([0.0, 20.0])), torch.tensor([1.0, 10]))
    levels = rvm.scale_to_db(torch.tensor([1.0, 0.01, 0.0]), min_volume=-60)
    torch.testing.assert_close(levels, torch.tensor([0.0, -40.0, -60.0]))
