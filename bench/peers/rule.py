"""One rule of three predicates as each peer writes it, and the people it is asked about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from google.protobuf import struct_pb2

from bench.micro import people
from bench.micro.peers import decision
from bench.micro.predicates import PREDICATES

# Of shop-100's sixty: the three that every peer's language can say, over stored attributes.
CEL = (
    'profile.country in ["PL", "DE", "FR"]',
    "profile.age >= 35",
    "profile.basket_value > 40.0",
)
FIELDS = ("country", "age", "basket_value")
FLAG = "offer"
ASKED = 2_000

Attributes = dict[str, people.Scalar]


class Question(NamedTuple):
    """A request about one person, and whether the rule holds for that person."""

    data: bytes
    holds: bool


def asked() -> list[Attributes]:
    """People of whom all three attributes are known, as the requests bring them."""
    known = (person.attributes for person in map(people.person, range(people.PROFILES)))
    chosen = ({name: a[name] for name in FIELDS} for a in known if a.keys() >= set(FIELDS))
    return list(islice(chosen, ASKED))


def holds(of: Attributes) -> bool:
    """The rule, plainly."""
    country, age, basket = (of[name] for name in FIELDS)
    return country in ("PL", "DE", "FR") and float(age) >= 35 and float(basket) > 40.0


def numbers() -> tuple[int, ...]:
    """The three predicates' places among the sixty."""
    found = {predicate.cel: place for place, predicate in enumerate(PREDICATES)}
    return tuple(found[text] for text in CEL)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a message."""
    size, length = len(content), b""
    while size > 127:
        length += bytes((size & 127 | 128,))
        size >>= 7
    return bytes((number << 3 | 2,)) + length + bytes((size,)) + content


def struct(of: Attributes) -> struct_pb2.Struct:
    """Attributes as JSON-like values, which is how flagd and Cerbos take them."""
    made = struct_pb2.Struct()
    made.update(of)
    return made


# Cerbos


def cerbos_files(folder: Path, port: int) -> Path:
    """Write the policy and the configuration; gives the latter."""
    policies = folder / "policies"
    policies.mkdir()
    conditions = [{"expr": text.replace("profile.", "request.resource.attr.")} for text in CEL]
    rule = {
        "actions": ["propose"],
        "effect": "EFFECT_ALLOW",
        "roles": ["caller"],
        "condition": {"match": {"all": {"of": conditions}}},
    }
    policy = {
        "apiVersion": "api.cerbos.dev/v1",
        "resourcePolicy": {"resource": FLAG, "version": "default", "rules": [rule]},
    }
    settings = {
        "server": {"grpcListenAddr": f"127.0.0.1:{port}", "httpListenAddr": f"unix:{folder}/http"},
        "storage": {
            "driver": "disk",
            "disk": {"directory": str(policies), "watchForChanges": False},
        },
        "telemetry": {"disabled": True},
        "audit": {"enabled": False},
    }
    # JSON is YAML.
    (policies / "offer.yaml").write_text(json.dumps(policy), encoding="utf-8")
    file = folder / "cerbos.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file


def cerbos_questions() -> Iterator[Question]:
    """CheckResourcesRequests of one resource and one action."""
    principal = field(1, b"caller") + field(3, b"caller")
    for number, of in enumerate(asked()):
        resource = field(1, FLAG.encode()) + field(3, b"%d" % number)
        for name, value in struct(of).fields.items():
            entry = field(1, name.encode()) + field(2, value.SerializeToString())
            resource += field(4, entry)
        checked = field(1, b"propose") + field(2, resource)
        yield Question(field(3, principal) + field(4, checked), holds(of))


def cerbos_holds(answer: bytes) -> bool:
    """Whether the action is allowed: the entry of the action in the map of effects."""
    return field(1, b"propose") + b"\x10\x01" in answer


# flagd


def flagd_file(folder: Path) -> Path:
    """Write the flag with its targeting rule."""
    targeting = {
        "if": [
            {
                "and": [
                    {"in": [{"var": "country"}, ["PL", "DE", "FR"]]},
                    {">=": [{"var": "age"}, 35]},
                    {">": [{"var": "basket_value"}, 40.0]},
                ]
            },
            "on",
            "off",
        ]
    }
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": targeting,
    }
    file = folder / "flags.json"
    file.write_text(json.dumps({"flags": {FLAG: flag}}), encoding="utf-8")
    return file


def flagd_questions() -> Iterator[Question]:
    """ResolveBooleanRequests."""
    for of in asked():
        data = field(1, FLAG.encode()) + field(2, struct(of).SerializeToString())
        yield Question(data, holds(of))


def flagd_holds(answer: bytes) -> bool:
    """Whether the flag is on: the first field, which is left out when it is false."""
    return answer.startswith(b"\x08\x01")


# zen-engine


def zen_file(folder: Path) -> Path:
    """Write the decision table of one row."""
    file = folder / "table.json"
    file.write_text(json.dumps(decision({FLAG: numbers()})), encoding="utf-8")
    return file


def zen_questions() -> Iterator[Question]:
    """What the table reads, as JSON."""
    for of in asked():
        yield Question(json.dumps({"profile": of}).encode(), holds(of))


def zen_holds(answer: bytes) -> bool:
    """Whether the row matched."""
    return bool(json.loads(answer)["result"])
