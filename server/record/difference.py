"""The first difference between two answers, by the path of its field."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message


def difference(recorded: Message, again: Message, path: str = "") -> str:
    """Where they differ first, in the order of the fields, and how; empty where nowhere."""
    return next(_differences(recorded, again, path), "")


def _differences(recorded: Message, again: Message, path: str) -> Iterator[str]:
    for field in recorded.DESCRIPTOR.fields:
        here = f"{path}.{field.name}" if path else field.name
        before, after = getattr(recorded, field.name), getattr(again, field.name)
        if field.message_type is None and not field.is_repeated:
            # A field that is absent and one that holds its default read alike.
            set_alike = not field.has_presence or (
                recorded.HasField(field.name) == again.HasField(field.name)
            )
            if before != after or not set_alike:
                yield f"{here}: recorded {before!r}, again {after!r}"
        elif not field.is_repeated:
            yield from _differences(before, after, here)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            if dict(before) != dict(after):
                yield f"{here}: recorded {dict(before)}, again {dict(after)}"
        else:
            yield from _of_lists(list(before), list(after), here)


def _of_lists(before: list[object], after: list[object], path: str) -> Iterator[str]:
    for place, (one, other) in enumerate(zip(before, after, strict=False)):
        if isinstance(one, Message) and isinstance(other, Message):
            yield from _differences(one, other, f"{path}[{place}]")
        elif one != other:
            yield f"{path}[{place}]: recorded {one!r}, again {other!r}"
    if len(before) != len(after):
        yield f"{path}: recorded {len(before)}, again {len(after)}"
