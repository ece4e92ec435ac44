"""Open, describe and find audio files; bad files, odd files and files with several streams."""

import io
import shutil
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from sonograd.data import (
    AudioFile,
    check_finite,
    find_audio,
    read_audio,
    read_info,
    read_streams,
    write_audio,
)
from sonograd.errors import AudioError, ParameterError

STEMS = Path(__file__).parents[3] / "shared" / "audio" / "Music Delta - 80s Rock.stem.mp4"


def noise(channels, samples, seed=0):
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def encode(path, streams, sample_rate, container, codec, layout="stereo", **options):
    """Write ``streams`` as another program would, with FFmpeg."""
    extra = options.pop("container_options", {})
    with av.open(str(path), "w", format=container, container_options=extra) as file:
        outputs = [
            file.add_stream(codec, rate=sample_rate, layout=layout, options=options)
            for _ in streams
        ]
        file.start_encoding()
        for output, audio in zip(outputs, streams, strict=True):
            for start in range(0, audio.shape[-1], 8192):
                block = np.ascontiguousarray(audio[:, start : start + 8192].numpy())
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                frame.sample_rate, frame.pts = sample_rate, start
                frame.time_base = Fraction(1, sample_rate)
                file.mux(output.encode(frame))
            file.mux(output.encode(None))


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, noise(2, 10_000), 44_100, bits="16", tags={"title": "T"})
    return path


def test_info(wav):
    info = read_info(wav)
    assert (info.path, info.sample_rate, info.channels, info.samples) == (wav, 44_100, 2, 10_000)
    assert (info.container, info.codec, info.streams) == ("wav", "pcm_16", 1)
    assert info.duration == 10_000 / 44_100
    assert dict(info.tags) == {"title": "T"}
    assert info.cover is None


def test_the_content_decides_not_the_name(wav, tmp_path):
    renamed = tmp_path / "a.mp3"
    shutil.copy(wav, renamed)
    assert read_info(renamed).container == "wav"
    assert torch.equal(read_audio(renamed)[0], read_audio(wav)[0])


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_depth_is_read_at_its_scale(tmp_path, subtype):
    audio = np.array([[0.5, -0.25, 0.0, -1.0]]).T
    soundfile.write(tmp_path / "a.wav", audio, 8000, subtype=subtype)
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [[0.5, -0.25, 0.0, -1.0]]


def test_alac_is_read_at_its_scale(tmp_path):
    for bits in ("16", "24"):
        path = tmp_path / f"{bits}.m4a"
        write_audio(path, torch.tensor([[0.5, -0.25, -1.0]]), 8000, format="alac", bits=bits)
        assert read_audio(path)[0].tolist() == [[0.5, -0.25, -1.0]]


def test_floating_point_files_keep_what_is_too_loud(tmp_path):
    loud = torch.tensor([[3.0, -7.5, float("inf")]])
    write_audio(tmp_path / "a.wav", loud, 8000)
    assert torch.equal(read_audio(tmp_path / "a.wav")[0], loud)


def test_read_ranges_and_blocks(wav):
    whole, _ = read_audio(wav)
    with AudioFile(wav) as file:
        assert file.read(9_990, 100).shape == (2, 10)
        assert file.read(20_000, 100).shape == (2, 0)
        assert file.read(5, 0).shape == (2, 0)
        assert torch.equal(torch.cat(list(file.blocks(333)), -1), whole)
        assert [b.shape[-1] for b in file.blocks(400, start=9_000, stop=99_999)] == [400, 400, 200]
        assert not list(file.blocks(400, start=10_000))
        with pytest.raises(ParameterError, match="start is -1"):
            file.read(-1)
        with pytest.raises(ParameterError, match="samples is 0"):
            next(file.blocks(0))


def test_reading_between_blocks_disturbs_nothing(tmp_path):
    write_audio(tmp_path / "a.mp3", noise(1, 60_000), 16_000)
    whole, _ = read_audio(tmp_path / "a.mp3")
    with AudioFile(tmp_path / "a.mp3") as file:
        blocks = []
        for block in file.blocks(7000):
            blocks.append(block)
            file.read(50_000, 10)
    assert torch.equal(torch.cat(blocks, -1), whole)


def test_what_is_read_can_be_changed(tmp_path):
    write_audio(tmp_path / "a.ogg", noise(1, 5000), 16_000)
    with AudioFile(tmp_path / "a.ogg") as file:
        before = file.read().clone()
        file.read().zero_()
        assert torch.equal(file.read(), before)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_blocks_need_no_more_memory_for_longer_files(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("sonograd.data.readers._SHORT_VORBIS", 1 << 15)
    path = tmp_path / f"a{suffix}"
    write_audio(path, noise(2, 700_000), 48_000)
    tracemalloc.start()
    with AudioFile(path) as file:
        assert sum(block.shape[-1] for block in file.blocks(1 << 14)) == 700_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000, "the whole file is 5.6 MB"


@pytest.mark.parametrize(
    ("name", "container", "codec", "options"),
    [
        ("no header.mp3", "mp3", "libmp3lame", {"container_options": {"write_xing": "0"}}),
        (
            "variable.mp3",
            "mp3",
            "libmp3lame",
            {
                "flags": "+qscale",
                "global_quality": "472",
                "container_options": {"write_xing": "0"},
            },
        ),
        ("raw.aac", "adts", "aac", {"aac_pns": "0"}),
        ("milliseconds.m4a", "ipod", "aac", {"aac_pns": "0"}),
        (
            "fragments.m4a",
            "mp4",
            "aac",
            {
                "aac_pns": "0",
                "container_options": {"movflags": "frag_keyframe+empty_moov"},
            },
        ),
        ("flac.ogg", "ogg", "flac", {}),
        ("flac.mka", "matroska", "flac", {}),
    ],
)
def test_files_of_other_programs_are_exact_too(tmp_path, name, container, codec, options):
    path = tmp_path / name
    encode(path, [noise(2, 100_111)], 22_050, container, codec, **options)
    whole, sample_rate = read_audio(path)
    assert sample_rate == 22_050
    assert whole.shape[-1] == pytest.approx(100_111, abs=3000)
    with AudioFile(path) as file:
        assert file.samples == whole.shape[-1]
        assert torch.equal(torch.cat(list(file.blocks(30_000)), -1), whole)
        for start in (90_000, 1, 50_505, file.samples - 5, 0):
            assert torch.equal(file.read(start, 2000), whole[:, start : start + 2000])


def test_a_wav_of_unknown_length_is_read_to_its_end(wav):
    data = bytearray(wav.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = b"\xff" * 4
    wav.write_bytes(data)
    assert read_info(wav).samples == 10_000


def test_missing_file(tmp_path):
    with pytest.raises(AudioError, match=r"no\.wav: no such file; expected an audio file \(wav, f"):
        AudioFile(tmp_path / "no.wav")


def test_folder(tmp_path):
    with pytest.raises(AudioError, match=r"is a folder; expected an audio file \(wav"):
        AudioFile(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".m4a", ".ogg"])
def test_empty_file(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(AudioError, match=r"is empty \(0 bytes\); expected"):
        AudioFile(path)


@pytest.mark.parametrize("suffix", [".mp3", ".wav", ".flac", ".ogg", ".m4a", ".aiff", ".txt"])
@pytest.mark.parametrize(
    "content", [b"Hello, I am a text.\n" * 500, bytes(5000), b"x", b"\xff\xfb"]
)
def test_what_is_not_audio_is_refused_in_one_line(tmp_path, suffix, content, capfd):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"expected .*\.stem\.mp4|complete copy") as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # decoders have their own ways of complaining


@pytest.mark.parametrize(
    ("format", "endian", "subtype"),
    [("AU", "BIG", "PCM_16"), ("AU", "LITTLE", "FLOAT"), ("CAF", "FILE", "PCM_24"),
     ("NIST", "FILE", "PCM_16"), ("VOC", "FILE", "PCM_16"), ("PAF", "BIG", "PCM_16"),
     ("PAF", "LITTLE", "PCM_16"), ("PVF", "FILE", "PCM_16"), ("AVR", "FILE", "PCM_16"),
     ("IRCAM", "BIG", "PCM_16"), ("IRCAM", "LITTLE", "FLOAT"), ("MAT5", "FILE", "PCM_16"),
     ("WVE", "FILE", "ALAW"), ("SVX", "FILE", "PCM_16")],
)  # fmt: skip
def test_rare_formats_are_read(tmp_path, rng, format, endian, subtype):
    path = tmp_path / "a.wav"
    values = (rng.standard_normal(500) * 0.1).astype(np.float32)
    soundfile.write(path, values, 8000, subtype=subtype, endian=endian, format=format)
    with AudioFile(path) as file:
        assert (file.samples, file.info.container) == (500, format.lower())
        expected, _ = soundfile.read(path, dtype="float32")
        assert torch.equal(file.read(0, 500)[0], torch.from_numpy(expected))


def test_random_bytes_are_refused(tmp_path, rng):
    for number in range(20):
        path = tmp_path / "a.mp3"
        path.write_bytes(b"\xff\xfb\x90\x64"[: number % 5] + rng.bytes(20_000))
        with pytest.raises(AudioError):
            read_audio(path)


def test_a_picture_is_no_audio(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        file.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        file.mux(stream.encode(None))
    with pytest.raises(AudioError, match="holds no audio"):
        AudioFile(tmp_path / "a.mp4")


@pytest.mark.parametrize("share", [0.3, 0.8, 0.97])
@pytest.mark.parametrize(
    "name", ["wav", "rf64", "w64", "aiff", "flac", "ogg", "opus", "mp3", "m4a", "alac"]
)
def test_a_file_that_is_cut_off_is_refused(tmp_path, name, share):
    path = tmp_path / "a.bin"
    write_audio(path, noise(2, 100_000), 48_000, format=name)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError, match=r"cut off|damaged") as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_whole_part_of_a_cut_mp3_can_be_read(tmp_path):
    path = tmp_path / "a.mp3"
    write_audio(path, noise(2, 200_000), 48_000)
    whole, _ = read_audio(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with AudioFile(path) as file:
        for start in (199_000, 150_000, 199_999):
            with pytest.raises(AudioError, match="cut off or damaged"):
                file.read(start, 100)
            assert torch.equal(file.read(50_000, 1000), whole[:, 50_000:51_000])


def test_a_file_cut_inside_its_header_is_refused(tmp_path, wav):
    data = wav.read_bytes()
    for length in range(1, data.index(b"data") + 8, 3):
        wav.write_bytes(data[:length])
        with pytest.raises(AudioError):
            read_audio(wav)


def test_a_damaged_flac_is_refused(tmp_path, rng):
    write_audio(tmp_path / "a.flac", noise(1, 50_000), 44_100)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[40_000:60_000] = rng.bytes(20_000)
    (tmp_path / "a.flac").write_bytes(data)
    with pytest.raises(AudioError, match="cut off or damaged"):
        read_audio(tmp_path / "a.flac")


def test_a_stream_that_is_not_there(wav, tmp_path):
    with pytest.raises(AudioError, match="has 1 audio stream; stream 1 does not exist"):
        AudioFile(wav, stream=1)
    write_audio(tmp_path / "a.m4a", noise(1, 5000), 44_100)
    with pytest.raises(AudioError, match="has 1 audio stream; stream 2 does not exist"):
        AudioFile(tmp_path / "a.m4a", stream=2)


def test_streams_are_read_alone_and_together(tmp_path):
    path = tmp_path / "a.stem.mp4"
    parts = [noise(2, 90_000, seed) for seed in range(5)]
    extra = {"movie_timescale": "22050"}
    encode(path, parts, 22_050, "mp4", "aac", aac_pns="0", container_options=extra)
    info = read_info(path)
    assert (info.streams, info.samples) == (5, 90_000)
    together = read_streams(path)
    assert together.shape == (5, 2, 90_000)
    for number, part in enumerate(parts):
        alone, _ = read_audio(path, stream=number)
        assert torch.equal(together[number], alone)
        others = [torch.nn.functional.mse_loss(alone, other) for other in parts]
        assert torch.stack(others).argmin() == number
        assert torch.nn.functional.mse_loss(alone, part) < 0.5 * part.square().mean()
    for start in (0, 1, 44_444, 89_000):
        got = read_streams(path, start, 3000)
        assert torch.equal(got, together[..., start : start + 3000])
    assert read_streams(path, 95_000, 10).shape == (5, 2, 0)


@pytest.mark.skipif(not STEMS.exists(), reason="the song is not there")
def test_a_real_song_in_five_streams():
    info = read_info(STEMS)
    assert (info.streams, info.channels, info.sample_rate) == (5, 2, 44_100)
    stems = read_streams(STEMS)
    assert stems.shape == (5, 2, info.samples)
    mix, rest = stems[0], stems[1:].sum(0)
    assert (mix - rest).square().mean() < 0.02 * mix.square().mean()
    assert torch.equal(read_audio(STEMS, stream=3)[0], stems[3])


def test_find_audio(tmp_path):
    for name in (
        "b/2.WAV",
        "b/10.mp3",
        "a.flac",
        ".hidden.wav",
        ".git/x.wav",
        "notes.txt",
        "é.ogg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)]
    assert found == ["a.flac", "b/10.mp3", "b/2.WAV", "é.ogg"]
    assert find_audio(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(AudioError, match="no such file or folder"):
        find_audio(tmp_path / "nothing")


def test_check_finite():
    block = torch.zeros(2, 100)
    assert check_finite(block) is block
    assert check_finite(torch.zeros(2, 0)).shape == (2, 0)
    block[1, 30] = float("nan")
    block[0, 40] = float("inf")
    with pytest.raises(
        AudioError, match=r"a\.wav: sample 1030 \(1\.030 s\) is nan; expected finite"
    ):
        check_finite(block, start=1000, sample_rate=1000, name="a.wav")
    with pytest.raises(AudioError, match="audio: sample 30 is nan"):
        check_finite(block)
    repaired = check_finite(block, repair=True)
    assert not repaired.any()
    assert not torch.isfinite(block).all()


def test_a_cover_made_elsewhere_is_found(tmp_path):
    picture = io.BytesIO()
    with av.open(picture, "w", format="mjpeg") as file:
        stream = file.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuvj420p"
        file.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
        file.mux(stream.encode(None))
    for suffix in (".mp3", ".flac", ".m4a", ".opus"):
        path = tmp_path / f"a{suffix}"
        write_audio(path, noise(1, 3000), 48_000, cover=picture.getvalue())
        assert read_info(path).cover == picture.getvalue()
