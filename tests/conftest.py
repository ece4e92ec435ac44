"""Fixtures that every test shares."""

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("sonograd", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("sonograd")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20261121)


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)
