"""The operators give what the functions give; each is the gradient of the other."""

import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import gabor_operators as operators
from sonograd.functional.gabor_frame import gabor_frame, whole_size
from sonograd.functional.gabor_transform import gabor_analysis, gabor_synthesis

EDGES = [200.0 * 2 ** (k / 3) for k in range(-1, 9)]
SETTINGS = (EDGES, 8000.0, 3)


@pytest.mark.parametrize("samples", [0, 1, 2, 37, 1000])
def test_equal_to_the_functions(samples):
    x = torch.randn(2, 3, samples, dtype=torch.float64)
    size = whole_size(samples)
    frame = gabor_frame(EDGES, sample_rate=8000.0, size=size, group=3).to(x)
    expected = gabor_analysis(torch.nn.functional.pad(x, (0, size - samples)), frame)
    found = operators.analyze_whole(x, SETTINGS)
    for part, other in zip(
        (found.low, *found.octaves, found.high),
        (expected.low, *expected.octaves, expected.high),
        strict=True,
    ):
        assert torch.equal(part, other)
    assert found.samples == samples
    restored = operators.synthesize_whole(found, SETTINGS)
    assert torch.equal(restored, gabor_synthesis(found, frame)[..., :samples])
    torch.testing.assert_close(restored, x)


@pytest.mark.parametrize("samples", [5, 37])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients(samples, transposed):
    x = torch.randn(2, samples, dtype=torch.float64, requires_grad=True)

    def analysis(x):
        return tuple(operators._analysis(x, *SETTINGS, transposed))

    def synthesis(*parts):
        return operators._synthesis(list(parts), *SETTINGS, samples, transposed)

    assert torch.autograd.gradcheck(analysis, (x,))
    assert torch.autograd.gradgradcheck(analysis, (x,))
    parts = tuple(part.detach().requires_grad_() for part in analysis(x))
    assert torch.autograd.gradcheck(synthesis, parts)
    assert torch.autograd.gradgradcheck(synthesis, parts)


def test_coefficients_of_another_length_are_refused():
    spectrum = operators.analyze_whole(torch.randn(100), SETTINGS)
    with pytest.raises(ShapeError, match="those of 1000 samples"):
        operators.synthesize_whole(spectrum._replace(samples=1000), SETTINGS)


@pytest.mark.slow
def test_operators_keep_the_rules_of_torch():
    x = torch.randn(2, 37, requires_grad=True)
    parts = [p.detach().requires_grad_() for p in operators._analysis(x, *SETTINGS, False)]
    torch.library.opcheck(operators._analysis, (x, *SETTINGS, False))
    torch.library.opcheck(operators._synthesis, (parts, *SETTINGS, 37, False))
