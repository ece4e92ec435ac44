"""The writer: depth, dither, clipping, atomicity, large files, and places that refuse."""

import os
import resource
import stat

import numpy as np
import pytest
import soundfile
import torch

from sonograd.data import FORMATS, AudioWriter, read_audio, read_info, write_audio
from sonograd.errors import AudioError, OutputError, ParameterError, ShapeError

NAMES = sorted(FORMATS)


def noise(channels, samples, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def rate_of(name):
    return 48_000 if name == "opus" else 44_100


def write_steps(writer, *steps):
    """Write what is a tensor and call what is not."""
    with writer:
        for step in steps:
            if isinstance(step, torch.Tensor):
                writer.write(step)
            else:
                step()


@pytest.mark.parametrize("bits", ["16", "24"])
@pytest.mark.parametrize("name", ["wav", "flac", "aiff", "alac"])
def test_integers_saturate_and_are_counted(tmp_path, name, bits):
    audio = torch.tensor([[0.0, 0.5, -1.0, 1.0, 1.5, -2.0, 0.25]])
    path = tmp_path / "a.x"
    with AudioWriter(path, sample_rate=44_100, channels=1, format=name, bits=bits) as writer:
        writer.write(audio[:, :4])
        writer.write(audio[:, 4:])
    top = 1.0 - 2.0 ** (1 - int(bits))
    assert read_audio(path)[0].tolist() == [[0.0, 0.5, -1.0, top, top, -1.0, 0.25]]
    assert (writer.clipped, writer.peak, writer.samples) == (3, 2.0, 7)


def test_floating_point_is_never_clamped(tmp_path):
    audio = torch.tensor([[3.0, -1e6, float("nan"), float("inf"), 1e-30]])
    with AudioWriter(tmp_path / "a.wav", sample_rate=8000, channels=1) as writer:
        writer.write(audio)
    assert torch.equal(read_audio(tmp_path / "a.wav")[0].nan_to_num(), audio.nan_to_num())
    assert writer.clipped == 0


@pytest.mark.parametrize("name", ["flac", "mp3"])
def test_what_is_not_a_number_is_refused_where_it_cannot_be_held(tmp_path, name):
    path = tmp_path / f"a.{name}"
    bad = torch.full((1, 20), float("nan")).index_fill(1, torch.arange(10), 0.0)
    writer = AudioWriter(path, sample_rate=44_100, channels=1)
    with pytest.raises(AudioError, match=r"sample 44110 \(1\.000 s\) is nan"):
        write_steps(writer, torch.zeros(1, 44_100), bad)
    assert not list(tmp_path.iterdir())


def test_dither_is_triangular_and_seeded(tmp_path):
    level = 0.3 * 2.0**-15
    audio = torch.full((2, 50_000), level)
    for name, sizes in {"a": [50_000], "b": [1, 777, 49_222]}.items():
        path = tmp_path / f"{name}.wav"
        with AudioWriter(path, sample_rate=8000, channels=2, bits="16", dither=True) as writer:
            for block in audio.split(sizes, dim=-1):
                writer.write(block)
    got = read_audio(tmp_path / "a.wav")[0].double() * 2**15
    assert torch.equal(got.float(), read_audio(tmp_path / "b.wav")[0] * 2**15)
    # Triangular dither: the mean is right, and the noise is a quarter step squared, at any level.
    assert torch.allclose(got.mean(-1), torch.tensor(0.3).double(), atol=0.01)
    assert torch.allclose(got.var(-1), torch.tensor(0.25).double(), atol=0.01)
    assert got[0].sub(got[1]).abs().max() > 0
    write_audio(tmp_path / "c.wav", audio, 8000, bits="16")
    assert not read_audio(tmp_path / "c.wav")[0].any()


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_any_size_make_the_same_file(tmp_path, name):
    audio = noise(2, 20_001)
    for file, sizes in {"a": [20_001], "b": [0, 1, 7777, 0, 12_223]}.items():
        with AudioWriter(
            tmp_path / file, sample_rate=rate_of(name), channels=2, format=name, samples=20_001
        ) as writer:
            for block in audio.split(sizes, dim=-1):
                writer.write(block)
    assert torch.equal(read_audio(tmp_path / "a")[0], read_audio(tmp_path / "b")[0])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_after_an_exception(tmp_path, name):
    path = tmp_path / f"a{FORMATS[name].suffix}"

    def stop():
        assert not path.exists()
        assert [p.name.startswith(".") for p in tmp_path.iterdir()] == [True]
        raise KeyboardInterrupt

    writer = AudioWriter(path, sample_rate=rate_of(name), channels=2, format=name)
    with pytest.raises(KeyboardInterrupt):
        write_steps(writer, noise(2, 5000), stop)
    assert not list(tmp_path.iterdir())


def test_an_exception_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    writer = AudioWriter(path, sample_rate=8000, channels=1, overwrite=True)
    with pytest.raises(ZeroDivisionError):
        write_steps(writer, noise(1, 5000), lambda: 1 / 0)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_an_existing_file_is_kept(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, noise(1, 10), 8000)
    with pytest.raises(OutputError, match=r"a\.wav: exists already; pass overwrite"):
        write_audio(path, noise(1, 20), 8000)
    assert read_info(path).samples == 10
    write_audio(path, noise(1, 20), 8000, overwrite=True)
    assert read_info(path).samples == 20
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "a.wav"
    writer = AudioWriter(path, sample_rate=8000, channels=1)
    with pytest.raises(OutputError, match="exists already"):
        write_steps(writer, lambda: path.write_bytes(b"mine"), noise(1, 100))
    assert path.read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_the_file_has_the_usual_permissions(tmp_path):
    mask = os.umask(0o027)
    try:
        write_audio(tmp_path / "a.wav", noise(1, 10), 8000)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o640


def test_places_that_cannot_be_written_to(tmp_path):
    with pytest.raises(OutputError, match=r"cannot be written: there is no folder .*nothing"):
        write_audio(tmp_path / "nothing" / "a.wav", noise(1, 10), 8000)
    with pytest.raises(OutputError, match="is a folder"):
        write_audio(tmp_path, noise(1, 10), 8000, format="wav")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        write_audio(tmp_path / "file" / "a.wav", noise(1, 10), 8000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        write_audio(tmp_path / "a.wav", noise(1, 10), 8000)


@pytest.mark.parametrize("name", NAMES)
def test_no_space_left(tmp_path, name):
    path = tmp_path / f"a{FORMATS[name].suffix}"
    writer = AudioWriter(path, sample_rate=rate_of(name), channels=2, format=name)
    # The system refuses to let any file grow beyond the limit, as a full disk would.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written: ") as caught:
            write_steps(writer, *[noise(2, 16_000)] * 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("samples", "channels", "bits", "kind"),
    [
        (1000, 2, "32f", "WAV"),
        (1000, 6, "16", "WAVEX"),
        (1 << 29, 2, "32f", "RF64"),
        (1 << 29, 2, "24", "WAV"),
    ],
)
def test_large_wavs_become_rf64(tmp_path, samples, channels, bits, kind):
    path = tmp_path / "a.wav"
    with AudioWriter(
        path, sample_rate=44_100, channels=channels, bits=bits, samples=samples
    ) as writer:
        writer.write(noise(channels, 1000))
    assert soundfile.info(path).format == kind
    assert read_info(path).samples == 1000


def test_a_wav_of_unknown_length_stays_a_wav_while_it_is_small(tmp_path):
    path = tmp_path / "a.wav"
    with AudioWriter(path, sample_rate=44_100, channels=2, tags={"title": "T"}) as writer:
        writer.write(noise(2, 1000))
    assert path.read_bytes()[:4] == b"RIFF"
    assert torch.equal(read_audio(path)[0], noise(2, 1000))
    assert read_info(path).tags == {"title": "T"}


@pytest.mark.slow
@pytest.mark.parametrize("samples", [None, (1 << 29) + 1000])
def test_more_than_4_gb(tmp_path, samples):
    path = tmp_path / "a.wav"
    block = noise(2, 1 << 20)
    with AudioWriter(path, sample_rate=44_100, channels=2, samples=samples) as writer:
        for _ in range(512):
            writer.write(block)
        writer.write(block[:, :1000])
    info = read_info(path)
    assert (info.container, info.samples) == ("rf64", (1 << 29) + 1000)
    assert path.stat().st_size > 1 << 32


def test_memory_does_not_grow_with_the_file(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = torch.zeros(2, 1 << 16)
    with AudioWriter(tmp_path / "a.flac", sample_rate=44_100, channels=2) as writer:
        for _ in range(200):
            writer.write(block)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 60_000, "the whole signal is 105 MB"
    assert writer.samples == 200 << 16


def test_tensors_of_any_kind_are_taken(tmp_path):
    audio = noise(2, 100).double().requires_grad_()
    write_audio(tmp_path / "a.wav", audio, 8000)
    assert torch.equal(read_audio(tmp_path / "a.wav")[0], audio.detach().float())
    write_audio(tmp_path / "b.wav", noise(100, 2).mT, 8000)
    assert torch.equal(read_audio(tmp_path / "b.wav")[0], noise(100, 2).mT)


def test_errors(tmp_path):
    path = tmp_path / "a.wav"
    writer = AudioWriter(path, sample_rate=8000, channels=2)
    with pytest.raises(ShapeError, match=r"expected \(2, samples\)"):
        write_steps(writer, torch.zeros(3, 5))
    with pytest.raises(ShapeError, match="unsqueeze"):
        write_audio(path, torch.zeros(5), 8000)
    with pytest.raises(ShapeError, match=r"expected \(channels, samples\)"):
        write_audio(path, torch.zeros(1, 2, 5), 8000)
    with pytest.raises(ShapeError, match="expected a real floating-point tensor"):
        write_audio(path, torch.zeros(2, 5, dtype=torch.int16), 8000)
    with pytest.raises(ParameterError, match="expected the bytes of a whole JPEG or PNG"):
        write_audio(path, torch.zeros(2, 5), 8000, cover=b"GIF89a")
    with AudioWriter(path, sample_rate=8000, channels=1) as writer:
        writer.write(torch.zeros(1, 5))
    with pytest.raises(ParameterError, match="after the file was closed"):
        writer.write(torch.zeros(1, 5))
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_a_cover_that_is_damaged_leaves_nothing(tmp_path):
    with pytest.raises(ParameterError, match="a whole JPEG or PNG file"):
        write_audio(tmp_path / "a.mp3", noise(1, 100), 44_100, cover=b"\x89PNG\r\n\x1a\nbroken")
    assert not list(tmp_path.iterdir())


def test_a_24_bit_file_is_exact(tmp_path):
    whole = np.random.default_rng(0).integers(-(1 << 23), 1 << 23, (2, 1000))
    audio = torch.from_numpy(whole / 2.0**23).float()
    for name in ("wav", "flac", "aiff", "alac"):
        write_audio(tmp_path / name, audio, 44_100, format=name, bits="24")
        assert torch.equal(read_audio(tmp_path / name)[0], audio)
