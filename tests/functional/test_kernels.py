import builtins
import subprocess
import sys

import pytest
import torch

from sonograd import functional as F
from sonograd.functional import _kernels


@pytest.fixture
def fresh():
    _kernels.has_fast_kernels.cache_clear()
    yield
    _kernels.has_fast_kernels.cache_clear()


def test_says_whether_numba_can_be_used(fresh, monkeypatch):
    pytest.importorskip("numba")
    assert F.has_fast_kernels()
    _kernels.has_fast_kernels.cache_clear()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert not F.has_fast_kernels()


def test_without_numba_everything_still_works(fresh, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "numba":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert not F.has_fast_kernels()
    follow = F.envelope_follower(torch.ones(9), 0.0, 1.0, sample_rate=8000)
    assert (follow == 1).all()


def test_numba_is_not_loaded_before_it_is_used_and_leaves_the_threads_alone():
    pytest.importorskip("numba")
    program = (
        "import sys, torch, sonograd.functional as F\n"
        "assert 'numba' not in sys.modules\n"
        "torch.set_num_threads(1)\n"
        "F.state_variable_filter(torch.ones(50), 100.0, sample_rate=8000)\n"
        "assert 'numba' in sys.modules\n"
        "assert torch.get_num_threads() == 1, torch.get_num_threads()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
