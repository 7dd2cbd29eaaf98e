"""A draft judged by what a real server has decided, and by a world whose chances are known."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nextbest.client import AsyncClient
from nextbest.server.command.main import make_app
from nextbest.server.offpolicy import Settings, analyse
from nextbest.server.offpolicy.recorded import NOTHING, Recorded, gather
from nextbest.server.offpolicy.reward import reward_of
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.record.export import Period
from nextbest.server.record.files import Files
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.whatif import Draft
from nextbest.v1 import common_pb2, decision_pb2, event_pb2, profile_pb2
from tests.conftest import running
from tests.record.people import START_US, recording

# With what chance somebody of a country buys what they were shown first.
CHANCE = {
    "PL": {"red": 0.6, "blue": 0.2, "grey": 0.1},
    "DE": {"red": 0.1, "blue": 0.5, "grey": 0.1},
}
SCHEMA = "attributes: {country: string, age: int}\nevents: {buy: {amount: double}, look: {}}\n"
LOGGED = {
    "schema.yaml": SCHEMA,
    "actions.yaml": (
        "actions:\n  red: {value: 3}\n  blue: {value: 2}\n"
        "  grey: {value: 1, suitability: profile.country != 'FR'}\n"
    ),
    "placements.yaml": "placements: {top: {slots: 1, exploration: {epsilon_greedy: 0.6}}}\n",
}
# Shows each country what it likes, most of the time.
BETTER = LOGGED | {
    "actions.yaml": (
        "actions:\n  red: {value: 'profile.country == \"PL\" ? 9 : 1'}\n"
        "  blue: {value: 5}\n  grey: {value: 0, suitability: profile.country != 'FR'}\n"
    ),
    "placements.yaml": "placements: {top: {slots: 1, exploration: {epsilon_greedy: 0.15}}}\n",
}
CERTAIN = LOGGED | {"placements.yaml": "placements: {top: {slots: 1}}\n"}
DECISIONS = 6_000


def plan_of(files: dict[str, str]) -> Any:
    compiled = compile_playbook({name: text.encode() for name, text in files.items()})
    assert compiled.plan is not None, compiled.faults
    return compiled.plan


def lived(
    files: dict[str, str], target: Path, decisions: int = DECISIONS, share: float = 1.0
) -> Any:
    """Decisions for people of two countries, who buy by their chances; records in a file.

    share: of the decisions that are recorded, besides those that have explored.
    """
    plan = plan_of(files)
    engine = recording(plan)
    engine.record(share, 0, explored=True)
    chance = random.Random(3)
    for number in range(decisions):
        now_us = START_US + number * 1_000_000
        country = chance.choice(["PL", "DE"])
        who = common_pb2.Identity(kind=1, id=f"u{number}")
        request = decision_pb2.DecideRequest(
            identity=who, placements=["top"], decision_id=f"d{number}", seed=number + 1
        )
        request.attributes["country"].string_value = country
        answer = decision_pb2.DecideResponse.FromString(
            engine.decide(request.SerializeToString(), now_us)
        )
        shown = answer.placements[0].propositions[0].action
        if chance.random() < CHANCE[country][shown]:
            buy(engine, who, f"d{number}", now_us + 60_000_000)
    target.write_bytes(engine.take_records())
    return plan


def buy(
    engine: Any, who: common_pb2.Identity, decision: str, at_us: int, placement: str = ""
) -> None:
    event = event_pb2.TrackRequest(
        event_id=f"buy of {decision}", identity=who, event="buy", decision_id=decision
    )
    event.occurred_at.FromMicroseconds(at_us)
    event.properties["amount"].double_value = 2.0
    if placement:
        event.properties["placement"].string_value = placement
    engine.track(event.SerializeToString(), at_us)


def evaluated(file: Path, logged: Any, files: dict[str, str], reward: str = "buy") -> Recorded:
    draft = plan_of(files)
    playbooks = Playbooks(file.parent, {logged.hash: logged, draft.hash: draft})
    return gather(Files(file), playbooks, Draft(draft, playbooks), reward_of(reward), Period())


def test_a_drafts_value_is_what_the_world_gives_it(tmp_path: Path) -> None:
    """The draft explores in 0.15 of the decisions, each of three actions alike."""
    file = tmp_path / "one.records"
    found = evaluated(file, lived(LOGGED, file), BETTER)
    truth = np.mean(
        [0.85 * max(one.values()) + 0.15 * sum(one.values()) / 3 for one in CHANCE.values()]
    )
    analysis = analyse(found.feedback, lacking=found.lacking)
    for name in ("ips", "snips", "dr"):
        one = analysis.estimates[name]
        assert abs(one.mean - truth) < 4 * one.standard_error, name
        assert 0 < one.standard_error < 0.03, name
    # The country is in the context: a model that can tell tastes apart needs no weights.
    tastes = analyse(found.feedback, Settings(model="boosting"), lacking=found.lacking)
    assert tastes.estimates["dm"].mean == pytest.approx(truth, abs=0.03)
    assert analysis.estimates["dr"].lower > analysis.estimates["logged"].mean
    assert analysis.estimates["ips"].weight_mean == pytest.approx(1, abs=0.05)
    assert found.lacking == ()
    assert analysis.cautions == ()
    doubled = evaluated(file, plan_of(LOGGED), BETTER, "buy.amount").feedback
    np.testing.assert_allclose(doubled.reward, 2 * found.feedback.reward)


def test_what_is_recorded_for_having_explored_is_no_part_of_an_estimate(tmp_path: Path) -> None:
    """Its outcomes are not known, and there would be too much of it."""
    file = tmp_path / "one.records"
    found = evaluated(file, lived(LOGGED, file, share=0.5), LOGGED)
    assert abs(found.feedback.rows - DECISIONS / 2) < 200
    assert found.left_out.unsampled > 500
    analysis = analyse(found.feedback, lacking=found.lacking)
    truth = np.mean([0.4 * one["red"] + 0.6 * sum(one.values()) / 3 for one in CHANCE.values()])
    one = analysis.estimates["logged"]
    assert abs(one.mean - truth) < 4 * one.standard_error


def test_ips_is_what_the_answers_and_the_playbooks_give(tmp_path: Path) -> None:
    """Computed once more, from each decision's answer and the playbooks' own shares."""
    file = tmp_path / "one.records"
    plan = lived(LOGGED, file, 1_000)
    bought = {
        frame.record.outcome.decision_id
        for frame in Files(file).frames()
        if frame.record.HasField("outcome")
    }
    each = []
    for frame in Files(file).decisions():
        country = frame.record.request.attributes["country"].string_value
        shown = frame.record.response.placements[0].propositions[0].action
        logged = 0.4 + 0.6 / 3 if shown == "red" else 0.6 / 3
        best = "red" if country == "PL" else "blue"
        drafted = 0.85 + 0.15 / 3 if shown == best else 0.15 / 3
        each.append((drafted / logged, float(frame.decision_id in bought)))
    weight, reward = np.array(each).T
    estimates = analyse(evaluated(file, plan, BETTER).feedback).estimates
    assert estimates["ips"].mean == pytest.approx(np.mean(weight * reward), abs=1e-12)
    snips = np.sum(weight * reward) / np.sum(weight)
    assert estimates["snips"].mean == pytest.approx(snips, abs=1e-12)
    size = np.sum(weight) ** 2 / np.sum(weight**2)
    assert estimates["ips"].effective_size == pytest.approx(size)


def test_the_same_policy_has_the_logged_mean_whatever_the_weights(tmp_path: Path) -> None:
    file = tmp_path / "one.records"
    found = evaluated(file, lived(LOGGED, file, 500), LOGGED)
    analysis = analyse(found.feedback, lacking=found.lacking)
    assert analysis.estimates["ips"].mean == pytest.approx(analysis.estimates["logged"].mean)
    assert analysis.estimates["ips"].weight_max == pytest.approx(1, abs=1e-12)


def test_what_a_certain_policy_never_shows_lacks_support(tmp_path: Path) -> None:
    """Red was shown to all: of a draft that shows the Germans blue half is not known."""
    file = tmp_path / "one.records"
    certain = BETTER | {"placements.yaml": CERTAIN["placements.yaml"]}
    found = evaluated(file, lived(CERTAIN, file, 500), certain)
    ((slot, action, mass),) = [(one.slot, one.action, one.mass) for one in found.lacking]
    assert (slot, action) == ("top", "blue")
    assert mass == pytest.approx(0.5, abs=0.1)
    (caution,) = analyse(found.feedback, lacking=found.lacking).cautions
    assert "blue in slot top" in caution


def test_nothing_shown_is_a_choice_too(tmp_path: Path) -> None:
    file = tmp_path / "one.records"
    silent = CERTAIN | {"actions.yaml": "actions: {red: {eligibility: profile.country == 'PL'}}\n"}
    found = evaluated(file, lived(LOGGED, file, 300), silent)
    assert NOTHING in found.feedback.actions
    rows = found.feedback.evaluation[found.feedback.evaluation_row]
    np.testing.assert_allclose(rows.sum(axis=1), 1)


def test_an_outcome_without_a_placement_counts_for_each(tmp_path: Path) -> None:
    two = LOGGED | {
        "placements.yaml": "placements: {top: {slots: 1}, side: {slots: 1}}\n",
        "schema.yaml": SCHEMA.replace("amount: double", "amount: double, placement: string"),
    }
    plan = plan_of(two)
    engine = recording(plan)
    for number in range(20):
        who = common_pb2.Identity(kind=1, id=f"u{number}")
        request = decision_pb2.DecideRequest(identity=who, decision_id=f"d{number}")
        request.placements.extend(["top", "side"])
        engine.decide(request.SerializeToString(), START_US)
        buy(engine, who, f"d{number}", START_US, "side" if number % 2 else "")
    file = tmp_path / "one.records"
    file.write_bytes(engine.take_records())
    found = evaluated(file, plan, two)
    assert found.left_out.shared == 10
    sums = np.bincount(found.feedback.slot, found.feedback.reward)
    assert dict(zip(found.feedback.slots, sums, strict=True)) == {"top": 10, "side": 20}
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    one = gather(
        Files(file), playbooks, Draft(plan, playbooks), reward_of("buy"), Period(), ("side",)
    )
    assert one.feedback.slots == ("side",)
    assert one.feedback.rows == 20


def test_a_decision_made_again_counts_once_and_so_does_what_came_of_it(tmp_path: Path) -> None:
    plan = plan_of(LOGGED)
    engine = recording(plan)
    for number in range(20):
        who = common_pb2.Identity(kind=1, id=f"u{number}")
        request = decision_pb2.DecideRequest(identity=who, placements=["top"])
        request.decision_id = f"d{number}"
        engine.decide(request.SerializeToString(), START_US)
        link = profile_pb2.LinkIdentityRequest(write_id=f"l{number}", first=who)
        link.second.CopyFrom(common_pb2.Identity(kind=1, id=f"v{number}"))
        engine.link(link.SerializeToString(), START_US)
        engine.decide(request.SerializeToString(), START_US + 1_000)
        buy(engine, who, f"d{number}", START_US + 2_000)
    file = tmp_path / "one.records"
    file.write_bytes(engine.take_records())
    found = evaluated(file, plan, BETTER)
    assert (found.feedback.rows, found.feedback.reward.sum()) == (20, 20)
    assert found.left_out.again == 20


def test_a_file_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "one.records"
    plan = lived(LOGGED, file, 30)
    (tmp_path / "two.records").write_bytes(file.read_bytes())
    once, twice = evaluated(file, plan, BETTER), evaluated(tmp_path, plan, BETTER)
    assert twice.left_out.again == 30
    assert (twice.feedback.rows, twice.feedback.reward.sum()) == (
        once.feedback.rows,
        once.feedback.reward.sum(),
    )


def test_unknown_placements_are_refused_with_those_that_were_decided(tmp_path: Path) -> None:
    file = tmp_path / "one.records"
    plan = lived(LOGGED, file, 5)
    playbooks = Playbooks(tmp_path, {plan.hash: plan})
    draft = Draft(plan, playbooks)
    with pytest.raises(Exception, match="of those placements, allowed: top"):
        gather(Files(file), playbooks, draft, reward_of("buy"), Period(), ("hero",))


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "one.records"
    plan = lived(LOGGED, file, 50)
    needs_age = LOGGED | {"actions.yaml": "actions: {red: {eligibility: profile.age > 3}}\n"}
    with pytest.raises(Exception, match="reads what was not recorded, in every decision"):
        evaluated(file, plan, needs_age)
    elsewhere = LOGGED | {"placements.yaml": "placements: {side: {slots: 1}}\n"}
    with pytest.raises(Exception, match="refuses: placements: 'top'"):
        evaluated(file, plan, elsewhere)
    with pytest.raises(Exception, match=r"click by default.: 'bye'.*did you mean buy"):
        evaluated(file, plan, BETTER, "bye")
    with pytest.raises(Exception, match=r"'amont'.*did you mean amount"):
        evaluated(file, plan, BETTER, "buy.amont")
    late = gather(
        Files(file),
        Playbooks(tmp_path, {plan.hash: plan}),
        Draft(plan, Playbooks(tmp_path, {plan.hash: plan})),
        reward_of("buy", 59_000_000),
        Period(),
    )
    assert late.left_out.late > 5
    assert not late.feedback.reward.any()
    assert late.left_out.young == 50


def folder_with(files: dict[str, str], folder: Path) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def told(command: str, *arguments: object, code: int) -> tuple[str, dict[str, Any]]:
    """What a command says on standard error, and its JSON."""
    result = CliRunner().invoke(make_app((command, "slo")), [command, *map(str, arguments)])
    assert result.exit_code == code, f"{result.output} {result.exception}"
    found = json.loads(result.stdout) if result.stdout.startswith("{") else {}
    return result.stderr, found


async def test_a_draft_is_published_only_if_the_records_are_for_it(tmp_path: Path) -> None:
    """A real server records; the gate reads while it runs."""
    logged = folder_with(LOGGED, tmp_path / "logged")
    better = folder_with(BETTER, tmp_path / "better")
    worse = folder_with(
        BETTER | {"actions.yaml": BETTER["actions.yaml"].replace("? 9 : 1", "? 1 : 9")},
        tmp_path / "worse",
    )
    records = tmp_path / "data/records"
    gate = ["--require", "dr.lower > logged.mean", "--from", records, "--reward", "buy"]
    async with running(logged, data__folder=tmp_path / "data", records__share="1") as address:
        await shop(address)
        await asyncio.sleep(0.5)
        judged = await asyncio.to_thread(
            told, "ope", records, "--policy", better, "--reward", "buy", "--json", code=0
        )
        assert judged[1]["estimates"]["dr"]["lower"] > judged[1]["estimates"]["logged"]["mean"]
        said, _ = await asyncio.to_thread(told, "publish", worse, "--to", address, *gate, code=1)
        assert "dr.lower > logged.mean: does not hold" in said
        assert await active(address) == plan_of(LOGGED).hash.hex()
        await asyncio.to_thread(told, "publish", better, "--to", address, *gate, code=0)
        assert await active(address) == plan_of(BETTER).hash.hex()
        wrong = ["--require", "dr.lower > logged.mean"]
        said, _ = await asyncio.to_thread(told, "publish", worse, "--to", address, *wrong, code=2)
        assert "--from" in said


async def active(address: str) -> str:
    async with AsyncClient(address) as client:
        answer = await client.list_generations()
    (found,) = [one.playbook_hash for one in answer.generations if one.active]
    return found


async def shop(address: str) -> None:
    chance = random.Random(5)
    async with AsyncClient(address) as client:
        for number in range(1_500):
            country = chance.choice(["PL", "DE"])
            who = f"u{number}"
            answer = await client.decide(who, ["top"], attributes={"country": country})
            shown = answer.placements[0].propositions[0].action
            if chance.random() < CHANCE[country][shown]:
                await client.track(
                    who, "buy", {"amount": 2.0}, decision_id=answer.decision_id, ack="applied"
                )
