"""Places: what `--log` takes, and that a password is shown nowhere."""

from __future__ import annotations

import pytest

from nextbest.server.log import LogPlaceError
from nextbest.server.log.place import parse


def test_places_that_are_taken() -> None:
    assert parse("memory:").kind == "memory"
    assert parse("sqlite:/data/log.db").path == "/data/log.db"
    plain = parse("redis://host")
    assert (plain.hosts, plain.tls, plain.database) == ((("host", 6379),), False, 0)
    full = parse("rediss://writer:p%40ss@[::1]:7000/3")
    assert full.hosts == (("::1", 7000),)
    assert (full.tls, full.database, full.user, full.password) == (True, 3, "writer", "p@ss")
    assert full.text == "rediss://[::1]:7000/3"
    watched = parse("sentinel://:secret@a:1,b,[::2]:3/main")
    assert watched.hosts == (("a", 1), ("b", 26379), ("::2", 3))
    assert (watched.name, watched.user, watched.password) == ("main", "", "secret")
    assert watched.text == "sentinel://a:1,b:26379,[::2]:3/main"
    assert "secret" not in repr(watched)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "memory",
        "memory:x",
        "sqlite:",
        "sqlite:\0",
        "redis:",
        "redis://",
        "redis://a,b",
        "redis://a:0",
        "redis://a:99999",
        "redis://a/x",
        "redis://a/1024",
        "redis://a?db=1",
        "redis://unix:/socket",
        "sentinel://a:1",
        "sentinel://a:1/",
        "sentinel://a:1/b/c",
        "sentinel://a:1,/b",
        "sentinel://" + ",".join(f"h{n}" for n in range(17)) + "/m",
        "redis://[::1",
        "http://a",
        "kafka://u:secret@a",
        "redis://u:sec@re/t#secret@a:b",
    ],
)
def test_places_that_are_refused_without_their_password(value: str) -> None:
    with pytest.raises(LogPlaceError) as refused:
        parse(value)
    assert refused.value.field == "log"
    assert "sec" not in str(refused.value)
