"""Checkpoints of the original packages: converted and separated by command, and equal."""

import json
import runpy
import warnings
from pathlib import Path

import pytest
import torch

from sonograd.cli.app import main
from sonograd.data import read_audio, write_audio
from sonograd.zoo import load

ORIGINALS = runpy.run_path(str(Path(__file__).parents[1] / "separators" / "originals.py"))
original, randomize = ORIGINALS["original"], ORIGINALS["randomize"]
CHUNKING = runpy.run_path(str(Path(__file__).parents[1] / "separators" / "test_chunking.py"))
msst_demix = CHUNKING["msst_demix"]
read_golden = runpy.run_path(str(Path(__file__).parents[1] / "separators" / "test_scnet.py"))[
    "read_golden"
]


@pytest.fixture
def run(tmp_path, capsys):
    """Convert files by command and separate a song by command; return mix and stems."""

    def run(files, *options, sample_rate=44100, samples=3000, mix=None):
        folder = tmp_path / "model"
        assert main(["convert", *map(str, files), "--save", str(folder), *options]) == 0
        assert json.loads((folder / "model.json").read_text())["sample_rate"] == sample_rate
        generator = torch.Generator().manual_seed(2)
        if mix is None:
            mix = torch.randn(2, samples, generator=generator) / 5
        write_audio(tmp_path / "song.wav", mix, sample_rate=sample_rate, bits="32f")
        command = ["separate", str(folder), str(tmp_path / "song.wav"), "--bits", "32f"]
        assert main([*command, "--save", str(tmp_path / "out"), "--device", "cpu", "-q"]) == 0
        capsys.readouterr()
        files = (tmp_path / "out" / "song").glob("*.wav")
        return mix, {file.stem: read_audio(file)[0] for file in files}

    return run


def assert_equal(stems, expected):
    assert set(stems) == set(expected)
    for name, stem in expected.items():
        assert (stems[name] - stem).norm() < 1e-5 * stem.norm(), name


DEMUCS = {
    "sources": ["drums", "vocals"], "channels": 4, "depth": 2, "segment": 0.2, "norm_groups": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name", "kwargs"),
    [
        ("demucs.demucs", "Demucs", DEMUCS),
        ("demucs.hdemucs", "HDemucs", {**DEMUCS, "nfft": 64}),
        (
            "demucs.htdemucs",
            "HTDemucs",
            {**DEMUCS, "nfft": 512, "t_layers": 2, "t_heads": 2, "dconv_comp": 2},
        ),
    ],
)
def test_demucs(run, tmp_path, module, name, kwargs):
    states, apply = original("demucs.states"), original("demucs.apply")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = randomize(getattr(original(module), name)(**kwargs))
    package = states.serialize_model(net, original("omegaconf").OmegaConf.create(), half=False)
    torch.save(package, tmp_path / "net.th")
    mix, stems = run([tmp_path / "net.th"])
    mono = mix.mean(0)
    level = mono.std() + 1e-8
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = apply.apply_model(net, ((mix - mono.mean()) / level)[None], shifts=0)[0]
    expected = found * level + mono.mean()
    assert_equal(stems, dict(zip(kwargs["sources"], expected, strict=True)))


def serialized(net):
    """Return what the package publishes of a network."""
    states = original("demucs.states")
    return states.serialize_model(net, original("omegaconf").OmegaConf.create(), half=False)


def test_a_bag_of_demucs(server, tmp_path, monkeypatch):
    """Members of two architectures, and segments that the bag changes, but no transformer's."""
    apply = original("demucs.apply")
    kinds = {
        "demucs.demucs.Demucs": {},
        "demucs.hdemucs.HDemucs": {"nfft": 256, "depth": 3, "multi_freqs": [0.3, 0.6]},
        "demucs.htdemucs.HTDemucs": {"nfft": 512, "t_layers": 1, "t_heads": 2, "dconv_comp": 2},
    }
    nets, files = [], []
    for seed, (kind, own) in enumerate(kinds.items()):
        module, _, name = kind.rpartition(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nets.append(randomize(getattr(original(module), name)(**{**DEMUCS, **own}), seed))
        torch.save(serialized(nets[-1]), tmp_path / "net.th")
        url, sha256 = server.add(f"{seed}.th", (tmp_path / "net.th").read_bytes())
        files.append({"urls": [url], "sha256": sha256})
    weights = [[1.0, 0.5], [0.0, 1.0], [0.5, 1.0]]
    entry = {
        "family": "HybridDemucs", "stems": DEMUCS["sources"], "license": "MIT", "files": files,
        "member_weights": weights, "overrides": {"segment": 0.3},
    }  # fmt: skip
    (tmp_path / "models.json").write_text(json.dumps({"models": {"bag": entry}}))
    monkeypatch.setenv("SONOGRAD_MODELS", str(tmp_path / "models.json"))
    separator = load("bag")
    segments = [member.config.sample_length for member in separator.members]
    assert segments == [0.3, 0.3, 0.2]
    mix = torch.randn(2, 30_000, generator=torch.Generator().manual_seed(3)) / 5
    mono = mix.mean(0)
    level = mono.std() + 1e-8
    bag = apply.BagOfModels(nets, weights, segment=0.3)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = apply.apply_model(bag, ((mix - mono.mean()) / level)[None], shifts=0)[0]
    expected = found * level + mono.mean()
    stems = dict(zip(separator.stems, separator.separate(mix), strict=True))
    assert_equal(stems, dict(zip(DEMUCS["sources"], expected, strict=True)))


def test_a_bag_on_a_hub(server, tmp_path, monkeypatch):
    """As their own tools write it: settings in the header of each file, and a list of members."""
    save_file = original("safetensors.torch").save_file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = randomize(original("demucs.hdemucs").HDemucs(**DEMUCS, nfft=64))
    header = {"klass": "demucs.hdemucs.HDemucs", "args": "[]",
              "kwargs": json.dumps({**DEMUCS, "nfft": 64})}  # fmt: skip
    save_file(net.state_dict(), tmp_path / "net.safetensors", metadata=header)
    content = (tmp_path / "net.safetensors").read_bytes()
    files = {"0123abcd.safetensors": content, "net.yaml": b"models: ['0123abcd']\nsegment: 0.5"}
    for name, content in files.items():
        server.add(f"me/net/resolve/main/{name}", content)
    listing = {
        "siblings": [{"rfilename": name} for name in files], "cardData": {"license": "mit"},
    }  # fmt: skip
    server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    separator = load("hf://me/net")
    assert separator.config.sample_length == 0.5
    mix = torch.randn(1, 2, 3000)
    with torch.no_grad():
        expected = net.eval()(mix)
        torch.testing.assert_close(separator(mix), expected, rtol=1e-4, atol=1e-5)


def test_conv_tasnet_on_a_hub(server, tmp_path, monkeypatch):
    module = original("asteroid.models")
    net = randomize(module.ConvTasNet(n_src=2, n_filters=12, kernel_size=8, stride=4, n_blocks=2,
                                      n_repeats=2, bn_chan=6, hid_chan=8, skip_chan=6))  # fmt: skip
    saved = {
        "model_name": "ConvTasNet", "state_dict": net.state_dict(),
        "model_args": net.get_model_args(), "infos": {"torch_version": torch.__version__},
    }  # fmt: skip
    torch.save(saved, tmp_path / "net.bin")
    server.add("me/net/resolve/main/pytorch_model.bin", (tmp_path / "net.bin").read_bytes())
    listing = {"siblings": [{"rfilename": "pytorch_model.bin"}], "cardData": {"license": "mit"}}
    server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    mix = torch.randn(2, 1, 3000)
    with torch.no_grad():
        found = load("hf://me/net")(mix).flatten(1, 2)
        torch.testing.assert_close(found, net(mix), rtol=1e-5, atol=1e-6)


def test_open_unmix(run, tmp_path):
    module = original("openunmix.model")
    nets = {}
    for seed, stem in enumerate(("vocals", "drums")):
        net = module.OpenUnmix(nb_bins=65, nb_channels=2, hidden_size=8, nb_layers=2, max_bin=50)
        nets[stem] = randomize(net, seed)
        torch.save(net.state_dict(), tmp_path / f"{stem}-0123abcd.pth")
    settings = {"nb_bins": 65, "nb_channels": 2, "hidden_size": 8, "nb_layers": 2, "max_bin": 50,
                "n_fft": 128, "n_hop": 32}  # fmt: skip
    (tmp_path / "net.json").write_text(json.dumps(settings))
    files = [tmp_path / f"{stem}-0123abcd.pth" for stem in nets]
    mix, stems = run(files, "--config", str(tmp_path / "net.json"))
    separator = module.Separator(nets, niter=1, n_fft=128, n_hop=32, nb_channels=2)
    ORIGINALS["with_exact_phases"]()
    with torch.no_grad():
        expected = separator.eval()(mix[None])[0]
    assert_equal(stems, dict(zip(nets, expected, strict=True)))


def test_conv_tasnet(run, tmp_path):
    module = original("asteroid.models")
    kwargs = {"n_src": 2, "n_filters": 12, "kernel_size": 8, "stride": 4, "n_blocks": 2,
              "n_repeats": 2, "bn_chan": 6, "hid_chan": 8, "skip_chan": 6}  # fmt: skip
    net = randomize(module.ConvTasNet(**kwargs))
    saved = {
        "model_name": "ConvTasNet", "state_dict": net.state_dict(),
        "model_args": net.get_model_args(), "infos": {"torch_version": torch.__version__},
    }  # fmt: skip
    torch.save(saved, tmp_path / "net.pth")
    folder = tmp_path / "model"
    command = ["convert", str(tmp_path / "net.pth"), "--stems", "one, two"]
    assert main([*command, "--save", str(folder)]) == 0
    separator = load(folder)
    mix = torch.randn(2, 1, 3000)
    with torch.no_grad():
        torch.testing.assert_close(separator(mix).flatten(1, 2), net(mix), rtol=1e-5, atol=1e-6)
        stems = separator.separate(mix[0]).flatten(0, 1)  # shorter than a chunk
        torch.testing.assert_close(stems, net(mix[:1])[0], rtol=1e-5, atol=1e-6)
    assert separator.stems == ("one", "two")


@pytest.mark.parametrize("name", ["scnet", "scnet_masked"])
def test_scnet(run, tmp_path, name):
    """Its original is no package, so that stored values stand for it."""
    kwargs, state, mix, outputs = read_golden(f"{name}.safetensors")
    samples = max(outputs)
    stems = kwargs.pop("sources", ["drums", "bass", "other", "vocals"])
    settings = {
        "model": kwargs, "training": {"instruments": stems},
        "audio": {"chunk_size": samples}, "inference": {"num_overlap": 1},
    }  # fmt: skip
    (tmp_path / "net.json").write_text(json.dumps(settings))
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.ckpt")
    files = [tmp_path / "net.ckpt"]
    _, found = run(files, "--config", str(tmp_path / "net.json"), mix=mix[0, :, :samples])
    assert_equal(found, dict(zip(stems, outputs[samples][0], strict=True)))


MSST = """
audio:
  chunk_size: 8832
  sample_rate: 44100
model:
  dim: 8
  depth: 1
  stereo: true
  num_stems: 1
  {own}
  dim_head: 4
  heads: 2
  flash_attn: false
  stft_n_fft: 128
  stft_hop_length: 32
  stft_win_length: 128
  zero_dc: false
  linear_transformer_depth: 0
training:
  instruments: [vocals, other]
  target_instrument: vocals
inference:
  num_overlap: 2
"""


@pytest.mark.parametrize(
    ("name", "own", "kwargs"),
    [
        ("BSRoformer", "freqs_per_bands: !!python/tuple [1, 2, 2, 4, 8, 16, 32]",
         {"freqs_per_bands": (1, 2, 2, 4, 8, 16, 32)}),
        ("MelBandRoformer", "num_bands: 8",
         {"num_bands": 8, "linear_transformer_depth": 0, "sample_rate": 44100}),
    ],
)  # fmt: skip
def test_roformers(run, tmp_path, name, own, kwargs):
    pytest.importorskip("yaml")
    cls = getattr(original("bs_roformer"), name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = cls(dim=8, depth=1, stereo=True, dim_head=4, heads=2, flash_attn=False,
                  stft_n_fft=128, stft_hop_length=32, stft_win_length=128, **kwargs)  # fmt: skip
    randomize(net)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if "rotary" in key:
                tensor.copy_(torch.tensor([1.0, 0.3]))
    torch.save({"model_state_dict": net.state_dict(), "epoch": 1}, tmp_path / "net.ckpt")
    (tmp_path / "net.yaml").write_text(MSST.format(own=own))
    files = [tmp_path / "net.ckpt"]
    mix, stems = run(files, "--config", str(tmp_path / "net.yaml"), samples=10_000)

    def apply(part):
        with torch.no_grad():
            return net(part[None])[0]

    assert_equal(stems, {"vocals": msst_demix(apply, mix, 8832, 2)})
