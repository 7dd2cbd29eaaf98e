"""Debian's Prometheus, as a process of its own that scrapes a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import pytest

from tests.faults.processes import free_port

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus (Debian: prometheus)"
)
READY_S = 30.0
STOP_S = 20


class Prometheus:
    """Scrapes `target` each second, with those rules, while the `with` block runs."""

    def __init__(self, folder: Path, target: str, rules: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = folder / "prometheus.yml"
        scrape = {"job_name": "nextbest", "static_configs": [{"targets": [target]}]}
        content = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [scrape],
        }
        # JSON is YAML.
        config.write_text(json.dumps(content), "utf-8")
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address={self.address}", "--log.level=error"]
        command += ["--enable-feature=exemplar-storage"]
        self._process = subprocess.Popen(command)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait(STOP_S)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self._get("query", query=expression)
        result: list[dict[str, Any]] = answer["result"]
        return result

    def get(self, path: str) -> Any:
        """The data of another page of the API."""
        return self._get(path)

    def until(self, expression: str) -> None:
        """Wait until an expression gives something."""
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            try:
                if self.query(expression):
                    return
            except OSError:
                assert self._process.poll() is None, "prometheus ended"
            time.sleep(0.2)
        raise AssertionError(f"nothing from {expression}")

    def _get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}") as got:
            return json.loads(got.read())["data"]
