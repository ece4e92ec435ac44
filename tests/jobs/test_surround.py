"""Channels of files through models with another number of channels."""

import pytest
import torch

from sonograd.errors import AudioError
from sonograd.jobs.surround import ChannelLayout


@pytest.mark.parametrize("model_channels", [1, 2])
@pytest.mark.parametrize("channels", range(1, 13))
def test_splitting_and_joining_gives_every_channel_back(channels, model_channels):
    layout = ChannelLayout.between(channels, model_channels)
    assert sorted(number for group in layout.groups for number in group) == list(range(channels))
    chunk = torch.randn(channels, 7)
    items = layout.split(chunk)
    assert all(item.shape == (model_channels, 7) for item in items)
    stems = layout.join([torch.stack((item, -item, 3 * item)) for item in items])
    assert torch.equal(stems, torch.stack((chunk, -chunk, 3 * chunk)))


def test_surround_goes_in_pairs_with_center_and_lfe_alone():
    assert ChannelLayout.between(6, 2).groups == ((0, 1), (2,), (3,), (4, 5))
    assert ChannelLayout.between(8, 2).groups == ((0, 1), (2,), (3,), (4, 5), (6, 7))


def test_dual_mono_is_averaged_back():
    layout = ChannelLayout.between(1, 2)
    (item,) = layout.split(torch.ones(1, 4))
    stems = (item * torch.tensor([[1.0], [3.0]])).unsqueeze(0)
    assert torch.equal(layout.join([stems]), torch.full((1, 1, 4), 2.0))


def test_equal_channels_are_not_touched():
    assert ChannelLayout.between(4, 4).groups == ((0, 1, 2, 3),)
    assert ChannelLayout.between(1, 4).groups == ((0,),)


def test_what_has_no_sensible_way_is_refused():
    with pytest.raises(AudioError, match="6 channels and the model works on 4"):
        ChannelLayout.between(6, 4)
