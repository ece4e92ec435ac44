"""Run what the sampled source needs: FluidSynth, eSpeak NG, and the WORLD vocoder."""

import importlib
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonograd.errors import ConfigError, SonogradError
from sonograd.functional import resample

__all__ = ["check_programs", "find_soundfont", "play_midi", "speak", "vocoder"]

SOUNDFONT_VARIABLE = "SONOGRAD_SOUNDFONT"
_PLACES = ("/usr/share/sounds/sf2", "/usr/share/soundfonts", "/usr/local/share/soundfonts")
_NAMES = ("FluidR3_GM.sf2", "default-GM.sf2", "TimGM6mb.sf2")
_HIGHEST_RATE = 96000  # of FluidSynth


@lru_cache(maxsize=1)
def find_soundfont() -> Path | None:
    """Return a General MIDI SoundFont: what ``SONOGRAD_SOUNDFONT`` names, or an installed one."""
    named = os.environ.get(SOUNDFONT_VARIABLE)
    if named:
        return Path(named) if Path(named).is_file() else None
    for place in map(Path, _PLACES):
        for name in _NAMES:
            if (place / name).is_file():
                return place / name
        found = sorted(place.glob("*.sf2")) if place.is_dir() else []
        if found:
            return found[0]
    return None


def check_programs() -> None:
    """Make sure that everything the sampled source needs is there.

    Raises:
        ConfigError: Naming all that is missing and how to get it.
    """
    problems = [
        f"{program} is not installed; on Debian and Ubuntu: apt install {package}"
        for program, package in (("fluidsynth", "fluidsynth"), ("espeak-ng", "espeak-ng"))
        if shutil.which(program) is None
    ]
    if find_soundfont() is None:
        named = os.environ.get(SOUNDFONT_VARIABLE)
        problems.append(
            f"{SOUNDFONT_VARIABLE} names {named}, which is no file"
            if named
            else f"no SoundFont was found; apt install fluid-soundfont-gm, or let "
            f"{SOUNDFONT_VARIABLE} name a General MIDI .sf2 file"
        )
    try:
        vocoder()
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError("sampled songs", problems)


def vocoder() -> Any:
    """Return the module ``pyworld``.

    Raises:
        ConfigError: If it is not installed.
    """
    with warnings.catch_warnings():  # it asks for its version in a way that is going away
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("pyworld")
        except ImportError as error:
            problem = f"the vocoder cannot be used ({error}); pip install 'sonograd[songs]'"
            raise ConfigError("sampled songs", [problem]) from None


def _run(command: Sequence[str], output: Path) -> tuple[Tensor, int]:
    """Run a program that writes a sound file, and read that."""
    import soundfile

    try:
        done = subprocess.run(command, capture_output=True, timeout=900, check=False)
    except FileNotFoundError:
        raise ConfigError("sampled songs", [f"{command[0]} is not installed"]) from None
    except subprocess.TimeoutExpired:
        raise SonogradError(f"{command[0]} did not finish within 15 minutes.") from None
    if done.returncode or not output.is_file():
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no output"]
        raise SonogradError(f"{command[0]} failed with status {done.returncode}: {lines[-1]}")
    try:
        data, rate = soundfile.read(output, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise SonogradError(f"{command[0]} wrote a file that cannot be read: {error}") from None
    return torch.from_numpy(data).T.contiguous(), int(rate)


def play_midi(midi: bytes, sample_rate: int, *, seconds: float) -> Tensor:
    """Play a MIDI file on the SoundFont, without reverb and chorus.

    Args:
        midi: The file.
        sample_rate: In Hz; above 96 kHz it is played at that and resampled.
        seconds: How much of it must come.

    Returns:
        ``(2, samples)``.

    Raises:
        SonogradError: If FluidSynth fails, or stops before ``seconds`` are over.
    """
    played_rate = min(sample_rate, _HIGHEST_RATE)
    soundfont = find_soundfont()
    if soundfont is None:
        check_programs()
    with tempfile.TemporaryDirectory(prefix="sonograd-") as folder:
        source, output = Path(folder) / "song.mid", Path(folder) / "song.w64"
        source.write_bytes(midi)
        options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.4", "-r", str(played_rate)]
        options += [
            "-o",
            "synth.polyphony=256",
            "-O",
            "float",
            "-T",
            "w64",
        ]  # a WAV file ends at 4 GB
        sound, _ = _run(
            ["fluidsynth", *options, "-F", str(output), str(soundfont), str(source)], output
        )
        if sound.shape[-1] < (seconds - 0.1) * played_rate:
            raise SonogradError(
                f"fluidsynth wrote {sound.shape[-1] / played_rate:.1f} of {seconds:.1f} s; "
                f"is the disk of {folder} full? TMPDIR names another place."
            )
    return resample(sound, from_rate=played_rate, to_rate=sample_rate)


def speak(text: str, voice: str, *, words_per_minute: int, pitch: int) -> tuple[Tensor, int]:
    """Speak a text.

    Returns:
        ``(samples,)`` and the sample rate.
    """
    with tempfile.TemporaryDirectory(prefix="sonograd-") as folder:
        output = Path(folder) / "speech.wav"
        options = ["-v", voice, "-s", str(words_per_minute), "-p", str(pitch), "-w", str(output)]
        sound, rate = _run(["espeak-ng", *options, text], output)
    return sound[0], rate
