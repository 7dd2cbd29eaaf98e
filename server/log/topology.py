"""The self-check: whether the Redis hosts around a log can keep what REPLICATED promises.

Each rule closes a way in which acknowledged entries were lost; `refusal` names every broken one.
Two things cannot be seen from here and stay with the operator: that no host is restarted at once
with an empty disk, and that nobody forces a failover by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from nextbest.server.log.link import Address, RedisFacts, Topology
from nextbest.server.log.place import shown
from nextbest.server.log.settings import BackendSettings

HOSTS_MIN = 3
# CVE-2025-49844: any user who may run a script can take the host.  Minor version -> first mended.
_MENDED = {(7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}


def replicas(topology: Topology, settings: BackendSettings) -> int:
    """How many replicas make, with the master, a majority of the hosts; or the setting's."""
    return settings.replicas or len(_addresses(topology)) // 2


def refusal(topology: Topology, settings: BackendSettings) -> str:
    """Why nothing is acknowledged at REPLICATED, every reason; empty when it may be."""
    return "; ".join(_reasons(topology, settings))


def _reasons(topology: Topology, settings: BackendSettings) -> Iterator[str]:
    yield from topology.faults
    hosts = _hosts(_addresses(topology), settings)
    count = len(_addresses(topology))
    if len(hosts) < HOSTS_MIN:
        yield f"Redis hosts: {len(hosts)}, allowed: {HOSTS_MIN} or more"
    yield from _spread(topology, settings)
    wanted = replicas(topology, settings)
    if wanted < count // 2 or wanted >= count:
        yield f"replicas: {wanted}, allowed: {count // 2} to {count - 1} of {count} hosts"
    # A host that is down is what REPLICATED is for, but a majority must be seen to be sound.
    if len(topology.hosts) < min(count, wanted + 1):
        yield f"Redis hosts that answer: {len(topology.hosts)}, allowed: {wanted + 1} or more"
    priorities = {host.replica_priority for host in topology.hosts}
    if len(priorities) > 1 or 0 in priorities:
        seen = ", ".join(map(str, sorted(priorities)))
        # Sentinel promotes by priority before it looks at who has the newest entries.
        yield f"replica-priority: {seen}, allowed: one for all, not 0"
    for host in topology.hosts:
        yield from _host_reasons(host, settings)


def _spread(topology: Topology, settings: BackendSettings) -> Iterator[str]:
    """A majority of Sentinels has to be on a majority of the hosts: one on each."""
    by_host = _hosts(topology.sentinels, settings)
    count = len(topology.sentinels)
    if settings.hosts_by_port:
        even = count == len(_addresses(topology))
    else:
        even = by_host == _hosts(_addresses(topology), settings) == Counter(set(by_host))
    if not even:
        yield f"Sentinels: {count} on {len(by_host)} hosts, allowed: one on each Redis host"


def _host_reasons(host: RedisFacts, settings: BackendSettings) -> Iterator[str]:
    where = shown(host.address)
    if not host.append_only:
        # A host that comes back before Sentinel misses it would come back with an older stream.
        save = f" (save {host.save})" if host.save else ""
        yield f"{where} appendonly: no{save}, allowed: yes"
    if host.policy != "noeviction":
        yield f"{where} maxmemory-policy: {host.policy}, allowed: noeviction"
    if host.min_replicas_to_write < 1:
        yield f"{where} min-replicas-to-write: 0, allowed: 1 or more"
    if not settings.trust_build and not mended(host.version):
        yield (
            f"{where} version: {host.version}, allowed: with CVE-2025-49844 mended "
            "(7.2.11, 7.4.6, 8.0.4, 8.2.2 or later), or log.trust_build"
        )


def parsed(version: str) -> tuple[int, ...]:
    """The numbers of a version; empty when it has none."""
    numbers = version.split("-")[0].split(".")
    return tuple(int(one) for one in numbers) if all(n.isdecimal() for n in numbers) else ()


def mended(version: str) -> bool:
    """Whether a version has CVE-2025-49844 mended by its own number."""
    numbers = parsed(version)
    if len(numbers) < 3:
        return False
    minor = numbers[:2]
    return minor > max(_MENDED) or (minor in _MENDED and numbers[2] >= _MENDED[minor])


def _addresses(topology: Topology) -> tuple[Address, ...]:
    return (*(host.address for host in topology.hosts), *topology.silent)


def _hosts(found: tuple[Address, ...], settings: BackendSettings) -> Counter[str]:
    """How many servers are on each host."""
    return Counter(shown(one) if settings.hosts_by_port else one.host for one in found)
