"""h2spec, a conformance suite of HTTP/2 servers (https://github.com/summerwind/h2spec).

Go builds it once, under build/, where it is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.clients.test_stock_clients import BUILT, GO_PATH
from tests.lane.target import DECIDE, Target

# The newest that Go's module proxy has; later releases are not named as it wants modules named.
MODULE = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
BUILD_S_MAX = 200
PATH = os.pathsep.join((GO_PATH, str(BUILT)))


@pytest.fixture(scope="module")
def h2spec() -> str:
    """The program."""
    if not shutil.which("h2spec", path=PATH) and shutil.which("go", path=PATH):
        environment = {**os.environ, "PATH": PATH, "GOBIN": str(BUILT)}
        command = ["go", "install", MODULE]
        subprocess.run(command, env=environment, timeout=BUILD_S_MAX, check=False)
    found = shutil.which("h2spec", path=PATH)
    if not found:
        pytest.skip("needs h2spec, or Go and its module proxy the first time")
    return found


def test_it_finds_nothing(h2spec: str, target: Target) -> None:
    host, _, port = target.address.rpartition(":")
    command = [h2spec, "-h", host, "-p", port, "-P", DECIDE, "--timeout", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert " 0 failed" in done.stdout, done.stdout[-4_000:]
    assert " 0 skipped" in done.stdout, done.stdout[-200:]
