"""The spectrogram U-Nets: their size, their statistics, and what their output depends on."""

import math

import pytest
import torch
from torch import nn

from sonograd.config import (
    SpectrogramNetLSTMConfig,
    SpectrogramNetSimpleConfig,
    SpectrogramNetVAEConfig,
    TFCTDFUNetConfig,
)
from sonograd.errors import ConfigError, ShapeError
from sonograd.functional.spectral import stft
from sonograd.separators import (
    SpectrogramNetLSTM,
    SpectrogramNetSimple,
    SpectrogramNetVAE,
    TFCTDFUNet,
    build_separator,
)
from sonograd.separators.blocks import PerBinAffine, UNet
from sonograd.separators.bottlenecks import ConvBottleneck, RecurrentBottleneck
from sonograd.separators.unet import mask_features

CONFIGS = (SpectrogramNetSimpleConfig, SpectrogramNetLSTMConfig, SpectrogramNetVAEConfig)
#: The command that the README of auralflow shows.
DOCUMENTED = {
    "num_channels": 1,
    "num_hidden_channels": 16,
    "sample_length": 3,
    "sample_rate": 44100,
    "dropout_p": 0.4,
    "leak_factor": 0,
    "normalize_input": True,
    "normalize_output": True,
    "mask_act_fn": "sigmoid",
    "num_fft": 2048,
    "window_size": 2048,
    "hop_length": 1024,
}
SMALL = {
    "num_hidden_channels": 4,
    "num_fft": 256,
    "window_size": 256,
    "hop_length": 64,
    "sample_rate": 8000,
    "sample_length": 0.25,
}


def small_config(kind, **changes):
    recurrent = {} if kind is SpectrogramNetSimpleConfig else {"hidden_size": 16}
    return kind(**{**SMALL, **recurrent, **changes})


def small(kind, **changes):
    return build_separator(small_config(kind, **changes))


@pytest.fixture(params=CONFIGS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.mark.parametrize(
    ("kind", "millions", "documented"),
    [
        (SpectrogramNetSimpleConfig, 7.9, 7_690_996),
        (SpectrogramNetLSTMConfig, 32.3, 31_443_188),
        (SpectrogramNetVAEConfig, 40.0, 36_688_116),
    ],
)
def test_parameter_counts_are_within_a_tenth_of_the_published_table(kind, millions, documented):
    with torch.device("meta"):
        net = build_separator(kind(**DOCUMENTED))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert abs(count / 1e6 / millions - 1) < 0.1
    assert count == documented


def test_the_state_holds_parameters_only(kind):
    net = small(kind, normalize_input=True, normalize_output=True)
    assert set(net.state_dict()) == {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize("training", [False, True])
def test_activations_keep_zero_mean_and_unit_variance_through_depth(kind, training):
    recurrent = {} if kind is SpectrogramNetSimpleConfig else {"hidden_size": 128}
    net = small(
        kind, num_hidden_channels=24, dropout_p=0.2, num_fft=1024, window_size=1024, **recurrent
    )
    statistics = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.SELU):
            module.register_forward_hook(
                lambda _, __, y, name=name: statistics.update({name: (y.mean(), y.var())})
            )
    net.train(training)
    with torch.no_grad():
        net(torch.randn(4, 1, 8000))
    assert len(statistics) >= 6 + 5 + (6 if kind is SpectrogramNetSimpleConfig else 1)
    for name, (mean, variance) in statistics.items():
        assert abs(mean) < 0.3, name
        assert 0.4 < variance < 1.8, name


@pytest.mark.parametrize(("bins", "frames"), [(1, 1), (5, 7), (64, 16), (65, 17), (127, 33)])
def test_levels_round_sizes_up_and_are_cut_again(bins, frames):
    net = UNet(1, 2, 1, 0.0, ConvBottleneck(16)).eval()
    rows = []
    net.bottleneck.register_forward_hook(lambda _, x, y: rows.append(tuple(x[0].shape[2:])))
    assert net(torch.randn(1, 1, bins, frames))[0].shape == (1, 2, bins, frames)
    assert rows == [(-(-bins // UNet.bin_stride), -(-frames // UNet.frame_stride))]


def test_masks_start_smooth():
    net = UNet(1, 1, 4, 0.0, ConvBottleneck(64)).eval()
    logits = net(torch.randn(1, 1, 64, 32))[0]
    blocks = logits.unfold(2, 2, 2).unfold(3, 2, 2)
    torch.testing.assert_close(blocks, blocks[..., :1, :1].expand_as(blocks))


def test_no_parameter_is_dead(kind):
    net = small(
        kind,
        targets=("a", "b"),
        num_channels=2,
        normalize_input=True,
        normalize_output=True,
        mask_act_fn="softmax",
    ).train()
    estimate = net.estimate(torch.randn(2, 2, 4000))
    loss = (estimate.stems * torch.randn_like(estimate.stems)).sum()
    if estimate.latent is not None:
        loss = loss + estimate.latent[1].sum()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("samples", [0, 1, 63, 64, 65, 2047, 2048, 5001])
def test_any_number_of_samples(kind, samples):
    net = small(kind, targets=("a", "b"), num_channels=2).eval()
    estimate = net.estimate(torch.randn(3, 2, samples))
    frames = 1 + math.ceil(max(samples - 1, 0) / 64)
    assert estimate.stems.shape == (3, 2, 2, samples)
    assert estimate.masks.shape == (3, 2, 2, 129, frames)
    assert estimate.mix_spectrum.shape == (3, 2, 129, frames)
    assert estimate.stems.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_number_of_channels(kind, channels):
    net = small(kind, num_channels=channels).eval()
    assert net.separate(torch.randn(channels, 3000)).shape == (1, channels, 3000)


@pytest.mark.parametrize(
    ("num_fft", "window_size", "hop_length"), [(256, 256, 128), (255, 201, 50), (300, 64, 17)]
)
@pytest.mark.parametrize("samples", [1, 77, 1000, 1999])
def test_a_mask_of_ones_restores_the_mix(monkeypatch, num_fft, window_size, hop_length, samples):
    net = small(
        SpectrogramNetSimpleConfig, num_fft=num_fft, window_size=window_size, hop_length=hop_length
    )
    monkeypatch.setattr(
        net, "_activate", lambda logits: logits.new_ones(2, 1, 1, num_fft // 2 + 1, 1)
    )
    mix = torch.randn(2, 1, samples)
    error = (net(mix)[:, 0] - mix).square().sum() / mix.square().sum()
    assert 10 * math.log10(error + 1e-20) < -90


def test_a_mask_of_ones_leaves_no_seam_between_chunks(monkeypatch):
    net = small(SpectrogramNetSimpleConfig)
    monkeypatch.setattr(net, "_activate", lambda logits: logits.new_ones(1, 1, 1, 129, 1))
    mix = torch.randn(1, 10_001)
    torch.testing.assert_close(net.separate(mix)[0], mix)


def test_items_do_not_depend_on_their_batch_in_evaluation(kind):
    net = small(kind).eval()
    mix = torch.randn(4, 1, 3000)
    together = net(mix)
    mix[3] = 100 * torch.randn(1, 3000)
    changed = net(mix)
    torch.testing.assert_close(together[:3], changed[:3], rtol=0, atol=0)
    alone = torch.cat([net(item[None]) for item in mix])
    torch.testing.assert_close(changed, alone, rtol=1e-3, atol=1e-4)


def test_items_do_not_depend_on_their_batch_in_training(kind):
    net = small(kind, normalize_input=True, normalize_output=True).train()
    mix = torch.randn(3, 1, 3000, requires_grad=True)
    (net(mix)[1] * torch.randn(1, 1, 3000)).sum().backward()
    assert mix.grad[1].abs().max() > 0
    assert mix.grad[[0, 2]].abs().max() == 0


def test_evaluation_is_deterministic_and_training_is_not(kind):
    net = small(kind)
    mix = torch.randn(1, 1, 3000)
    assert not torch.equal(net.train()(mix), net(mix))
    net.eval()
    assert not any(module.training for module in net.modules())
    assert torch.equal(net(mix), net(mix))


def test_dropout_is_as_configured_everywhere(kind):
    net = small(kind, dropout_p=0.15)
    dropouts = [
        module
        for module in net.modules()
        if isinstance(module, (nn.FeatureAlphaDropout, nn.Dropout))
    ]
    assert len(dropouts) == 5 + (kind is not SpectrogramNetSimpleConfig)
    assert {module.p for module in dropouts} == {0.15}


@pytest.mark.parametrize("kind", CONFIGS[:2])
def test_without_dropout_training_equals_evaluation(kind):
    net = small(kind, dropout_p=0.0)
    mix = torch.randn(2, 1, 3000)
    assert torch.equal(net.train()(mix), net.eval()(mix))


def _influence(bottleneck, rows, frames, *, at, seen):
    """How much features at one place change logits at another, both (bins, frames) slices."""
    net = UNet(1, 1, 1, 0.0, bottleneck).double().eval()
    features = torch.randn(1, 1, rows, frames, dtype=torch.float64)
    changed = features.clone()
    changed[(..., *at)] += 3.0
    with torch.no_grad():
        return (net(features)[0] - net(changed)[0])[(..., *seen)].abs().max().item()


def _recurrent(input_axis, rows):
    return RecurrentBottleneck(
        16,
        -(-rows // 64),
        hidden_size=8,
        recurrent_depth=2,
        dropout_p=0.0,
        input_axis=input_axis,
        variational=False,
    )


def test_only_recurrence_over_time_reaches_beyond_the_convolutions_in_time():
    frames = {"at": (slice(None), slice(0, 5)), "seen": (slice(None), slice(900, None))}
    assert _influence(ConvBottleneck(16), 64, 960, **frames) == 0
    assert _influence(_recurrent(0, 64), 64, 960, **frames) == 0
    assert _influence(_recurrent(1, 64), 64, 960, **frames) > 1e-8
    backwards = {"at": frames["seen"], "seen": frames["at"]}
    assert _influence(_recurrent(1, 64), 64, 960, **backwards) > 1e-8


def test_only_the_recurrent_nets_reach_beyond_the_convolutions_in_frequency():
    bins = {"at": (slice(0, 5),), "seen": (slice(900, None),)}
    bins = {key: (*value, slice(None)) for key, value in bins.items()}
    assert _influence(ConvBottleneck(16), 960, 32, **bins) == 0
    assert _influence(_recurrent(0, 960), 960, 32, **bins) > 1e-8
    assert _influence(_recurrent(1, 960), 960, 32, **bins) > 1e-8


@pytest.mark.parametrize("kind", CONFIGS[1:])
@pytest.mark.parametrize(("input_axis", "steps"), [(1, 7), (0, 7 * 2)])
def test_recurrence_over_frequency_takes_frames_as_items(kind, input_axis, steps):
    net = small(kind, input_axis=input_axis).eval()
    lengths = []
    for module in net.modules():
        if isinstance(module, nn.LSTM):
            module.register_forward_hook(lambda _, x, y: lengths.append(tuple(x[0].shape[:2])))
    estimate = net.estimate(torch.randn(3, 1, 100 * 64))  # 101 frames are 7 steps
    assert lengths == [(3, 7) if input_axis == 1 else (3 * 7, 2)] * 3
    if estimate.latent is not None:
        assert estimate.latent[0].shape == estimate.latent[1].shape == (3, steps, 16)


def test_masks_do_not_depend_on_the_gain(kind):
    net = small(kind).eval()
    mix = torch.randn(2, 1, 3000)
    expected = net.estimate(mix).masks
    for gain in (1e-15, 1e-4, 32768.0, 1e15):
        torch.testing.assert_close(net.estimate(gain * mix).masks, expected, atol=1e-4, rtol=1e-3)


def test_features_are_standardized_and_do_not_depend_on_silence_around():
    mix = torch.randn(2, 1, 8000) * torch.tensor([1.0, 1e-6])[:, None, None]
    spectrum = stft(mix, n_fft=256, hop_length=64)
    features = mask_features(spectrum)
    assert features.shape == spectrum.shape
    assert features.mean(dim=(1, 2, 3)).abs().max() < 0.05
    torch.testing.assert_close(features.var(dim=(1, 2, 3)), torch.ones(2), atol=0.05, rtol=0)
    padded = torch.nn.functional.pad(spectrum, (100, 1000))
    torch.testing.assert_close(
        mask_features(padded)[..., 100:-1000], features, atol=1e-4, rtol=1e-4
    )


def test_silence_has_finite_features_gradients_and_silent_stems(kind):
    net = small(kind).train()
    mix = torch.zeros(2, 1, 2000, requires_grad=True)
    stems = net(mix)
    assert (stems == 0).all()
    stems.sum().backward()
    assert mix.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_not_a_number_stays_in_its_item(kind):
    mix = torch.randn(2, 1, 2000)
    mix[0, 0, 7] = math.nan
    stems = small(kind).eval()(mix)
    assert stems[0].isnan().any()
    assert stems[1].isfinite().all()


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        ("sigmoid", 0, 1),
        ("tanh", 0, 1),
        ("softmax", 0, 1),
        ("relu", 0, math.inf),
        ("leaky_relu", -math.inf, math.inf),
    ],
)
def test_ranges_of_the_masks(activation, low, high):
    net = small(
        SpectrogramNetSimpleConfig,
        targets=("a", "b", "c"),
        mask_act_fn=activation,
        leak_factor=0.25,
        normalize_output=True,
    ).eval()
    nn.init.constant_(net.output_norm.scale, 30.0)
    masks = net.estimate(torch.randn(1, 1, 4000)).masks
    assert masks.min() >= low
    assert masks.max() <= high
    assert high == 1 or masks.max() > 1
    assert low == 0 or -0.5 * masks.max() < masks.min() < -1
    assert torch.equal(masks[..., -1, :], masks[..., -2, :])


def test_the_leak_is_the_negative_slope():
    def masks(leak_factor):
        torch.manual_seed(3)
        net = small(SpectrogramNetSimpleConfig, mask_act_fn="leaky_relu", leak_factor=leak_factor)
        return net.eval().estimate(torch.ones(1, 1, 500)).masks

    plain, leaky = masks(0.0), masks(0.5)
    assert plain.min() == 0
    negative = leaky < 0
    assert negative.any()
    assert (plain[negative] == 0).all()
    torch.testing.assert_close(leaky[~negative], plain[~negative])
    torch.testing.assert_close(masks(0.25)[negative], leaky[negative] / 2)


def test_softmax_masks_share_out_the_mix(kind):
    net = small(kind, targets=("a", "b", "c"), mask_act_fn="softmax").eval()
    mix = torch.randn(2, 1, 3000)
    torch.testing.assert_close(net(mix).sum(dim=1), mix, atol=1e-5, rtol=1e-4)


def test_the_variational_net_exposes_its_latent_and_draws_it_in_training():
    net = small(SpectrogramNetVAEConfig, dropout_p=0.0)
    mix = torch.randn(2, 1, 3000)
    first, second = net.train().estimate(mix), net.estimate(mix)
    assert not torch.equal(first.stems, second.stems)
    for left, right in zip(first.latent, second.latent, strict=True):
        assert torch.equal(left, right)
    assert first.latent[0].requires_grad
    assert small(SpectrogramNetLSTMConfig).estimate(mix).latent is None


@pytest.mark.parametrize(
    ("dtype", "gain"),
    [(torch.bfloat16, 1e-6), (torch.bfloat16, 32768.0), (torch.float16, 1.0)],
)
def test_mixed_precision_is_finite(kind, dtype, gain):
    net = small(kind).train()
    mix = gain * torch.randn(2, 1, 1000)
    with torch.autocast("cpu", dtype=dtype):
        estimate = net.estimate(mix)
    assert estimate.stems.dtype == estimate.masks.dtype == torch.float32
    loss = (estimate.stems / gain).square().mean()
    if estimate.latent is not None:
        assert estimate.latent[1].dtype == torch.float32
        loss = loss + estimate.latent[0].square().mean() + estimate.latent[1].exp().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_the_log_variance_cannot_run_away():
    net = small(SpectrogramNetVAEConfig).train()
    nn.init.constant_(net.unet.bottleneck.encode.log_variance.bias, 1e4)
    estimate = net.estimate(torch.randn(1, 1, 2000))
    assert estimate.latent[1].max() <= 10
    assert estimate.stems.isfinite().all()


def test_type_follows_the_mix(kind):
    net = small(kind).eval()
    mix = torch.randn(1, 1, 3000, dtype=torch.float64)
    expected = net(mix)
    assert expected.dtype == torch.float64
    torch.testing.assert_close(net(mix.float()).double(), expected, atol=1e-4, rtol=1e-3)
    half = net(mix.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), expected, atol=0.1, rtol=0.05)


def test_three_steps_lower_the_loss(kind):
    time = torch.arange(4000) / 8000
    low, high = torch.sin(300 * time), torch.sin(9000 * time)
    mix, target = (low + high).expand(4, 1, -1), low.expand(4, 1, 1, -1)
    net = small(kind, dropout_p=0.0).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(4):
        loss = (net(mix) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[3] < 0.95 * losses[0]


def test_learned_normalization_per_bin(kind):
    net = small(kind, targets=("a", "b"), normalize_input=True, normalize_output=True).eval()
    assert net.input_norm.scale.shape == (1, 1, 128, 1)
    assert net.output_norm.scale.shape == (2, 1, 128, 1)
    mix = torch.randn(1, 1, 3000)
    with torch.no_grad():
        before = net.estimate(mix).masks
        net.output_norm.shift[1, 0, 40] = 5.0
        after = net.estimate(mix).masks
        changed = (after != before).any(dim=-1)
        assert changed.nonzero().tolist() == [[0, 1, 0, 40]]
        net.input_norm.scale[0, 0, 60] = 3.0
        assert not torch.equal(net.estimate(mix).masks, after)


def test_per_bin_affine_groups_maps():
    layer = PerBinAffine(3, groups=2)
    layer.scale.data[1].fill_(2.0)
    x = torch.ones(1, 4, 3, 5)
    assert layer(x)[0, :, 0, 0].tolist() == [1, 1, 2, 2]


def test_chunks_keep_the_sample_length_on_the_grid_of_frames():
    plan = build_separator(SpectrogramNetSimpleConfig(num_hidden_channels=1)).plan
    assert plan.length == 3 * 44100
    assert plan.hop % (16 * 512) == 0
    assert plan.context % 512 == 0
    assert plan.context >= 1024
    assert 0.2 < 1 - plan.hop / plan.length < 0.3
    assert -(-plan.input_length // 512) + 1 in {271, 272}  # whole strides, or one frame less


@pytest.mark.parametrize("sample_length", [0.0321, 0.05, 1])
def test_any_sample_length_gives_a_plan(sample_length):
    net = small(SpectrogramNetSimpleConfig, sample_length=sample_length)
    assert 1 <= net.plan.hop <= net.plan.length == round(8000 * sample_length)
    assert net.separate(torch.randn(1, 500)).shape == (1, 1, 500)


def test_wrong_layouts_are_refused():
    net = small(SpectrogramNetSimpleConfig, num_channels=2)
    with pytest.raises(ShapeError, match=r"expected \(batch, channels, samples\)"):
        net(torch.zeros(100))
    with pytest.raises(ShapeError, match=r"mix\.mT"):
        net(torch.zeros(1, 100, 2))
    with pytest.raises(ShapeError, match="floating"):
        net(torch.zeros(1, 2, 100, dtype=torch.int16))


def test_building_validates_the_configuration():
    config = SpectrogramNetSimpleConfig(num_channels=0, dropout_p=1.0)
    for build in (build_separator, SpectrogramNetSimple):
        with pytest.raises(ConfigError, match=r"SpectrogramNetSimple: num_channels: .*; dropout_p"):
            build(config)
    with pytest.raises(ConfigError, match=r"SpectrogramNetVAE: hidden_size: "):
        SpectrogramNetVAE(SpectrogramNetVAEConfig(hidden_size=33))
    with pytest.raises(ConfigError, match=r"SpectrogramNetLSTM: sample_length: "):
        SpectrogramNetLSTM(SpectrogramNetLSTMConfig(sample_length=float("nan")))
    with pytest.raises(ConfigError, match=r"TFCTDFUNet: num_levels: "):
        TFCTDFUNet(TFCTDFUNetConfig(num_levels=0))


@pytest.mark.gpu
def test_half_precision_training_on_cuda(kind):
    net = small(kind).cuda().train()
    mix = torch.randn(2, 1, 3000, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        estimate = net.estimate(mix)
    estimate.stems.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("input_axis", [0, 1])
def test_latent_of_an_empty_batch(input_axis):
    net = small(SpectrogramNetVAEConfig, input_axis=input_axis)
    full, empty = (net.estimate(torch.zeros(batch, 1, 500)) for batch in (2, 0))
    assert empty.stems.shape == (0, 1, 1, 500)
    for one, none in zip(full.latent, empty.latent, strict=True):
        assert none.shape == (0, *one.shape[1:])
