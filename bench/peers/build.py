"""`python -m bench.peers build`: compiles the peers whose toolchain is here, into build/peers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "peers"
# A first build of Cerbos downloads and compiles for minutes.
BUILD_S_MAX = 3_600
GO_FOLDERS = {"cerbos": "github.com/cerbos/cerbos/cmd/cerbos", "flagd": "."}
ECHO_NEEDS = "apt-get install g++ libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc"
GO_NEEDS = "Go 1.26 or newer on the PATH or in /usr/local/go/bin"


def search_path() -> str:
    """The PATH, with the place where Go's own installer puts it."""
    return f"{os.environ.get('PATH', '')}{os.pathsep}/usr/local/go/bin"


def made(command: list[str], folder: Path) -> str:
    """Run a build step; gives the last line of its errors when it failed."""
    environment = {**os.environ, "PATH": search_path()}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=BUILD_S_MAX
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or ["no message"]
    return lines[-1]


def build_echo() -> str:
    """The gRPC C++ echo; gives why not."""
    if not shutil.which("g++") or not shutil.which("grpc_cpp_plugin"):
        return ECHO_NEEDS
    python = f"PYTHON={sys.executable}"
    return made(["make", "-s", "-C", str(HERE), f"OUT={BUILT}", python], HERE)


def build_go(name: str) -> str:
    """One of the Go peers, pinned by its go.mod and go.sum; gives why not."""
    if not shutil.which("go", path=search_path()):
        return GO_NEEDS
    return made(["go", "build", "-o", str(BUILT / name), GO_FOLDERS[name]], HERE / name)


def build() -> dict[str, str]:
    """Build everything: each peer's name and why it could not be built, empty when it was."""
    BUILT.mkdir(parents=True, exist_ok=True)
    return {"echo": build_echo(), **{name: build_go(name) for name in GO_FOLDERS}}


def version_of(name: str) -> str:
    """The pinned module version of a Go peer, or the system's gRPC C++."""
    if name == "echo":
        command = ["pkg-config", "--modversion", "grpc++"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()
    module = {"cerbos": "cerbos/cerbos ", "flagd": "flagd/core "}[name]
    lines = (HERE / name / "go.mod").read_text(encoding="utf-8").splitlines()
    return next(line.split()[-1] for line in lines if module in line)
