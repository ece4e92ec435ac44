"""Blocks in, blocks out: equal to the whole, aligned with the mix, exact in length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd.data import resample_audio
from sonograd.jobs.pipeline import separate_blocks
from sonograd.jobs.workers import ChunkRunner
from sonograd.separators import ChunkPlan, Separator

CPU = torch.device("cpu")


def run(separator, audio, sizes, *, rate=8000, output_rate=None, workers=2, plan=None, batch=1):
    """Push ``audio`` through in blocks of ``sizes``, over and over; return mix and stems."""
    blocks, position = [], 0
    while position < audio.shape[-1]:
        for size in sizes:
            blocks.append(audio[:, position : position + size])
            position += size
    with ChunkRunner(CPU, workers=workers, batch_size=batch) as runner:
        parts = list(
            separate_blocks(
                runner,
                separator.eval(),
                blocks,
                plan=plan or separator.plan,
                channels=audio.shape[0],
                sample_rate=rate,
                output_rate=output_rate or rate,
            )
        )
    empty = (audio[:, :0], audio[:, :0].expand(len(separator.stems), -1, -1))
    mixes, stems = zip(*[empty, *parts], strict=True)
    for mix, stem in parts:
        assert mix.shape[-1] == stem.shape[-1]
    return torch.cat(mixes, dim=-1), torch.cat(stems, dim=-1)


@given(
    samples=st.integers(0, 2500),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=4),
    workers=st.integers(1, 3),
    overlap=st.sampled_from([None, 0.0, 0.5, 0.9]),
)
def test_any_blocks_and_workers_equal_the_whole_to_the_bit(
    filters, samples, sizes, workers, overlap
):
    separator = filters()
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    plan = separator.plan if overlap is None else separator.plan.with_overlap(overlap)
    mix, stems = run(separator, audio, sizes, workers=workers, plan=plan)
    assert torch.equal(mix, audio)
    assert torch.equal(stems, separator.separate(audio, overlap=overlap))


def test_no_seam_and_no_edge_can_be_measured(filters):
    separator = filters()
    audio = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1))
    _, stems = run(separator, audio, [777])
    whole = separator(audio.unsqueeze(0))[0]
    torch.testing.assert_close(stems, whole, rtol=0, atol=2e-6)


def test_batches_equal_single_chunks(filters):
    separator = filters()
    audio = torch.randn(2, 5000, generator=torch.Generator().manual_seed(2))
    _, single = run(separator, audio, [1000])
    _, batched = run(separator, audio, [1000], batch=4)
    torch.testing.assert_close(batched, single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("model_channels", [1, 2])
def test_channels_come_back_in_order(filters, channels, model_channels):
    separator = filters(channels=model_channels)
    audio = torch.randn(channels, 3000, generator=torch.Generator().manual_seed(3))
    mix, stems = run(separator, audio, [512])
    assert torch.equal(mix, audio)
    # The filters treat channels alike, so each channel is what it would be alone.
    alone = filters(channels=1)
    expected = torch.cat([alone.separate(audio[i : i + 1]) for i in range(channels)], dim=-2)
    torch.testing.assert_close(stems, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model_rate", [5000, 8000, 11025, 48000])
@pytest.mark.parametrize("output_rate", [8000, 12000])
@pytest.mark.parametrize("samples", [1, 2, 100, 3001])
def test_rates_keep_length_and_alignment(filters, model_rate, output_rate, samples):
    separator = filters(sample_rate=model_rate)
    audio = torch.randn(2, samples, generator=torch.Generator().manual_seed(4))
    mix, stems = run(separator, audio, [333], rate=8000, output_rate=output_rate)
    expected_mix = resample_audio(audio, 8000, output_rate)
    torch.testing.assert_close(mix, expected_mix, rtol=0, atol=1e-6)
    at_model = resample_audio(audio, 8000, model_rate)
    padded = torch.nn.functional.pad(at_model, (0, 200))
    expected = resample_audio(separator.separate(padded).flatten(0, 1), model_rate, output_rate)
    expected = expected.unflatten(0, (3, 2))[..., : mix.shape[-1]]
    assert stems.shape == (3, *mix.shape)
    # Behind the end the model hears the tail of the resampling filter here, and zeros there.
    middle = slice(0, max(samples * output_rate // 8000 - 200, 0))
    torch.testing.assert_close(stems[..., middle], expected[..., middle], rtol=0, atol=1e-4)


def test_slow_signals_survive_a_change_of_rate_up_to_the_last_sample(filters):
    separator = filters(sample_rate=11025)
    time = torch.arange(4000) / 8000
    audio = (torch.sin(6.28318 * 50 * time) * torch.hann_window(4000)).expand(2, -1)
    mix, stems = run(separator, audio, [1000])
    torch.testing.assert_close(stems.sum(dim=0), mix, rtol=0, atol=1e-4)


class Speakers(Separator):
    """Two stems that are not alike, in an order that depends on the chunk."""

    stems = ("speaker 1", "speaker 2")
    sample_rate = 8000
    channels = 1
    interchangeable = True
    plan = ChunkPlan(400, 300)

    def forward(self, mix):
        stems = torch.stack((mix.relu(), -(-mix).relu()), dim=1)
        turned = mix[:, :1, 200:201, None] > 0
        return torch.where(turned, stems.flip(1), stems)


@pytest.mark.parametrize("seed", range(6))
def test_speakers_have_one_place_in_all_channels(seed):
    torch.manual_seed(seed)
    mix = torch.randn(1, 3000) + 0.5 * torch.randn(2, 3000)
    with ChunkRunner(torch.device("cpu"), workers=2) as runner:
        parts = separate_blocks(
            runner, Speakers().eval(), list(mix.split(700, dim=-1)), plan=Speakers.plan,
            channels=2, sample_rate=8000, output_rate=8000,
        )  # fmt: skip
        stems = torch.cat([part for _, part in parts], -1)
    found = stems if stems[0].min() >= 0 else stems.flip(0)
    torch.testing.assert_close(found, torch.stack((mix.relu(), -(-mix).relu())))
