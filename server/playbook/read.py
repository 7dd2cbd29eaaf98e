"""A playbook's files, read by the tables of `model` and put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook import consents, contacts, folder, limits, model, source, trials
from nextbest.server.playbook.faults import Fault, Faults, nearest, one_of, shown
from nextbest.server.playbook.shapes import MISSING, Text

_PART = re.compile(rf"({'|'.join(model.FILES)})(/[^/]+)?\.yaml")
_CASES = re.compile(r"tests/([^/]+/)*[^/]+\.yaml")
_YAML = re.compile(r"([^/]+)((?:/[^/]+)*)\.ya?ml", re.IGNORECASE)
_IGNORED = re.compile(r"(.*/)?[^/]+\.md")
_SECTIONS = (
    "attributes",
    "events",
    "counters",
    "context",
    "segments",
    "scores",
    "grades",
    "actions",
    "placements",
    "experiments",
    "layers",
    "holdouts",
    "channels",
    "caps",
    "budgets",
    "suppression",
    "quiet_hours",
    "purposes",
)
# What there is one of.
_SINGLE = ("stages", "time_zone", "triggers")


_TOTALS = (
    ("actions", limits.ACTIONS_MAX),
    ("segments", limits.SEGMENTS_MAX),
    ("experiments", limits.EXPERIMENTS_MAX),
    ("holdouts", limits.HOLDOUTS_MAX),
    ("caps", limits.CONTACT_RULES_MAX),
    ("budgets", limits.BUDGETS_MAX),
    ("suppression", limits.CONTACT_RULES_MAX),
    ("quiet_hours", limits.CONTACT_RULES_MAX),
    ("purposes", limits.PURPOSES_MAX),
)


@dataclass(slots=True)
class Playbook:
    """All that the files say, by section; each name once."""

    attributes: dict[Text, model.AttributeSpec] = field(default_factory=dict)
    events: dict[Text, dict[Text, ValueType]] = field(default_factory=dict)
    counters: dict[Text, model.CounterSpec] = field(default_factory=dict)
    context: dict[Text, ValueType] = field(default_factory=dict)
    segments: dict[Text, tuple[Text, ...]] = field(default_factory=dict)
    scores: dict[Text, model.ScorecardSpec] = field(default_factory=dict)
    grades: dict[Text, model.GradeSpec] = field(default_factory=dict)
    stages: model.StagesSpec | None = None
    actions: dict[Text, model.ActionSpec] = field(default_factory=dict)
    placements: dict[Text, model.PlacementSpec] = field(default_factory=dict)
    experiments: dict[Text, trials.ExperimentSpec] = field(default_factory=dict)
    layers: dict[Text, trials.LayerSpec] = field(default_factory=dict)
    holdouts: dict[Text, trials.HoldoutSpec] = field(default_factory=dict)
    time_zone: contacts.TimeZoneSpec | None = None
    caps: dict[Text, contacts.CapSpec] = field(default_factory=dict)
    budgets: dict[Text, contacts.BudgetSpec] = field(default_factory=dict)
    suppression: dict[Text, contacts.SuppressionSpec] = field(default_factory=dict)
    quiet_hours: dict[Text, contacts.QuietHoursSpec] = field(default_factory=dict)
    purposes: dict[Text, consents.PurposeSpec] = field(default_factory=dict)
    channels: dict[Text, tuple[Text, ...]] = field(default_factory=dict)
    triggers: model.TriggersSpec | None = None
    cases: list[model.CaseSpec] = field(default_factory=list)
    nodes: int = 0  # YAML nodes read so far
    readable: bool = True  # False when a part was no YAML, so that names in it are not known


def read_playbook(files: Mapping[str, bytes], faults: Faults) -> Playbook:
    """Everything that can be read; what cannot is in `faults`."""
    found = Playbook()
    if not folder.check_files(files, faults):
        found.readable = False
        return found
    # By what it was meant to be: names in a part of another name are known, as in any other.
    meant = _all_meant(files)
    if not any(path == "schema.yaml" or path.startswith("schema/") for path in meant.values()):
        seen = "no files" if not files else f"no schema.yaml among {len(files):,} files"
        needed = "a schema.yaml with attributes, events, counters or context"
        faults.add(Fault("schema.yaml", 1, 1, "playbook", seen, needed), cause=True)
        found.readable = False
    # A part in a file of its own comes before parts in a folder of that name.
    for path in sorted(files, key=lambda path: (path.split(".yaml")[0].split("/"), path)):
        if meant[path] != path:
            _unknown(path, faults, cause=True)
        _read_file(found, path, meant[path], files[path], faults)
    return found


def _all_meant(files: Iterable[str]) -> dict[str, str]:
    """For each path the one that it was to have; no two are meant as one."""
    meant = {}
    taken = set(files)
    for path in sorted(files):
        meant[path] = _meant(path, taken)
        taken.add(meant[path])
    return meant


def _meant(path: str, taken: set[str]) -> str:
    """The path that a part of a wrong name was to have, unless that is taken; or its own."""
    named = _YAML.fullmatch(path)
    if _is_known(path) or named is None:
        return path
    folder = nearest(named[1], [*model.FILES, "tests"])
    meant = f"{folder}{named[2]}.yaml"
    return meant if _is_known(meant) and meant not in taken else path


def _is_known(path: str) -> bool:
    return bool(_PART.fullmatch(path) or _CASES.fullmatch(path)) or _is_later(path)


def _is_later(path: str) -> bool:
    return re.split(r"[./]", path)[0] in model.LATER


def _read_file(found: Playbook, path: str, meant: str, content: bytes, faults: Faults) -> None:
    part = _PART.fullmatch(meant)
    before = faults.errors()
    if part:
        root = _parse(found, path, content, faults)
        if root is None:
            found.readable &= faults.errors() == before and _nothing(path, meant, faults)
            return
        spec = model.FILES[part[1]].read(root, "file", faults)
        if spec is not MISSING:
            _merge(found, spec, faults)
        else:
            found.readable = False
    elif _CASES.fullmatch(meant):
        root = _parse(found, path, content, faults)
        cases = MISSING if root is None else model.CASES.read(root, "tests", faults)
        found.cases.extend(() if cases is MISSING else cases)  # type: ignore[arg-type]
    elif not _IGNORED.fullmatch(path):
        _unknown(path, faults)
        _break_names(found, path, content, faults)


def _break_names(found: Playbook, path: str, content: bytes, faults: Faults) -> None:
    """What a file of an unknown name defines is not missing elsewhere."""
    root = _parse(found, path, content, Faults()) if _YAML.fullmatch(path) else None
    for _, section in () if root is None else root.entries:
        faults.broken.update(name.text for name, _ in section.entries)


def _parse(found: Playbook, path: str, content: bytes, faults: Faults) -> source.Node | None:
    root = source.parse(path, content, faults, limits.NODES_MAX - found.nodes)
    found.nodes += 0 if root is None else root.weight
    return root


def _nothing(path: str, meant: str, faults: Faults) -> bool:
    """An empty schema says nothing at all; any other part may be left empty."""
    if meant == "schema.yaml":
        allowed = "attributes, events, counters or context"
        faults.add(Fault(path, 1, 1, "file", "nothing", allowed))
    return meant != "schema.yaml"


def _unknown(path: str, faults: Faults, cause: bool = False) -> None:
    if _is_later(path):
        allowed = f"no {path} yet: {re.split(r'[./]', path)[0]} comes later"
        faults.add(Fault(path, 1, 1, "file", shown(path), allowed))
        return
    known = [f"{name}.yaml" for name in model.FILES]
    allowed = one_of(path, [*known, "tests/NAME.yaml"])
    faults.add(Fault(path, 1, 1, "file", shown(path), allowed), cause)


def _merge(found: Playbook, spec: Any, faults: Faults) -> None:
    for section in _SECTIONS:
        whole: dict[Text, Any] = getattr(found, section)
        for name, item in getattr(spec, section, {}).items():
            if name not in whole:
                whole[name] = item
                continue
            first = next(other for other in whole if other == name).node
            allowed = f"each name once; the first is at {first.source.path}:{first.line}"
            faults.add(name.node.fault(f"duplicate name in {section}", allowed))
    for part in _SINGLE:
        _set(found, part, getattr(spec, part, None), faults)
    _check_total(found, faults)


def _set(found: Playbook, part: str, spec: Any, faults: Faults) -> None:
    known = getattr(found, part)
    if spec is None:
        return
    if known is None:
        setattr(found, part, spec)
        return
    first = known.at.node
    allowed = f"{part} once; the first is at {first.source.path}:{first.line}"
    faults.add(spec.at.node.fault(f"duplicate {part}", allowed))


def _check_total(found: Playbook, faults: Faults) -> None:
    """Parts of a section in several files keep the section's bound together."""
    for section, most in _TOTALS:
        count = len(getattr(found, section))
        if count > most:
            allowed = f"at most {most:,}"
            faults.add(Fault(f"{section}.yaml", 1, 1, f"{section}", f"{count:,}", allowed))
