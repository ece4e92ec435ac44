"""From files of others to separators: what cannot be is said, and nothing else."""

import json

import pytest
import torch
from safetensors.torch import save_file

from sonograd.config import ConvTasNetConfig, MelBandRoFormerConfig, OpenUnmixConfig
from sonograd.errors import (
    CheckpointError,
    ConfigError,
    OutputError,
    ParameterError,
    SonogradError,
)
from sonograd.jobs.convert import convert
from sonograd.separators import MelBandRoFormer, OpenUnmix, load_separator, save_separator
from sonograd.zoo.convert import convert_checkpoint
from sonograd.zoo.unpickle import published_names, read_published

MEL = {
    "dim": 8, "depth": 1, "stereo": True, "num_stems": 1, "time_transformer_depth": 1,
    "freq_transformer_depth": 1, "dim_head": 4, "heads": 2, "num_bands": 4, "stft_n_fft": 256,
    "stft_hop_length": 64, "stft_win_length": 256, "sample_rate": 8000, "sources": ["vocals"],
}  # fmt: skip
UMX = {"nb_channels": 2, "hidden_size": 8, "n_fft": 128, "n_hop": 32, "max_bin": 50,
       "sample_rate": 8000}  # fmt: skip


def refused(files, match, kind=SonogradError, **options):
    with pytest.raises(kind, match=match) as info:
        convert_checkpoint(files, **options)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 1500


@pytest.fixture
def umx(tmp_path):
    """Write one network of Open-Unmix, as published, and return its path and the model."""
    model = OpenUnmix(
        OpenUnmixConfig(
            targets=("vocals",), hidden_size=8, num_fft=128, hop_length=32, max_bin=50,
            sample_rate=8000,
        )
    ).eval()  # fmt: skip
    state = {name.removeprefix("nets.0."): value for name, value in model.state_dict().items()}
    path = tmp_path / "vocals-b62c91ce.pth"
    torch.save(state, path)
    (tmp_path / "net.json").write_text(json.dumps(UMX))
    return path, model


@pytest.mark.parametrize("family", [None, "OpenUnmix"])
def test_one_network_of_several_is_called_like_its_file(umx, tmp_path, family):
    path, model = umx
    weights = convert(path, tmp_path / "out", family=family, config=tmp_path / "net.json")
    assert load_separator(weights).stems == ("vocals",)
    for name, tensor in load_separator(weights).state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_names_of_networks_in_wrappers(umx, tmp_path, prefix):
    path, _ = umx
    state = read_published(path).state
    wrapped = tmp_path / "wrapped.ckpt"
    torch.save({"state_dict": {f"{prefix}{name}": value for name, value in state.items()}}, wrapped)
    assert published_names(wrapped) == list(state)
    assert list(read_published(wrapped).state) == list(state)


def test_names_out_of_a_file_are_shown_short_and_on_one_line(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({f"{n}\n" + "x" * 2000: torch.ones(1) for n in range(9)}, path)
    refused([path], r"its tensors are '0\\nx+\.\.\., .* and 6 more\); give one of")
    sign = "separation_net.dp_modules.\n" + "x" * 2000
    torch.save({sign: torch.ones(1)}, path)
    refused([path], r"which has 'separation_net\S+\.\.\., not", family="HTDemucs", settings=UMX)


def test_names_are_found_without_the_numbers(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_file({"module.a": torch.ones(1), "module.b": torch.ones(1)}, path)
    with monkeypatch.context() as patch:
        patch.setattr("sonograd.zoo.unpickle._read_safetensors", None)
        assert published_names(path) == ["a", "b"]
    with pytest.raises(CheckpointError, match="no such file"):
        published_names(tmp_path / "b.safetensors")


def test_the_state_is_what_has_tensors(tmp_path):
    path = tmp_path / "a.ckpt"
    weight = torch.ones(2)
    torch.save({"state": {"a": 1}, "model": {}, "state_dict": {"weight": weight}}, path)
    assert list(read_published(path).state) == ["weight"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("family", "SCNet"), ("stems", ["x"]), ("settings", {"a": 1})],
)
def test_files_of_our_own_take_no_arguments(tmp_path, option, value):
    path = tmp_path / "a.safetensors"
    save_separator(MelBandRoFormer(mel_config()), path)
    assert convert_checkpoint([path]).stems == ("vocals",)
    refused([path], f"written by sonograd .* leave out {option}", ParameterError, **{option: value})


def mel_config():
    return MelBandRoFormerConfig(
        width=8, depth=1, head_width=4, num_heads=2, num_bands=4, num_fft=256, hop_length=64,
        sample_rate=8000, mask_depth=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("family", "settings", "match"),
    [
        ("MelBandRoFormer", {"attn_dropout": "abc"}, "could not convert string to float: 'abc'"),
        ("MelBandRoFormer", {"dim": "wide"}, "width: input should be a valid integer"),
        ("MelBandRoFormer", {"sources": 5}, "make no sense .TypeError"),
        ("MelBandRoFormer", {"depth": 10**30}, "depth: a number of 100 bits"),
        ("MelBandRoFormer", {"depth": torch.ones(3)}, "depth: a tensor, expected plain values"),
        (
            "MelBandRoFormer",
            {"depth": 10**6},
            "holds 2 tensors, but a MelBandRoFormer .* more than",
        ),
        ("MelBandRoFormer", {"stft_n_fft": 2**40, "stft_win_length": 2**40}, "num_fft"),
        ("MelBandRoFormer", {"sample_rate": float("nan")}, "sample_rate"),
        ("MelBandRoFormer", {"sample_rate": 0, "chunk_size": 5}, "ZeroDivisionError"),
        ("MelBandRoFormer", {f"a{n}": 1 for n in range(2000)}, "2014 settings, expected 1000"),
        ("MelBandRoFormer", {"x": [[0] * 1000] * 200}, "x: more than 100000 values"),
        ("HTDemucs", {"freq_emb": "abc"}, "could not convert string to float: 'abc'"),
        ("HTDemucs", {"nfft": 2**40}, "num_fft: is 1099511627776, expected"),
        ("HTDemucs", {"channels": 10**9}, "num_hidden_channels: is 1000000000, expected"),
        ("HTDemucs", {"channels": 10**6}, "holds 4 numbers, but a HTDemucs .* more than"),
        ("HTDemucs", {"t_layers": 100_000}, "holds .*, but a HTDemucs .* more than"),
        ("HTDemucs", {"dconv_mode": "3"}, "make no sense .TypeError"),
        ("HTDemucs", {"wiener_iters": None}, "make no sense .TypeError"),
        ("HTDemucs", {"bottom_channels": 7, "t_heads": 3}, "HTDemucs"),
        ("ConvTasNet", {"n_src": 10**9}, "n_src: is 1000000000, expected 1 to 1000"),
        ("ConvTasNet", {"norm_type": ["gLN"]}, "ConvTasNet"),
        ("SCNet", {"dims": []}, "SCNet"),
        ("SCNet", {"dims": [4, *[8] * 5000]}, "SCNet"),
        ("SCNet", {"band_SR": "abc"}, "SCNet"),
        ("OpenUnmix", {"nb_bins": "x"}, "OpenUnmix"),
        ("OpenUnmix", {"hidden_size": 10**12}, "hidden_size: is 1000000000000"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, family, settings, match):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(2), "other": torch.ones(2)}, path)
    base = {"MelBandRoFormer": MEL, "HTDemucs": {"sources": ["a"]}}.get(family, {})
    refused([path], match, family=family, settings={**base, **settings})


def test_settings_of_a_file_that_are_tensors(tmp_path):
    path = tmp_path / "a.ckpt"
    content = {"model_name": "x", "model_args": {"channels": torch.ones(2), "sources": ["a"]}}
    torch.save({"state_dict": {"crosstransformer.x": torch.ones(2)}, **content}, path)
    refused([path], "HTDemucs: channels: a tensor, expected plain values", family="HTDemucs")


def test_settings_within_themselves(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(2)}, path)
    circle = []
    circle.append(circle)
    refused([path], "within itself", family="HTDemucs", settings={"sources": circle})
    deep = []
    for _ in range(50_000):
        deep = [deep]
    refused([path], "RecursionError", ConfigError, family="HTDemucs", settings={"sources": deep})


def test_a_mistake_of_ours_can_be_found(tmp_path):
    """An error of another kind is named, and is the cause."""
    path = tmp_path / "a.ckpt"
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(ConfigError) as info:
        convert_checkpoint([path], family="HTDemucs", settings={"dconv_mode": "3"})
    assert isinstance(info.value.__cause__, TypeError)
    assert info.value.__cause__.__traceback__ is not None


@pytest.mark.parametrize("value", [torch.ones(()), torch.ones(3), torch.ones(2, 3, 4)])
def test_tensors_with_other_axes(tmp_path, value):
    path = tmp_path / "a.ckpt"
    names = [f"band_split.to_features.{b}.{n}" for b in range(4)
             for n in ("0.gamma", "1.weight", "1.bias")]  # fmt: skip
    names += [f"mask_estimators.0.to_freqs.{b}.0.{n}" for b in range(4)
              for n in ("0.weight", "0.bias", "2.weight", "2.bias")]  # fmt: skip
    for wrong in (names[0], names[1], names[2], names[12], names[14]):
        state = {name: torch.ones(4, 4) for name in names} | {wrong: value}
        torch.save(state, path)
        refused([path], r"a\.ckpt: weights do not fit", CheckpointError, settings=MEL)


def test_a_missing_tensor_names_the_file(tmp_path):
    path = tmp_path / "a.ckpt"
    torch.save({"band_split.to_features.0.1.bias": torch.ones(2)}, path)
    refused([path], r"^a\.ckpt: weights do not fit the model; missing: band_split", settings=MEL)


@pytest.mark.parametrize("kwargs", ['{"t_layers": 1e400}', "[1]", '"x"', "9" * 5000, "{", "[[[["])
def test_settings_in_the_header_of_a_file(tmp_path, kwargs):
    path = tmp_path / "a.safetensors"
    header = {"klass": "demucs.htdemucs.HTDemucs", "args": '[["a"]]', "kwargs": kwargs}
    save_file({"crosstransformer.x": torch.ones(2)}, path, metadata=header)
    refused([path], "HTDemucs|fit")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_the_folder_as_it_was(umx, tmp_path, monkeypatch, overwrite):
    path, _ = umx
    out = tmp_path / "sub" / "out"
    if overwrite:
        convert(path, out, config=tmp_path / "net.json")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sonograd.separators.checkpoint.save_file", full)
    with pytest.raises(OutputError, match=r"out/weights\.safetensors: cannot be written"):
        convert(path, out, config=tmp_path / "net.json", overwrite=overwrite)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    monkeypatch.undo()
    assert convert(path, out, config=tmp_path / "net.json", overwrite=overwrite).is_file()
    assert sorted(file.name for file in out.iterdir()) == ["model.json", "weights.safetensors"]


def test_a_folder_in_use_is_kept(umx, tmp_path):
    path, _ = umx
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="is not empty and is kept"):
        convert(path, tmp_path, config=tmp_path / "net.json")
    assert sorted(tmp_path.iterdir()) == before


def test_defaults_are_not_beyond_the_bounds(tmp_path):
    from sonograd.separators.fitting import check_limits

    for config in (MelBandRoFormerConfig(), OpenUnmixConfig(), ConvTasNetConfig()):
        check_limits(tmp_path, config)
