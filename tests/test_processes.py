"""Killed processes of a pool are one line."""

from concurrent.futures.process import BrokenProcessPool

import pytest

from sonograd.errors import SonogradError
from sonograd.processes import told_when_killed


@pytest.mark.parametrize(("kept", "said"), [(True, "what is done stays: run"), (False, "; run")])
def test_a_broken_pool_is_told_in_one_line(kept, said):
    with (
        pytest.raises(SonogradError, match=f"that made songs was killed.*{said} this again"),
        told_when_killed("made songs", kept=kept),
    ):
        raise BrokenProcessPool("first\nsecond")


def test_other_errors_stay_what_they_are():
    with pytest.raises(ZeroDivisionError), told_when_killed("made songs"):
        raise ZeroDivisionError
