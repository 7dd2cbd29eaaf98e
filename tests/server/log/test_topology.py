"""The self-check of REPLICATED: each rule refuses by itself and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nextbest.server.log.link import Address, RedisFacts, Topology
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.topology import mended, refusal, replicas

SETTINGS = BackendSettings()


def host(name: str, **facts: object) -> RedisFacts:
    sound = RedisFacts(
        address=Address(name, 6379),
        role="slave",
        version="8.2.2",
        replica_priority=100,
        append_only=True,
        save="",
        policy="noeviction",
        min_replicas_to_write=1,
    )
    return replace(sound, **facts)  # type: ignore[arg-type]


HOSTS = tuple(host(name) for name in "abc")
SENTINELS = tuple(Address(name, 26379) for name in "abc")
SOUND = Topology(HOSTS, SENTINELS)


def test_a_sound_topology_passes() -> None:
    assert refusal(SOUND, SETTINGS) == ""
    assert replicas(SOUND, SETTINGS) == 1
    five = Topology(
        tuple(host(name) for name in "abcde"), tuple(Address(name, 1) for name in "abcde")
    )
    assert refusal(five, SETTINGS) == ""
    assert replicas(five, SETTINGS) == 2


def test_a_host_that_is_down_does_not_refuse_but_two_of_three_do() -> None:
    one = Topology(HOSTS[:2], SENTINELS, silent=(Address("c", 6379),))
    assert refusal(one, SETTINGS) == ""
    assert replicas(one, SETTINGS) == 1
    two = Topology(HOSTS[:1], SENTINELS, silent=(Address("b", 6379), Address("c", 6379)))
    assert refusal(two, SETTINGS) == "Redis hosts that answer: 1, allowed: 2 or more"


@pytest.mark.parametrize(
    ("found", "settings", "reason"),
    [
        (
            Topology(HOSTS[:2], SENTINELS[:2]),
            SETTINGS,
            "Redis hosts: 2, allowed: 3 or more",
        ),
        (
            Topology(HOSTS, (Address("a", 1), Address("a", 2), Address("b", 1))),
            SETTINGS,
            "Sentinels: 3 on 2 hosts, allowed: one on each Redis host",
        ),
        (
            Topology(HOSTS, (*SENTINELS, Address("d", 1), Address("e", 1))),
            SETTINGS,
            "Sentinels: 5 on 5 hosts, allowed: one on each Redis host",
        ),
        (
            Topology((*HOSTS[:2], host("c", replica_priority=10)), SENTINELS),
            SETTINGS,
            "replica-priority: 10, 100, allowed: one for all, not 0",
        ),
        (
            Topology(tuple(host(name, replica_priority=0) for name in "abc"), SENTINELS),
            SETTINGS,
            "replica-priority: 0, allowed: one for all, not 0",
        ),
        (
            Topology(tuple(host(n) for n in "abcde"), tuple(Address(n, 1) for n in "abcde")),
            replace(SETTINGS, replicas=1),
            "replicas: 1, allowed: 2 to 4 of 5 hosts",
        ),
        (
            Topology((*HOSTS[:2], host("c", append_only=False, save="60 1")), SENTINELS),
            SETTINGS,
            "c:6379 appendonly: no (save 60 1), allowed: yes",
        ),
        (
            Topology((*HOSTS[:2], host("c", policy="allkeys-lru")), SENTINELS),
            SETTINGS,
            "c:6379 maxmemory-policy: allkeys-lru, allowed: noeviction",
        ),
        (
            Topology((*HOSTS[:2], host("c", min_replicas_to_write=0)), SENTINELS),
            SETTINGS,
            "c:6379 min-replicas-to-write: 0, allowed: 1 or more",
        ),
        (
            Topology((*HOSTS[:2], host("c", version="7.0.15")), SENTINELS),
            SETTINGS,
            "c:6379 version: 7.0.15, allowed: with CVE-2025-49844 mended "
            "(7.2.11, 7.4.6, 8.0.4, 8.2.2 or later), or log.trust_build",
        ),
        (
            Topology(HOSTS, SENTINELS, faults=("c:6379 CONFIG GET save: NOPERM",)),
            SETTINGS,
            "c:6379 CONFIG GET save: NOPERM",
        ),
    ],
)
def test_each_rule_refuses_with_its_reason(
    found: Topology, settings: BackendSettings, reason: str
) -> None:
    assert refusal(found, settings) == reason


def test_ports_of_one_machine_are_one_host_unless_told_otherwise() -> None:
    local = Topology(
        tuple(replace(host("x"), address=Address("127.0.0.1", port)) for port in (1, 2, 3)),
        tuple(Address("127.0.0.1", port) for port in (4, 5, 6)),
    )
    assert "Redis hosts: 1" in refusal(local, SETTINGS)
    assert refusal(local, replace(SETTINGS, hosts_by_port=True)) == ""


def test_versions_with_the_fix() -> None:
    for version in ("7.2.11", "7.4.6", "7.4.10", "8.0.4", "8.2.2", "8.4.0", "9.0.0"):
        assert mended(version)
    for version in ("6.2.20", "7.0.15", "7.2.10", "7.4.5", "8.0.3", "8.2.1", "", "unstable"):
        assert not mended(version)
    trusted = replace(SETTINGS, trust_build=True)
    assert (
        refusal(Topology(tuple(host(n, version="7.0.15") for n in "abc"), SENTINELS), trusted) == ""
    )
