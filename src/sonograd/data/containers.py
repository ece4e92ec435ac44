"""What the first and last bytes of an audio file say, read without any audio library."""

import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["Kind", "mp3_has_length", "sniff", "truncation"]

Kind = str
_TAIL = 1 << 17


def sniff(path: Path) -> Kind:
    """Return what the file starts with: ``vorbis, opus, ogg, mp3, mp4, pcm, flac`` or ``other``."""
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
