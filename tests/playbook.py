"""A playbook of parts that a test has as dicts and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from nextbest.server.playbook.compile import Compiled, compile_playbook


def compiled_of(files: Mapping[str, Any]) -> Compiled:
    """Compile files by name; a part that is None is a file that there is not."""
    return compile_playbook(
        {
            name: yaml.safe_dump(part, sort_keys=False).encode()
            for name, part in files.items()
            if part is not None
        }
    )
