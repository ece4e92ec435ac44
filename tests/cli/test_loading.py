"""What is imported is never looked at for garbage."""

import gc

import pytest

from sonograd.cli.loading import loading


@pytest.fixture(autouse=True)
def thaw():
    yield
    gc.unfreeze()


def test_what_was_loaded_is_kept_from_the_collector():
    before = gc.get_freeze_count()
    with loading():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_an_import_that_fails_leaves_the_collector_on():
    with pytest.raises(ImportError), loading():
        raise ImportError("torch")
    assert gc.isenabled()
