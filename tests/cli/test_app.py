"""The shell around the commands: start-up, help, wrong arguments, exit status."""

import json
import os
import subprocess
import sys

import pytest

from sonograd import __version__
from sonograd.cli import app as shell
from sonograd.errors import ConfigError, ParameterError

HEAVY = ("torch", "lightning", "matplotlib", "av", "soundfile", "numpy")

PROBE = """
import json, resource, sys
sys.argv = ["sonograd", *{arguments}]
from sonograd.cli.app import main
status = main()
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([status, usage.ru_utime, [m for m in {heavy} if m in sys.modules]]))
"""


def probe(*arguments):
    """Run the command line in a process of its own; return status, CPU time, heavy modules."""
    code = PROBE.format(arguments=list(arguments), heavy=HEAVY)
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    return run.stdout, *json.loads(run.stdout.splitlines()[-1])


def test_help_is_fast():
    best = min(probe("--help")[2] for _ in range(5))
    assert best < 0.3


@pytest.mark.parametrize(
    "arguments", [("--help",), (), ("--version",), *((name, "--help") for name in shell.COMMANDS)]
)
def test_help_loads_nothing_heavy(arguments):
    text, status, _, heavy = probe(*arguments)
    assert status == 0
    assert heavy == []
    assert len(text.splitlines()) > 1


def test_importing_the_package_is_light():
    code = f"import sys, sonograd; print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_help_lists_every_command(capsys):
    assert shell.main([]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in shell.COMMANDS.items():
        assert name in text
        assert line.split(":")[0][:40] in text


def test_version(capsys):
    assert shell.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"sonograd {__version__}"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["separat", "x"], ["Unknown command 'separat'. Did you mean 'separate'?"]),
        (["separate"], ["MODEL requires an argument"]),
        (["separate", "hpss", "a.wav", "--bitz", "16"], ["--bitz. Did you mean --bits?"]),
        (["separate", "hpss", "a.wav", "--bits", "12"], ['"12" for --bits. Choose from']),
        (["separate", "hpss", "a.wav", "--batch_size", "x"], ["--batch_size: unable to convert"]),
        (
            ["separate", "hpss", "a.wav", "--devce", "cpu", "--quiett"],
            ["--devce. Did you mean --device?", "--quiett. Did you mean --quiet?"],
        ),
    ],
)
def test_wrong_arguments_are_one_line_each(arguments, lines, capsys):
    assert shell.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    got = captured.err.splitlines()
    assert len(got) == len(lines)
    for line, expected in zip(got, lines, strict=True):
        assert line.startswith("error: ")
        assert expected in line
        assert "--help" in line


@pytest.fixture
def command(monkeypatch):
    """Put a function in the place of a command."""

    def put(function):
        monkeypatch.setattr(shell.app, "_commands", {})
        shell.app.command(function, name="probe")

    return put


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ParameterError("gain is 3; expected less"), 2, "error: gain is 3; expected less\n"),
        (ConfigError("a.json", ["x: no such key.", "y: missing."]), 2,
         "error: a.json: x: no such key.\nerror: a.json: y: missing.\n"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), 2,
         "error: a.wav: No such file or directory\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; unfinished results were removed\n"),
    ],
)  # fmt: skip
def test_errors_become_a_line_and_a_status(error, status, text, command, capsys):
    def fail() -> None:
        raise error

    command(fail)
    assert shell.main(["probe"]) == status
    assert capsys.readouterr().err == text


def test_where_an_error_came_from_can_be_shown(command, capsys, monkeypatch):
    def fail() -> None:
        raise ParameterError("gain is 3") from KeyError("cause")

    command(fail)
    monkeypatch.setenv("SONOGRAD_TRACEBACK", "1")
    assert shell.main(["probe"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "KeyError: 'cause'" in lines
    assert any("in fail" in line for line in lines)
    assert lines[-1] == "error: gain is 3"


def test_a_bug_keeps_its_traceback(command):
    def fail() -> None:
        raise ZeroDivisionError

    command(fail)
    with pytest.raises(ZeroDivisionError):
        shell.main(["probe"])


@pytest.mark.parametrize("status", [0, 1, 2, None])
def test_a_command_gives_the_status(status, command):
    def give() -> int | None:
        return status

    command(give)
    assert shell.main(["probe"]) == (status or 0)


def test_a_closed_pipe_ends_quietly():
    code = "import sys; from sonograd.cli.app import main; sys.exit(main())"
    run = subprocess.Popen(
        [sys.executable, "-c", code, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    run.stdout.close()
    errors = run.stderr.read().decode()
    run.stderr.close()
    run.wait()
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
