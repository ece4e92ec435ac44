"""Everything that goes to stderr: messages, errors and progress."""

import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress

__all__ = ["Console", "format_seconds", "print_error", "progress", "visible"]

#: Kinds of signs that control a terminal, or cannot be written; and two that only join letters.
_CONTROLS, _JOINERS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"}), "\u200c\u200d"
#: Seconds between lines of progress when stderr is no terminal.
PLAIN_INTERVAL = 5.0


def print_error(message: str) -> None:
    """Print ``error: message`` to stderr."""
    print(visible(f"error: {message}"), file=sys.stderr, flush=True)


def visible(text: str) -> str:
    r"""Return one line on which signs that control a terminal can be seen, instead of doing so.

    >>> visible("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return "".join(
        sign.encode("unicode_escape").decode()
        if unicodedata.category(sign) in _CONTROLS and sign not in _JOINERS
        else sign
        for sign in text
    )


def format_seconds(seconds: float) -> str:
    """Return ``seconds`` as ``m:ss`` or ``h:mm:ss``.

    >>> format_seconds(61.4), format_seconds(7200)
    ('1:01', '2:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Console:
    """Messages and progress of one command, on stderr.

    On a terminal progress is a bar with speed and time left; elsewhere it is a plain line at most
    every few seconds. Speed counts from the first call, so that work which was there already does
    not. Pass :meth:`progress` as ``on_progress`` of a job.

    >>> with Console(quiet=True) as console:
    ...     console.progress(1.0, 2.0)
    """

    def __init__(self, *, quiet: bool = False, unit: str = "s of audio") -> None:
        """Start silent.

        Args:
            quiet: Show neither progress nor messages; errors and warnings are always shown.
            unit: What ``on_progress`` counts; shown behind the numbers.
        """
        self.quiet = quiet
        self.unit = unit
        self._bar: RichProgress | None = None
        self._task: Any = None
        self._description = ""
        self._started: float | None = None
        self._begin = 0.0
        self._last = float("-inf")

    def __enter__(self) -> Self:
        """Return the console itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the progress bar down."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def message(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self._print(text)

    def warning(self, text: str) -> None:
        """Print ``warning: text``, quiet or not."""
        self._print(f"warning: {text}")

    def error(self, text: str) -> None:
        """Print ``error: text``, quiet or not."""
        self._print(f"error: {text}")

    def describe(self, text: str) -> None:
        """Say what is being worked on; shown with the progress."""
        self._description = text
        if self._bar is not None:
            self._bar.update(self._task, description=_shorten(visible(text)))

    def progress(self, done: float, total: float) -> None:
        """Show that ``done`` of ``total`` units are done; safe to call very often."""
        if self.quiet:
            return
        now = time.monotonic()
        if self._started is None:
            self._started, self._begin = now, done
        if sys.stderr.isatty():
            self._draw(done, total)
        elif now - self._last >= PLAIN_INTERVAL:
            self._last = now
            self._print(self._plain_line(done, total, now - self._started))

    def _plain_line(self, done: float, total: float, elapsed: float) -> str:
        percent = 100 * done / total if total else 100.0
        line = f"{self._description}: " if self._description else ""
        line += f"{percent:.0f} % ({done:.0f} of {total:.0f} {self.unit})"
        if done > self._begin and elapsed > 1:
            speed = (done - self._begin) / elapsed
            left = format_seconds((total - done) / speed)
            line += f", {speed:.1f} {self.unit} per second, {left} left"
        return line

    def _draw(self, done: float, total: float) -> None:
        if self._bar is None:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:>3.0f} %"),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(compact=True),
                console=RichConsole(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(
                _shorten(visible(self._description)), total=total, speed=""
            )
            self._bar.start()
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = (done - self._begin) / elapsed if elapsed > 0.5 else 0.0
        speed = f"{rate:.1f} {self.unit} per second" if rate else ""
        self._bar.update(self._task, completed=done, total=total, speed=speed)

    def _print(self, text: str) -> None:
        text = visible(text)
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def _shorten(text: str, length: int = 32) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


@contextmanager
def progress(
    description: str, *, quiet: bool = False, unit: str = "s of audio"
) -> "Iterator[Callable[[float, float], None]]":
    """Show the progress of one job: a context that gives its ``on_progress``."""
    with Console(quiet=quiet, unit=unit) as console:
        console.describe(description)
        yield console.progress
