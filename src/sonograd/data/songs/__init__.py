"""Seeded multitrack songs: composed, played and mixed without a single recording.

>>> song = make_song(1, seconds=0.5, sample_rate=8000)
>>> song.names, tuple(song.stems.shape)
(('drums', 'bass', 'other', 'vocals'), (4, 2, 4000))
"""

from sonograd.data.songs.compose import check_request, compose
from sonograd.data.songs.describe import describe
from sonograd.data.songs.genres import GENRES, Genre, check_genre
from sonograd.data.songs.render import SyntheticSong, make_song, render
from sonograd.data.songs.score import STEMS, Hit, Note, Part, Score, Section
from sonograd.data.songs.statistics import StemStatistics, average_statistics, stem_statistics

__all__ = [
    "GENRES",
    "STEMS",
    "Genre",
    "Hit",
    "Note",
    "Part",
    "Score",
    "Section",
    "StemStatistics",
    "SyntheticSong",
    "average_statistics",
    "check_genre",
    "check_request",
    "compose",
    "describe",
    "make_song",
    "render",
    "stem_statistics",
]
