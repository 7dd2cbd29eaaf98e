"""JSON Schema of the playbook's files, for editors: the tables of `model` in another notation."""

from __future__ import annotations

from typing import Any

from nextbest.server.playbook import model

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def names() -> tuple[str, ...]:
    """The files there are schemas of: schema, segments ... and tests."""
    return (*model.FILES, "tests")


def json_schema(file: str) -> dict[str, Any]:
    """The schema of one file, such as "actions" or "actions.yaml".  Raises KeyError."""
    name = file.removesuffix(".yaml")
    if name == "tests":
        return {"$schema": DIALECT, "title": "tests/*.yaml", **model.CASES.schema()}
    return {"$schema": DIALECT, "title": f"{name}.yaml", **model.FILES[name].schema()}


def combined_schema() -> dict[str, Any]:
    """One schema that holds for any file of a playbook."""
    parts = {name: json_schema(name) for name in names()}
    for part in parts.values():
        del part["$schema"]
    references = [{"$ref": f"#/$defs/{name}"} for name in parts]
    return {"$schema": DIALECT, "title": "nextbest playbook", "anyOf": references, "$defs": parts}
