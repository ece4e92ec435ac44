"""Progress and messages on stderr."""

import io

import pytest

from sonograd.cli import console as module
from sonograd.cli.console import Console, format_seconds, progress
from sonograd.cli.settings import print_table


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_come_every_few_seconds_only(clock, capsys):
    with Console() as console:
        console.describe("song.mp3")
        for done in range(20):
            console.progress(done, 40)
            clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "song.mp3: 0 % (0 of 40 s of audio)",
        "song.mp3: 12 % (5 of 40 s of audio), 1.0 s of audio per second, 0:35 left",
        "song.mp3: 25 % (10 of 40 s of audio), 1.0 s of audio per second, 0:30 left",
        "song.mp3: 38 % (15 of 40 s of audio), 1.0 s of audio per second, 0:25 left",
    ]


def test_quiet_shows_errors_and_warnings_only(capsys):
    with Console(quiet=True) as console:
        console.progress(1, 2)
        console.message("hello")
        console.warning("careful")
        console.error("broken")
    captured = capsys.readouterr()
    assert captured.err == "warning: careful\nerror: broken\n"
    assert captured.out == ""


def test_a_terminal_gets_a_bar_with_speed_and_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Console() as console:
        console.describe("a song with [brackets] and a very, very long name.mp3")
        for done in range(3):
            console.progress(done, 2)
        console.message("[1/2] done")
    text = terminal.getvalue()
    assert "a song with [brackets]" in text
    assert "100 %" in text
    assert "[1/2] done" in text


def test_nothing_to_do_is_no_error(capsys):
    with progress("nothing") as on_progress:
        on_progress(0.0, 0.0)
    assert "100 %" in capsys.readouterr().err


def test_a_message_is_one_line_and_moves_no_cursor(capsys):
    with Console() as console:
        console.error("song a\nb.wav: bad\x1b[2J \udcff ä")
        console.warning("x\ry")
    module.print_error("w\x1b]0;owned\x07")
    assert capsys.readouterr().err.splitlines() == [
        r"error: song a\nb.wav: bad\x1b[2J \udcff ä",
        r"warning: x\ry",
        r"error: w\x1b]0;owned\x07",
    ]


def test_format_seconds():
    assert [format_seconds(x) for x in (0, 59.6, 3599, 36000)] == [
        "0:00", "1:00", "59:59", "10:00:00",
    ]  # fmt: skip


def test_speed_counts_from_the_first_call(clock, capsys):
    with Console(unit="chunks") as console:
        console.progress(1000, 1100)
        clock[0] += 10
        console.progress(1020, 1100)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "93 % (1020 of 1100 chunks), 2.0 chunks per second, 0:40 left"


def test_settings_are_framed_on_a_terminal_and_plain_elsewhere(monkeypatch, capsys):
    settings = {"lr": 0.5, "visuals": {"image_freq": 5}, "names": ["[a]", "b"]}
    print_table("trainer.json", settings)
    plain = capsys.readouterr().out
    assert "visuals.image_freq  5\n" in plain
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    print_table("trainer.json", settings)
    text = terminal.getvalue()
    assert all(part in text for part in ("┃", "trainer.json", "image_freq", "[a], b"))
