"""What the first and last bytes of an audio file say, read without any audio library."""

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "Kind",
    "last_page_start",
    "mp3_has_length",
    "set_mp3_length",
    "sniff",
    "truncation",
]

Kind = str
_TAIL = 1 << 17
# First bytes of uncompressed formats that are rare: AU, CAF, NIST, VOC, PAF, PVF, AVR, WVE, MAT5
# and IRCAM (in either order of bytes).
_RARE_PCM = (
    b".snd", b"dns.", b"caff", b"NIST_1A", b"Creative Voice File", b" paf", b"fap ", b"PVF1",
    b"2BIT", b"ALawSoundFile**", b"MATLAB 5.0",
    *(bytes((0x64, 0xA3, kind, 0)) for kind in range(1, 5)),
    *(bytes((0, kind, 0xA3, 0x64)) for kind in range(1, 5)),
)  # fmt: skip


def sniff(path: Path) -> Kind:
    """Return what the file starts with.

    ``vorbis, opus, ogg, mp3, mp4, flac``, ``pcm`` for wav and aiff and their large forms, ``rare``
    for other uncompressed audio, or ``other``.
    """
    with path.open("rb") as file:
        head = file.read(64)
        if head[:3] == b"ID3":
            file.seek(_id3_size(head))
            head = file.read(64)
            if head[:4] != b"fLaC":
                return "mp3"
    if head[:4] == b"OggS":
        if b"\x01vorbis" in head:
            return "vorbis"
        return "opus" if b"OpusHead" in head else "ogg"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "mp4"
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff"):
        return "pcm"
    if head[:4] == b"fLaC":
        return "flac"
    if head.startswith(_RARE_PCM):
        return "rare"
    return "mp3" if _is_mp3_frame(head) else "other"


def _id3_size(head: bytes) -> int:
    """Return the length in bytes of the ID3v2 tag that starts with ``head``."""
    a, b, c, d = head[6:10]
    footer = 10 if head[5] & 0x10 else 0
    return 10 + footer + (a << 21 | b << 14 | c << 7 | d)


def _is_mp3_frame(head: bytes) -> bool:
    """Tell whether ``head`` is the header of a frame of MPEG layer I, II or III."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE0 == 0xE0
        and head[1] & 0x06 != 0
        and head[1] & 0x18 != 0x08
        and head[2] & 0xF0 != 0xF0
        and head[2] & 0x0C != 0x0C
    )


def mp3_has_length(path: Path) -> bool:
    """Tell whether the first frame of an mp3 says how many frames follow."""
    with path.open("rb") as file:
        head = file.read(10)
        file.seek(_id3_size(head) if head[:3] == b"ID3" else 0)
        frame = file.read(4096)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def set_mp3_length(path: Path, samples: int) -> None:
    """Make the header of an mp3 say that it holds ``samples``.

    The header counts the samples that a decoder drops at both ends, 12 bits each, behind the
    table of contents; FFmpeg counts too few when the last frame holds nothing but padding.
    """
    with path.open("r+b") as file:
        head = file.read(10)
        begin = _id3_size(head) if head[:3] == b"ID3" else 0
        file.seek(begin)
        frame = bytearray(file.read(192))
        tag = max(frame.find(b"Xing"), frame.find(b"Info"))
        if tag < 0:
            return
        frames = int.from_bytes(frame[tag + 8 : tag + 12], "big")
        per_frame = 1152 if frame[1] & 0x08 else 576
        field = slice(tag + 141, tag + 144)
        delay = int.from_bytes(frame[field], "big") >> 12
        padding = frames * per_frame - delay - samples
        if not 0 <= padding < 4096:
            return
        frame[field] = (delay << 12 | padding).to_bytes(3, "big")
        checksum = slice(tag + 154, tag + 156)
        frame[checksum] = b"\0\0"
        frame[checksum] = _crc16(bytes(frame[:190])).to_bytes(2, "big")
        file.seek(begin)
        file.write(frame)


def _crc16(data: bytes) -> int:
    """Return the CRC with polynomial 0xA001 (reflected), as mp3 headers have it."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 * (crc & 1)
    return crc


def truncation(path: Path, kind: Kind) -> str | None:
    """Say what is missing at the end of the file, or return ``None`` if nothing is known to be."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if kind == "pcm":
            return _pcm_truncation(file, size)
        if kind in ("vorbis", "opus", "ogg"):
            return _ogg_truncation(file, size)
    return None


def _missing(wanted: int, size: int) -> str | None:
    if wanted <= size:
        return None
    return f"it is cut off: its header promises {wanted} bytes, it has {size}"


def _pcm_truncation(file: BinaryIO, size: int) -> str | None:
    """Compare the declared length of the sound data with the length of the file."""
    head = file.read(16)
    if head[:4] == b"riff":
        return _missing(struct.unpack("<Q", (head + file.read(8))[16:24])[0], size)
    if head[8:12] not in (b"WAVE", b"AIFF", b"AIFC"):
        return None
    order = "<" if head[:4] in (b"RIFF", b"RF64") else ">"
    long_size, position = None, 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"ds64":
            long_size = struct.unpack("<QQ", file.read(16))[1]
        if name in (b"data", b"SSND"):
            # Programs that write to a pipe cannot know the length: 0 or all ones.
            if length in (0, 0xFFFFFFFF):
                return _missing(position + 8 + long_size, size) if long_size else None
            return _missing(position + 8 + length, size)
        position += 8 + length + length % 2
    return "it is cut off: it has no sound data"


def _ogg_truncation(file: BinaryIO, size: int) -> str | None:
    """Look for the end of the last page."""
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    start = tail.rfind(b"OggS")
    if start < 0 or len(tail) < start + 27:
        return "it is cut off in its last page"
    segments = tail[start + 26]
    table = tail[start + 27 : start + 27 + segments]
    end = start + 27 + segments + sum(table)
    return "it is cut off in its last page" if len(table) < segments or end > len(tail) else None


def last_page_start(path: Path) -> int | None:
    """Return the position, in samples, at which the last page of an Ogg file starts."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * _TAIL))
        tail = file.read()
    positions = []
    start = tail.find(b"OggS")
    while start >= 0 and len(tail) >= start + 27:
        positions.append(struct.unpack("<q", tail[start + 6 : start + 14])[0])
        size = tail[start + 26]
        size += 27 + sum(tail[start + 27 : start + 27 + size])
        start = tail.find(b"OggS", start + size)
    known = [position for position in positions[:-1] if position >= 0]
    return known[-1] if known else None
