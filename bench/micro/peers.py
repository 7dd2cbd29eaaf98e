"""The same predicates on the systems a user would pick instead: cel-cpp and ZEN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import zen
from cel_expr_python import cel  # type: ignore[import-untyped]
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

from . import people
from .predicates import PREDICATES
from .shop_100 import action_name, action_predicates

type_of = {
    "bool": ".google.protobuf.BoolValue",
    "int": ".google.protobuf.Int64Value",
    "double": ".google.protobuf.DoubleValue",
    "string": ".google.protobuf.StringValue",
    "timestamp": ".google.protobuf.Timestamp",
}
MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE


def profile_types() -> dict[str, str]:
    """The types of all that a condition can read of a profile."""
    types = dict(people.TYPES)
    for name, counter in people.COUNTERS.items():
        types[name] = "double" if counter.summed else "int"
    return types


class CelPeer:
    """cel-cpp through its Python binding: 60 programs, evaluated over a prebuilt activation.

    The schema is a protobuf message with wrapper types, as an author's schema is in nextbest.
    """

    def __init__(self) -> None:
        pool = message_pool({"Profile": profile_types(), "Context": people.CONTEXT})
        find = pool.FindMessageTypeByName
        self.profile_class = message_factory.GetMessageClass(find("shop.Profile"))
        self.context_class = message_factory.GetMessageClass(find("shop.Context"))
        variables = {
            "profile": cel.Type("shop.Profile"),
            "context": cel.Type("shop.Context"),
            "now": cel.Type.TIMESTAMP,
        }
        self.environment = cel.NewEnv(pool, variables=variables)
        self.programs = [self.environment.compile(p.cel) for p in PREDICATES]

    def activation(self, values: dict[str, people.Scalar], request: people.Request) -> Any:
        """What the programs read, built ahead of the timing."""
        data = {
            "profile": filled(self.profile_class(), values),
            "context": filled(self.context_class(), request.context),
            "now": datetime.fromtimestamp(request.now_s, UTC),
        }
        return self.environment.Activation(data)

    def holding(self, activation: Any) -> set[int]:
        """The predicates that are true; an error or a null is not."""
        results = (program.eval(activation).value() for program in self.programs)
        return {i for i, result in enumerate(results) if result is True}

    def evaluations(self) -> list[Callable[[Any], Any]]:
        """The bound `eval` of each program, for timing."""
        return [program.eval for program in self.programs]

    def constants(self) -> list[Callable[[Any], Any]]:
        """As many of the program `true`: what calling costs through the binding."""
        return [self.environment.compile("true").eval for _ in self.programs]


def message_pool(messages: dict[str, dict[str, str]]) -> descriptor_pool.DescriptorPool:
    """A pool with the messages, every field a wrapper so that it can be unset."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    pool = descriptor_pool.DescriptorPool()
    for module in (wrappers_pb2, timestamp_pb2):
        dependency = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(dependency)
        pool.Add(dependency)
        file.dependency.append(dependency.name)
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(
                name=field, number=number, label=1, type=MESSAGE, type_name=type_of[kind]
            )
    pool.Add(file)
    return pool


def filled(message: Any, values: dict[str, people.Scalar]) -> Any:
    """A message with the values that are set."""
    for name, value in values.items():
        field = getattr(message, name)
        if hasattr(field, "seconds"):
            field.seconds = value
        else:
            field.value = value
            field.SetInParent()
    return message


class ZenPeer:
    """Two ZEN decision tables that collect: a row for each action, a row for each predicate."""

    def __init__(self) -> None:
        rows = {action_name(i): triple for i, triple in enumerate(action_predicates())}
        singles = {f"p{i:02d}": (i,) for i in range(len(PREDICATES))}
        content = {"actions": decision(rows), "predicates": decision(singles)}
        self.engine = zen.ZenEngine({"loader": {"type": "static", "content": content}})

    def qualifying(self, context: dict[str, object]) -> list[str]:
        """The actions whose three conditions hold: 300 predicates in one table."""
        return rows_of(self.engine.evaluate("actions", context))

    def holding(self, context: dict[str, object]) -> set[int]:
        """The predicates that are true."""
        return {int(row[1:]) for row in rows_of(self.engine.evaluate("predicates", context))}


def rows_of(response: Any) -> list[str]:
    """The rows that matched, by name."""
    return [row["row"] for row in response["result"]]


def zen_context(values: dict[str, people.Scalar], request: people.Request) -> dict[str, object]:
    """What a table reads; what is unset is null."""
    profile: dict[str, object] = dict.fromkeys(profile_types())
    profile.update(values)
    return {"profile": profile, "context": request.context, "now": request.now_s}


def decision(rows: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """A decision of one table: a column for each field, a cell for each condition."""
    fields = sorted({PREDICATES[i].field for triple in rows.values() for i in triple})
    column = {field: f"i{number}" for number, field in enumerate(fields)}
    rules = []
    for name, triple in rows.items():
        rule = {"_id": name, "out": f'"{name}"', **dict.fromkeys(column.values(), "")}
        rule.update({column[PREDICATES[i].field]: PREDICATES[i].cell for i in triple})
        rules.append(rule)
    table = {
        "hitPolicy": "collect",
        "inputs": [{"id": id, "name": field, "field": field} for field, id in column.items()],
        "outputs": [{"id": "out", "name": "row", "field": "row"}],
        "rules": rules,
    }
    return graph(table)


def graph(table: Mapping[str, object]) -> dict[str, object]:
    """The smallest graph around a table."""
    place = {"x": 0, "y": 0}
    nodes = [
        {"id": "input", "type": "inputNode", "name": "input", "position": place},
        {
            "id": "table",
            "type": "decisionTableNode",
            "name": "table",
            "position": place,
            "content": table,
        },
        {"id": "output", "type": "outputNode", "name": "output", "position": place},
    ]
    edges = [
        {"id": "a", "sourceId": "input", "targetId": "table", "type": "edge"},
        {"id": "b", "sourceId": "table", "targetId": "output", "type": "edge"},
    ]
    return {"nodes": nodes, "edges": edges}
