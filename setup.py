"""Build script.

Sources live in `core/`, `server/` and so on; the import name is `nextbest.*`.
A tree of relative links under build/ bridges the two, so that setuptools,
Cython and mypy all see one ordinary source root.
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

TREE = Path("build/tree")
FOLDERS = {
    "nextbest.core": "core",
    "nextbest.server": "server",
    "nextbest.client": "clients/python",
    "nextbest.v1": "proto/nextbest/v1",
    "nextbest.bench": "bench/load",
}
DEBUG = os.environ.get("NEXTBEST_DEBUG") == "1"
# An editable installation compiles in a folder of its own, which a build in place cannot use.
COMPILED = os.environ.get("NEXTBEST_COMPILE") != "0"
# Flags are here.
SELF = "setup.py"
# Where a loop happens to begin is worth 2 % of a decision, either way: each begins alike.  And
# what is called for each condition is to be inlined however much else is in the engine: by the
# compiler's own bound on the growth of a unit (40 %) it no longer was, at 17 % of a decision.
OPTIMISED = ["-O3", "-falign-functions=64", "-falign-loops=32", "--param=inline-unit-growth=80"]


def link_folders() -> None:
    for package, folder in FOLDERS.items():
        link = TREE.joinpath(*package.split("."))
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)


def packages() -> list[str]:
    # `nextbest` has no __init__.py, but it must be named: setuptools then finds
    # the layout regular and writes a plain .pth, which type checkers can read.
    subpackages = [f"{p}.{sub}" for p, folder in FOLDERS.items() for sub in find_packages(folder)]
    return ["nextbest", *FOLDERS, *subpackages]


def pkg_config(option: str, library: str) -> list[str] | None:
    command = ["pkg-config", option, library]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return shlex.split(result.stdout) if result.returncode == 0 else None


def engine() -> Extension:
    # Cython's own code compares signed with unsigned and leaves functions unused; a fault's field
    # is cut to its buffer on purpose.
    quiet = ["-Wno-sign-compare", "-Wno-unused-function", "-Wno-maybe-uninitialized"]
    quiet.append("-Wno-format-truncation")
    flags = ["-std=c++17", *quiet, *(["-O0", "-g"] if DEBUG else OPTIMISED)]
    flags += shlex.split(os.environ.get("NEXTBEST_CFLAGS", ""))
    libraries = pkg_config("--libs", "re2")
    if libraries is None:
        sys.stderr.write("nextbest: no RE2 (Debian: libre2-dev); matches() will be refused\n")
        flags.append("-DNEXTBEST_NO_RE2")
    else:
        flags += pkg_config("--cflags", "re2") or []
    hashing = pkg_config("--cflags", "libxxhash")
    if hashing is None:
        raise SystemExit(
            "nextbest: xxHash's header not found by pkg-config (Debian: libxxhash-dev, pkg-config)"
        )
    flags += hashing
    parts = [p for p in Path("core").rglob("*") if p.suffix in {".pyx", ".pxd", ".h"}]
    return Extension(
        "nextbest.core.engine",
        [str(TREE / "nextbest/core/engine.pyx")],
        language="c++",
        include_dirs=["core"],
        depends=[SELF, *sorted(str(TREE / "nextbest" / part) for part in parts)],
        extra_compile_args=flags,
        extra_link_args=libraries or [],
    )


def http2() -> list[Extension]:
    """The fast lane and the load generator's native part, where libnghttp2 is."""
    libraries = pkg_config("--libs", "libnghttp2")
    if libraries is None:
        sys.stderr.write(
            "nextbest: no libnghttp2 (Debian: libnghttp2-dev, pkg-config); no fast lane and no "
            "`nextbest bench`\n"
        )
        return []
    flags = ["-Wno-sign-compare", "-Wno-unused-function"]
    flags += ["-O0", "-g"] if DEBUG else OPTIMISED
    flags += pkg_config("--cflags", "libnghttp2") or []
    flags += shlex.split(os.environ.get("NEXTBEST_CFLAGS", ""))
    lane = [p for p in Path("core/lane").iterdir() if p.suffix in {".pyx", ".h"}]
    lane += Path("core").glob("*.h")
    native = Path("bench/load/native").glob("*.pyx")
    return [
        Extension(
            "nextbest.core.lane_native",
            [str(TREE / "nextbest/core/lane_native.pyx")],
            language="c++",
            include_dirs=["core"],
            depends=[SELF, *sorted(str(TREE / "nextbest" / part) for part in lane)],
            extra_compile_args=["-std=c++17", *flags],
            extra_link_args=libraries,
        ),
        Extension(
            "nextbest.bench.generator",
            [str(TREE / "nextbest/bench/generator.pyx")],
            depends=[
                SELF,
                *sorted(str(TREE / "nextbest/bench/native" / part.name) for part in native),
            ],
            # GCC 12 sees a status of -1 behind the comparison that keeps it out.
            extra_compile_args=[*flags, "-Wno-array-bounds"],
            extra_link_args=libraries,
        ),
    ]


def directives() -> dict[str, object]:
    return {
        "language_level": 3,
        "boundscheck": DEBUG,
        "wraparound": DEBUG,
        "initializedcheck": DEBUG,
        "cdivision": True,
        "embedsignature": True,
    }


def extensions() -> list[Extension]:
    found: list[Extension] = cythonize(
        [engine(), *http2()],
        include_path=[str(TREE)],
        build_dir="build/c",
        compiler_directives=directives(),
    )
    return found


link_folders()
setup(
    packages=packages(),
    package_dir={"": str(TREE)},
    package_data={
        "": ["*.pxd", "*.pyi", "py.typed", "*.proto", "*.yaml", "*/*.yaml", "*/tests/*.yaml"]
    },
    ext_modules=extensions() if COMPILED else [],
)
