"""``sonograd``: the list of commands, and what becomes of their errors.

A command is a function in its own file; one line in :data:`COMMANDS` adds it. Its module is
imported when the command runs or its help is shown, and imports torch only inside the function.
It prints results to stdout and returns its exit status, or None for 0; messages and progress go
through :class:`sonograd.cli.console.Console`. Errors are raised, never printed:
:func:`main` turns them into one line and an exit status.

======  =====================================================
status  meaning
======  =====================================================
0       all is done
1       some items failed; they are listed
2       nothing was started: wrong arguments, nothing usable
130     interrupted by Ctrl-C (143: by a termination signal)
======  =====================================================
"""

import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from cyclopts import App, CycloptsError
from cyclopts.exceptions import UnknownCommandError, UnknownOptionError

from sonograd import __version__
from sonograd.cli.console import print_error
from sonograd.errors import TRACEBACK, ConfigError, SonogradError

__all__ = ["COMMANDS", "app", "main"]

#: Name of each command, the function behind it, and its line in the help; shown in this order.
COMMANDS: dict[str, tuple[str, str]] = {
    "separate": ("sonograd.cli.separate:separate", "Take songs apart: one file per stem."),
    "demo": ("sonograd.cli.demo:demo", "Make a song, take it apart, and show how well."),
    "songs": (
        "sonograd.cli.songs:songs",
        "Make synthetic multitrack songs to train and test with.",
    ),
    "render": ("sonograd.cli.render:render", "Run a chain of effects on files."),
    "match": (
        "sonograd.cli.match:match",
        "Find the settings between dry and processed audio.",
    ),
    "effects": (
        "sonograd.cli.effects:effects",
        "List effects with their parameters, or print a preset.",
    ),
    "spectrogram": ("sonograd.cli.spectrogram:spectrogram", "Draw sound: frequency over time."),
    "doctor": ("sonograd.cli.doctor:doctor", "Show versions, devices, speed, and what is missing."),
    "config": ("sonograd.cli.config:config", "Make the folder of a new model."),
    "train": ("sonograd.cli.train:train", "Train a model on a folder of songs."),
    "test": ("sonograd.cli.test:test", "Separate the songs of a data set, and score them."),
    "evaluate": ("sonograd.cli.evaluate:evaluate", "Score files against their references."),
    "data": ("sonograd.cli.data:data", "Check the songs of a data set, and repair copies."),
    "plot-history": ("sonograd.cli.plot_history:plot_history", "Draw how a training went."),
    "models": ("sonograd.cli.models:models", "List models; show, verify and remove them."),
    "download": ("sonograd.cli.download:download", "Bring a published model here."),
    "convert": ("sonograd.cli.convert:convert", "Convert a checkpoint that others published."),
}

app = App(
    name="sonograd",
    help="Learn, measure and take apart sound, by gradient.",
    version=f"sonograd {__version__}",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
for _position, (_name, (_function, _help)) in enumerate(COMMANDS.items()):
    app.command(_function, name=_name, help=_help, sort_key=_position)


class _Terminated(BaseException):
    """A termination signal arrived; raised in the main thread so that clean-up runs."""


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Args:
        arguments: What follows the program's name; that of this process if None.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    previous = signal.signal(signal.SIGTERM, _terminate) if arguments is None else None
    try:
        return _run(tokens)
    except KeyboardInterrupt as interruption:
        print_error(str(interruption) or "interrupted; unfinished results were removed")
        return 130
    except _Terminated:
        print_error("terminated; unfinished results were removed")
        return 143
    except BrokenPipeError:
        # The reader of our output is gone: keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
        if arguments is None:
            gc.freeze()  # the process ends: to look for garbage in all of torch takes a while


def _run(tokens: list[str]) -> int:
    try:
        status: Any = app(
            tokens,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
    except CycloptsError as error:
        for line in _usage_errors(error, tokens):
            print_error(line)
        return 2
    except ConfigError as error:
        _show_traceback()
        for problem in error.problems:
            print_error(f"{error.source}: {problem}")
        return 2
    except BrokenPipeError:
        raise
    except SonogradError as error:
        _show_traceback()
        print_error(str(error))
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print_error(f"{where}{error.strerror or error}")
        return 2
    return status if isinstance(status, int) else 0


def _show_traceback() -> None:
    """Print where the error came from, if that is wanted."""
    if os.environ.get(TRACEBACK):
        traceback.print_exc()


def _usage_errors(error: CycloptsError, tokens: list[str]) -> list[str]:
    """Return one line for every unknown option, and one for the first other mistake."""
    if isinstance(error, UnknownCommandError):
        from sonograd.config.io import suggest

        name = (error.unused_tokens or tokens)[0]
        return [f"Unknown command {name!r}.{suggest(name, COMMANDS)} See: sonograd --help"]
    lines = [_one_line(error)]
    rest = list(tokens)
    while isinstance(error, UnknownOptionError):
        # The parser stops at the first unknown option: take that one out and look again.
        name = error.token.value
        keep = [token for token in rest if token.partition("=")[0] != name.partition("=")[0]]
        if len(keep) == len(rest):
            break
        rest = keep
        try:
            app.parse_args(rest, exit_on_error=False, print_error=False)
            break
        except CycloptsError as another:
            error = another
            lines.append(_one_line(error))
    return lines


def _one_line(error: CycloptsError) -> str:
    command = " ".join(["sonograd", *(error.command_chain or ())])
    return f"{' '.join(str(error).split())} See: {command} --help"
