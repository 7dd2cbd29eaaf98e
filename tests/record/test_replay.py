"""Replay: a recorded decision gives the same bytes again, and what was changed is named."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from nextbest.core.errors import InvalidRequestError, PositionLostError
from nextbest.core.playbook.plan import Exploration, ExplorationKind
from nextbest.server.examples import LEADS, SHOP, TESTED
from nextbest.server.record.content import FileContent
from nextbest.server.record.errors import CutRecordError, DamagedRecordError, LaterRecordError
from nextbest.server.record.files import Files
from nextbest.server.record.frames import Frame, frames
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.server.varint import varint
from nextbest.v1 import common_pb2, decision_pb2, record_pb2
from tests.contact.playbook import DAY, NOW_US, SECOND, answer, track
from tests.contact.playbook import plan_of as capped
from tests.record.people import START_US, live, plan_of, recording, taken


@pytest.mark.parametrize("folder", [SHOP, LEADS, TESTED], ids=lambda folder: folder.name)
def test_decisions_replay_to_the_byte(folder: Path, tmp_path: Path) -> None:
    plan = plan_of(folder)
    engine = recording(plan)
    live(engine, plan, 1_500)
    _, found = taken(engine)
    assert len(found) == 1_500
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    assert [one for one in replay(found, playbooks) if not one.equal] == []


@pytest.mark.parametrize(
    "exploration",
    [
        Exploration(ExplorationKind.EPSILON_GREEDY, 0.5),
        Exploration(ExplorationKind.SOFTMAX, 2.0),
    ],
)
def test_what_was_drawn_is_drawn_again(exploration: Exploration, tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    placements = tuple(replace(one, exploration=exploration) for one in plan.placements)
    plan = replace(plan, hash=bytes(16), placements=placements)
    engine = recording(plan)
    # What is drawn is drawn from the clock's seed: about 60 are explored at the least.
    live(engine, plan, 1_500)
    assert sum(engine.telemetry.decisions().explored.values()) > 10
    _, found = taken(engine)
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    assert [one for one in replay(found, playbooks) if not one.equal] == []


def test_decisions_replay_across_a_publish(tmp_path: Path) -> None:
    """Each by the playbook that decided it."""
    first, second = plan_of(SHOP), plan_of(TESTED)
    engine = recording(first)
    live(engine, first, 300)
    engine.publish(second)
    live(engine, second, 300, seed=2)
    engine.publish(first)
    live(engine, first, 300, seed=3)
    _, found = taken(engine)
    playbooks = Playbooks(tmp_path, {first.hash: first, second.hash: second})
    assert len(found) == 900
    assert len({frame.record.playbook for frame in found}) == 2
    assert [one for one in replay(found, playbooks) if not one.equal] == []


def test_any_changed_bit_names_the_record_and_costs_no_other() -> None:
    plan = plan_of(TESTED)
    engine = recording(plan)
    live(engine, plan, 40)
    content, found = taken(engine)
    chance = random.Random(1)
    for bit in chance.sample(range(8 * len(content)), 400):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        seen = list(frames("changed", bytes(changed)))
        damaged = [one for one in seen if isinstance(one, DamagedRecordError)]
        hurt = max(frame.number for frame in found if frame.offset <= bit // 8)
        assert [one.number for one in damaged] == [hurt]
        whole = [one.decision_id for one in seen if isinstance(one, Frame)]
        assert whole == [one.decision_id for one in found if one.number != hurt]


def test_a_file_that_ends_within_a_record_says_so() -> None:
    plan = plan_of(TESTED)
    engine = recording(plan)
    live(engine, plan, 3)
    content, found = taken(engine)
    for end in range(found[2].offset + 1, len(content)):
        *whole, last = frames("cut", content[:end])
        assert len(whole) == 2
        assert isinstance(last, CutRecordError)
        assert "record 3" in str(last)
        assert "the file ends within it" in str(last)


def test_a_file_that_is_cut_while_it_is_read_ends_there(tmp_path: Path) -> None:
    """As by a server that takes back what its disk had no room for."""
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 300)
    content, found = taken(engine)
    path = tmp_path / "1.records"
    path.write_bytes(content)
    files = Files(tmp_path)
    reading = files.frames()
    assert next(reading) == found[0]
    os.truncate(path, found[20].offset + 10)
    assert list(reading) == found[1:20]
    assert (len(files.cut), files.damaged) == (1, [])


def test_a_file_reads_as_its_bytes_do(tmp_path: Path) -> None:
    """Damage of several kinds and its end, too."""
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 50)
    content, found = taken(engine)
    changed = bytearray(content[:-3])
    changed[found[3].offset] ^= 8
    changed[found[9].offset + 40] ^= 1
    changed[found[20].offset : found[20].offset] = bytes(10_000)
    path = tmp_path / "1.records"
    path.write_bytes(changed)
    files = Files(path)
    read = list(files.frames())
    of_bytes = list(frames(str(path), bytes(changed)))
    assert read == [one for one in of_bytes if isinstance(one, Frame)]
    errors = [str(one) for one in of_bytes if isinstance(one, DamagedRecordError)]
    assert sorted(map(str, [*files.damaged, *files.cut])) == sorted(errors)
    assert files.read_bytes == len(changed)


class Counted(FileContent):
    """A file's bytes; counts how often it is read."""

    reads = 0

    def __getitem__(self, part: slice) -> bytes:
        self.reads += 1
        return super().__getitem__(part)


def test_damage_is_not_read_byte_by_byte(tmp_path: Path) -> None:
    engine = recording(plan_of(SHOP))
    live(engine, plan_of(SHOP), 2)
    content, found = taken(engine)
    damage = random.Random(7).randbytes(500_000)
    path = tmp_path / "1.records"
    path.write_bytes(damage + content)
    with open(path, "rb") as file:
        counted = Counted(file)
        first, *whole = frames(str(path), counted)
    assert isinstance(first, DamagedRecordError)
    assert [one.data for one in whole if isinstance(one, Frame)] == [one.data for one in found]
    assert counted.reads < len(damage) / 5


def test_a_changed_length_is_no_cut() -> None:
    """The end of the last record is there: somebody has changed its length."""
    plan = plan_of(TESTED)
    engine = recording(plan)
    live(engine, plan, 2)
    content, found = taken(engine)
    changed = bytearray(content)
    changed[found[1].offset + 1] ^= 0x40
    _, last = frames("changed", bytes(changed))
    assert isinstance(last, DamagedRecordError)
    assert not isinstance(last, CutRecordError)


def test_zeros_behind_the_last_record_are_a_cut() -> None:
    """As a file system may leave them where the power went."""
    plan = plan_of(TESTED)
    engine = recording(plan)
    live(engine, plan, 3)
    content, found = taken(engine)
    *whole, last = frames("zeros", content + bytes(50_000_000))
    assert whole == found
    assert isinstance(last, CutRecordError)
    *some, last = frames("zeros", content[: found[2].offset] + bytes(50_000_000) + content)
    assert [isinstance(one, Frame) for one in some] == [True, True, False, True, True]
    assert isinstance(last, Frame)


def test_a_record_of_a_later_version_is_named() -> None:
    plan = plan_of(TESTED)
    engine = recording(plan)
    live(engine, plan, 1)
    _, (frame,) = taken(engine)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    record.version = 2
    (found,) = frames("later", packed(record))
    assert isinstance(found, LaterRecordError)
    assert "record 1, at byte 0: version: 2, allowed: 1" in str(found)


def forged(record: record_pb2.DecisionRecord) -> Frame:
    """A changed record with a checksum that holds."""
    (frame,) = frames("forged", packed(record))
    assert isinstance(frame, Frame)
    return frame


def packed(record: record_pb2.DecisionRecord) -> bytes:
    """A record as a file has it, with a checksum that holds."""
    record.ClearField("checksum")
    body = record.SerializeToString()
    data = body + b"\x7d" + google_crc32c.value(body).to_bytes(4, "little")
    return varint(len(data)) + data


def test_the_first_difference_is_named(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 20)
    _, found = taken(engine)
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    frame = next(one for one in found if one.record.response.placements[0].propositions)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    action = record.response.placements[0].propositions[0].action
    record.response.placements[0].propositions[0].action = "another"
    (one,) = replay([forged(record)], playbooks)
    path = "placements[0].propositions[0].action"
    assert one.difference == f"{path}: recorded 'another', again {action!r}"


def test_inputs_of_another_type_are_refused(tmp_path: Path) -> None:
    """A file may be anybody's: expressions are compiled for the types that they declare."""
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 30)
    _, found = taken(engine)
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    wrong = [
        common_pb2.Value(string_value="text" * 9),
        common_pb2.Value(bool_value=True),
        common_pb2.Value(double_value=float("nan")),
        common_pb2.Value(string_list=common_pb2.StringList(values=["a"] * 5_000)),
        common_pb2.Value(vector=common_pb2.DoubleList(values=[1.0] * 9)),
    ]
    refused = 0
    for frame in found:
        for number in range(len(frame.record.inputs)):
            for value in wrong:
                record = record_pb2.DecisionRecord()
                record.CopyFrom(frame.record)
                record.inputs[number].value.CopyFrom(value)
                (one,) = replay([forged(record)], playbooks)
                refused += "inputs." in one.difference
    assert refused > 100


def test_lists_that_no_counter_keeps_are_bounded(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 1)
    _, (frame,) = taken(engine)
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    for one in record.inputs:
        one.ages[:] = [0, 2**62] * 9
    (told,) = replay([forged(record)], playbooks)
    assert "Traceback" not in told.difference
    record.inputs[0].moments.extend([1] * 4_200_000)
    (told,) = replay([forged(record)], playbooks)
    assert "a list over 4 MiB" in told.difference


def test_an_answer_that_stands_elsewhere_is_not_the_recorded_one(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 1)
    _, (frame,) = taken(engine)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    answer = record.response.SerializeToString()
    tag = b"\x22" + varint(len(answer))
    record.request.context["page"].string_value = (tag + answer).decode("latin-1")
    record.response.stage = "another"
    (one,) = replay([forged(record)], Playbooks(tmp_path, {plan.hash: plan}))
    assert one.difference


def test_what_a_node_refused_for_itself_is_no_difference(tmp_path: Path) -> None:
    """The position is of a branch that no log has any more."""
    plan = plan_of(SHOP)
    engine = recording(plan, share=0.0)
    request = decision_pb2.DecideRequest(placements=["home_hero"])
    request.identity.kind, request.identity.id = 1, "ann"
    request.min_position.epoch, request.min_position.nonce = 1, 5
    with pytest.raises(PositionLostError):
        engine.decide(request.SerializeToString(), START_US)
    _, (frame,) = taken(engine)
    assert frame.record.error.code == PositionLostError.status_code
    (one,) = replay([frame], Playbooks(tmp_path, {plan.hash: plan}))
    assert one.difference == ""


def test_another_refusal_is_named(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan, share=0.0)
    request = decision_pb2.DecideRequest(placements=["nowhere"])
    request.identity.kind, request.identity.id = 1, "ann"
    with pytest.raises(InvalidRequestError):
        engine.decide(request.SerializeToString(), START_US)
    _, (frame,) = taken(engine)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    record.error.message = "identity: empty"
    (one,) = replay([forged(record)], Playbooks(tmp_path, {plan.hash: plan}))
    assert one.difference.startswith("error.message: recorded 'identity: empty', again")


def test_an_input_that_is_not_recorded_is_told(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 1)
    _, (frame,) = taken(engine)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(frame.record)
    del record.unset_attributes[0]
    (one,) = replay([forged(record)], Playbooks(tmp_path, {plan.hash: plan}))
    assert one.difference.startswith("inputs: 1 that")


def test_a_refused_decision_is_recorded_whatever_the_share(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan, share=0.0)
    live(engine, plan, 50)
    request = decision_pb2.DecideRequest(placements=["nowhere"])
    request.identity.kind, request.identity.id = 1, "ann"
    with pytest.raises(InvalidRequestError):
        engine.decide(request.SerializeToString(), START_US)
    _, (frame,) = taken(engine)
    assert "nowhere" in frame.record.error.message
    (one,) = replay([frame], Playbooks(tmp_path, {plan.hash: plan}))
    assert one.difference == ""


def test_a_share_is_recorded_by_the_ids() -> None:
    plan = plan_of(SHOP)
    engine = recording(plan, share=0.25)
    live(engine, plan, 2_000)
    assert abs(len(taken(engine)[1]) - 500) < 120


def test_what_has_explored_is_recorded_whatever_the_share(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    explores = Exploration(ExplorationKind.EPSILON_GREEDY, 0.2)
    placements = tuple(replace(one, exploration=explores) for one in plan.placements)
    plan = replace(plan, hash=bytes(16), placements=placements)
    engine = recording(plan, share=0.25)
    engine.record(0.25, 0, True)
    live(engine, plan, 2_000)
    _, found = taken(engine)
    sampled = [one for one in found if not one.record.unsampled]
    assert abs(len(sampled) - 500) < 120
    explored = [
        any(one.explored for part in frame.record.response.placements for one in part.propositions)
        for frame in found
    ]
    beside = [one for one, frame in zip(explored, found, strict=True) if frame.record.unsampled]
    assert len(beside) > 20
    assert all(beside)
    assert sum(explored) > len(beside), "those of the sample have explored, too"
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    assert [one for one in replay(found, playbooks) if not one.equal] == []


def test_what_finds_the_buffer_full_is_counted() -> None:
    plan = plan_of(SHOP)
    engine = recording(plan, buffer_bytes=65_536)
    live(engine, plan, 200)
    counts = engine.records()
    _, found = taken(engine)
    assert counts.kept == len(found) > 10
    assert counts.kept + counts.dropped == 200
    assert 0 < counts.waiting_bytes <= 65_536
    assert engine.records().waiting_bytes == 0


def test_a_playbook_that_is_not_at_hand_is_named(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 1)
    (one,) = replay(taken(engine)[1], Playbooks(tmp_path, {}))
    assert one.difference == ""
    assert plan.hash.hex() in one.why_not
    assert "--playbook" in one.why_not


def test_what_the_contact_policy_has_read_is_recorded(tmp_path: Path) -> None:
    """Impressions of what was shown, over a month: rules hold back more and more, and let go."""
    chance = random.Random(2)
    mail = {"count": "impression", "of": {"channel": "email"}}
    contact = {
        "time_zone": {"from": "profile.time_zone", "default": "Europe/Warsaw"},
        "caps": {
            "each": {"count": "impression", "of": "action", "max": 2, "window": "10d"},
            "late": mail | {"max": 2, "window": "5d"},  # reads what weekly reads
            "monthly": mail | {"max": 8, "window": "month"},
            "weekly": mail | {"max": 3, "window": "7d"},
        },
        "suppression": {
            "tired": {
                **{"after": 2, "count": "dismissal", "of": "action"},
                **{"within": "5d", "pause": "3d"},
            }
        },
        "quiet_hours": {"nights": {"channels": "push", "from": "22:00", "to": "06:00"}},
    }
    plan = capped(contact)
    engine = recording(plan)
    now_us = NOW_US
    rules = set()
    for _ in range(400):
        now_us += chance.randrange(DAY // 6)
        who, placement = f"u{chance.randrange(5)}", chance.choice(["inbox", "phone"])
        explain = chance.random() < 0.3
        zone = chance.choice([None, "America/New_York", "Asia/Tokyo", "Mars"])
        response = answer(engine, who, placement, now_us, explain=explain, zone=zone)
        rules |= {one.condition for each in response.explanations for one in each.candidates}
        channel = "email" if placement == "inbox" else "push"
        for one in response.placements[0].propositions:
            at_us = now_us - chance.randrange(SECOND)
            event = chance.choice(["impression", "impression", "dismissal"])
            track(engine, who, event, at_us, now_us, action=one.action, channel=channel)
    assert {
        "cap each",
        "cap late",
        "cap monthly",
        "suppression tired",
        "quiet_hours nights",
    } <= rules
    _, found = taken(engine)
    sizes = {len(one.record.response.placements[0].propositions) for one in found}
    assert {0, 3} <= sizes
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    assert [one for one in replay(found, playbooks) if not one.equal] == []
