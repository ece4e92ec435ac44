"""Shapes that broadcast, without the compiler of torch."""

import subprocess
import sys

import pytest
import torch

from sonograd.functional._values import broadcast_shapes


@pytest.mark.parametrize("shapes", [((2, 1), (3,), ()), ((0, 1), (1, 4)), ((5,),), ((), ())])
def test_shapes_are_those_of_torch(shapes):
    assert broadcast_shapes(*shapes) == torch.broadcast_shapes(*shapes)


def test_what_does_not_broadcast_is_refused():
    with pytest.raises(RuntimeError):
        broadcast_shapes((2,), (3,))


def test_a_first_convolution_does_not_import_the_compiler():
    code = (
        "import sys, torch; from sonograd.functional import fft_convolve;"
        "fft_convolve(torch.ones(8), torch.ones(3)); sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
