"""Hosts as network namespaces on one machine, and splits between any groups of them.

Every host has an address on a bridge; a split moves the hosts' cables to bridges of their own, so
packets vanish without a word, as they do when a real network parts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

HOSTS_MAX: Final = 200
_BRIDGE: Final = "bridge"


class Network:
    """Namespaces named `nb<id>-<host>`, removed when the block is left."""

    def __init__(self, hosts: Sequence[str]) -> None:
        if not 1 <= len(hosts) <= HOSTS_MAX or len(set(hosts)) < len(hosts):
            raise ValueError(f"hosts: {len(hosts)}, allowed: 1 to {HOSTS_MAX}, each once")
        self._hosts = list(hosts)
        self._prefix = f"nb{os.getpid():x}"
        self._hub = f"{self._prefix}-hub"
        self._made: list[str] = []

    @staticmethod
    def unavailable() -> str:
        """Why there can be no namespaces here; empty when there can."""
        if os.geteuid() != 0:
            return "network namespaces need root"
        for tool in ("ip", "nsenter"):
            if not shutil.which(tool):
                return f"{tool} is not installed"
        tried = subprocess.run(["ip", "netns", "list"], capture_output=True, check=False)
        return "" if tried.returncode == 0 else "the kernel has no network namespaces"

    def __enter__(self) -> Self:
        try:
            self._add(self._hub)
            self._in_hub("link", "add", "name", f"{_BRIDGE}0", "type", "bridge")
            self._in_hub("link", "set", f"{_BRIDGE}0", "up")
            for host in self._hosts:
                self._attach(host)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        while self._made:
            _ip("netns", "del", self._made.pop(), check=False)

    def address(self, host: str) -> str:
        """The host's address."""
        return f"10.77.0.{self._hosts.index(host) + 1}"

    def enter(self, host: str) -> list[str]:
        """The beginning of a command that runs the rest of it on that host."""
        return ["nsenter", f"--net=/run/netns/{self._namespace(host)}", "--"]

    def split(self, *groups: Sequence[str]) -> None:
        """Part the hosts: only those of one group reach each other; the others stay together."""
        for number, group in enumerate(groups, 1):
            bridge = f"{_BRIDGE}{number}"
            if not self._has(bridge):
                self._in_hub("link", "add", "name", bridge, "type", "bridge")
                self._in_hub("link", "set", bridge, "up")
            for host in group:
                self._in_hub("link", "set", self._cable(host), "master", bridge)

    def heal(self) -> None:
        """Join all hosts again."""
        for host in self._hosts:
            self._in_hub("link", "set", self._cable(host), "master", f"{_BRIDGE}0")

    def cut(self, host: str) -> None:
        """Pull the host's cable: it learns at once that it has no link."""
        self._in_hub("link", "set", self._cable(host), "down")

    def plug(self, host: str) -> None:
        """Put the cable back."""
        self._in_hub("link", "set", self._cable(host), "up")

    def _attach(self, host: str) -> None:
        namespace, cable = self._namespace(host), self._cable(host)
        self._add(namespace)
        end = ("peer", "name", "eth0", "netns", namespace)
        self._in_hub("link", "add", "name", cable, "type", "veth", *end)
        self._in_hub("link", "set", cable, "master", f"{_BRIDGE}0", "up")
        _ip("-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", namespace, "link", "set", device, "up")

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._made.append(namespace)

    def _has(self, bridge: str) -> bool:
        return Path(f"/run/netns/{self._hub}").exists() and _ip(
            "-n", self._hub, "link", "show", bridge, check=False
        )

    def _in_hub(self, *arguments: str) -> None:
        _ip("-n", self._hub, *arguments)

    def _namespace(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    def _cable(self, host: str) -> str:
        return f"cable{self._hosts.index(host)}"


def _ip(*arguments: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode == 0
