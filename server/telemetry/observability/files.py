"""Files: what `deploy/observability` holds, and `nextbest schema --observability` writes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nextbest.server.telemetry.observability.alerts import alerts
from nextbest.server.telemetry.observability.collector import collector, prometheus
from nextbest.server.telemetry.observability.dashboard import dashboard
from nextbest.server.telemetry.observability.rule_tests import rule_tests
from nextbest.server.telemetry.observability.rules import recording_rules

HEAD = "# Written by `nextbest schema --observability DIR`: change its source, not this.\n"


def files() -> dict[str, str]:
    """Each file's text, by its name."""
    groups = [
        {"name": "nextbest-slo", "interval": "30s", "rules": recording_rules()},
        {"name": "nextbest-alerts", "rules": [alert.rule() for alert in alerts()]},
    ]
    return {
        "collector.yaml": _yaml(collector()),
        "prometheus.yml": _yaml(prometheus()),
        "rules.yml": _yaml({"groups": groups}),
        "rules_test.yml": _yaml(rule_tests()),
        "dashboard.json": json.dumps(dashboard(), indent=1) + "\n",
    }


def write(folder: Path) -> list[Path]:
    """Write them all into a folder, which is made; raise OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, "utf-8")
    return [folder / name for name in files()]


def _yaml(content: Mapping[str, Any]) -> str:
    # Imported here: only writing these files needs it.
    from ruamel.yaml import YAML

    yaml = YAML(pure=True)
    yaml.width = 1_000
    stream = io.StringIO()
    yaml.representer.ignore_aliases = lambda _: True
    yaml.dump(dict(content), stream)
    return HEAD + stream.getvalue()
