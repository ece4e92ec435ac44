"""Audio files, folders of stems, chunks, and synthetic songs.

Names are fetched when they are first used, so that :mod:`sonograd.data.formats` can be imported
without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sonograd.data.audio import (
        AudioFile,
        AudioInfo,
        check_finite,
        find_audio,
        read_audio,
        read_info,
        read_streams,
    )
    from sonograd.data.chunks import Chunk, ChunkDataset, collate_chunks
    from sonograd.data.formats import FORMATS, AudioFormat, check_format, format_from_path
    from sonograd.data.layouts import SongFiles, StemFile, find_songs
    from sonograd.data.resample import StreamResampler, resample_audio, resampled_length
    from sonograd.data.stems import EndlessSongs, Example, StemFolder, StemSource
    from sonograd.data.writer import AudioWriter, write_audio

# Where each public name lives.
_HOMES = {
    "FORMATS": "formats",
    "AudioFile": "audio",
    "AudioFormat": "formats",
    "AudioInfo": "audio",
    "AudioWriter": "writer",
    "Chunk": "chunks",
    "ChunkDataset": "chunks",
    "EndlessSongs": "stems",
    "Example": "stems",
    "SongFiles": "layouts",
    "StemFile": "layouts",
    "StemFolder": "stems",
    "StemSource": "stems",
    "StreamResampler": "resample",
    "check_finite": "audio",
    "check_format": "formats",
    "collate_chunks": "chunks",
    "find_audio": "audio",
    "find_songs": "layouts",
    "format_from_path": "formats",
    "read_audio": "audio",
    "read_info": "audio",
    "read_streams": "audio",
    "resample_audio": "resample",
    "resampled_length": "resample",
    "write_audio": "writer",
}

__all__ = [
    "FORMATS",
    "AudioFile",
    "AudioFormat",
    "AudioInfo",
    "AudioWriter",
    "Chunk",
    "ChunkDataset",
    "EndlessSongs",
    "Example",
    "SongFiles",
    "StemFile",
    "StemFolder",
    "StemSource",
    "StreamResampler",
    "check_finite",
    "check_format",
    "collate_chunks",
    "find_audio",
    "find_songs",
    "format_from_path",
    "read_audio",
    "read_info",
    "read_streams",
    "resample_audio",
    "resampled_length",
    "write_audio",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sonograd.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sonograd.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
