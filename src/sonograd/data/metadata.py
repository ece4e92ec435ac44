"""Tags and covers: what files say about the music in them."""

from pathlib import Path
from typing import Any

from sonograd.data.containers import sniff
from sonograd.data.ffmpeg import open_container
from sonograd.errors import AudioError

__all__ = ["cover_kind", "read_metadata"]

# What containers say about themselves, not about the music.
_TECHNICAL = frozenset(
    {
        "major_brand",
        "minor_version",
        "compatible_brands",
        "handler_name",
        "vendor_id",
        "language",
        "encoder",
        "software",
        "creation_time",
        "metadata_block_picture",
    }
)
_SAME = {"tracknumber": "track", "tracktotal": "tracktotal", "albumartist": "album_artist"}


def read_metadata(path: Path, stream: int = 0) -> tuple[dict[str, str], bytes | None]:
    """Return the tags, names in lower case, and the cover of a file.

    A file whose tags cannot be read has none; that is no reason not to read its audio.
    """
    if sniff(path) == "pcm":
        tags = _read_pcm_tags(path)
        if tags:
            return tags, None
    try:
        container = open_container(path)
    except AudioError:
        return {}, None
    try:
        found = dict(container.metadata)
        if stream < len(container.streams.audio):
            found.update(container.streams.audio[stream].metadata)
        return _clean(found), _read_cover(container)
    finally:
        container.close()


def _clean(found: dict[str, str]) -> dict[str, str]:
    names = ((_SAME.get(name.lower(), name.lower()), text) for name, text in found.items())
    return {name: text for name, text in names if name not in _TECHNICAL and text}


def _read_pcm_tags(path: Path) -> dict[str, str]:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            return _clean(file.copy_metadata())
    except (soundfile.SoundFileError, TypeError):
        return {}


def _read_cover(container: Any) -> bytes | None:
    import av
    from av.stream import Disposition

    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            try:
                for packet in container.demux(stream):
                    if packet.size:
                        return bytes(packet)
            except av.FFmpegError:
                return None
    return None


def cover_kind(cover: bytes) -> str | None:
    """Return the FFmpeg codec of a picture, ``"mjpeg"`` or ``"png"``, if it is one of them."""
    if cover.startswith(b"\xff\xd8\xff"):
        return "mjpeg"
    return "png" if cover.startswith(b"\x89PNG\r\n\x1a\n") else None
