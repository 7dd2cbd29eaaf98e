"""The garbage collector rests for as long as anybody wants it to, and no longer."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from nextbest.server.collector import paused


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_rests_until_the_last_has_left() -> None:
    with paused:
        with paused:
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_works_again_after_an_error() -> None:
    with pytest.raises(KeyError), paused:
        raise KeyError
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_so() -> None:
    gc.disable()
    with paused:
        pass
    assert not gc.isenabled()
