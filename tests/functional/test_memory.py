import pytest
import torch

from sonograd.functional._memory import new_memory


@pytest.mark.parametrize("samples", [0, 3, 1 << 21])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex128, torch.float16, None])
def test_shape_and_type(samples, dtype):
    like = torch.zeros(1, dtype=torch.float64)
    memory = new_memory(like, (2, samples), dtype)
    assert memory.shape == (2, samples)
    assert memory.dtype == (dtype or torch.float64)
    assert memory.fill_(1).sum() == 2 * samples or memory.dtype == torch.float16


def test_other_devices():
    assert new_memory(torch.zeros(1, device="meta"), (4, 1 << 22)).device.type == "meta"
