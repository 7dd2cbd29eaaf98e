"""What a member keeps in memory of people who were erased: nothing that need not be kept."""

from nextbest.server.log.log import BEFORE
from nextbest.server.log.memory import MemoryLog, MemoryStore
from nextbest.v1 import event_pb2, mutation_pb2, profile_pb2
from tests.server.log.member import APPLIED, Member, equal, eventually, following, now_us

WITHIN_S = 10.0


async def test_entries_kept_in_memory_lose_who_was_erased_and_keep_the_others() -> None:
    store = MemoryStore()
    a, b = Member(MemoryLog(store), "a"), Member(MemoryLog(store), "b")
    async with following(a, b):
        for number in range(20):
            await a.track(f"of-eve-{number}", "eve")
            await b.track(f"of-ann-{number}", "ann")
        await equal(a, b)
        await a.erase("eve")
        await eventually(lambda: a.node.purge.purged == b.node.purge.purged == 20, WITHIN_S)
        for member in (a, b):
            kept = b"".join(one.data for one in member.node.context.retained.after(BEFORE))
            assert b"of-eve-" not in kept
            assert all(b"of-ann-%d" % number in kept for number in range(20))
        # A tail that the log loses now is brought back from what is left.
        store.records = store.records[:10]
        await eventually(lambda: a.node.context.progress.divergences > 0, WITHIN_S)
        await equal(a, b)
        assert a.views("ann") == b.views("ann") == 20
        assert a.views("eve") == b.views("eve") == 0


async def test_what_waits_for_an_outage_to_end_loses_who_was_erased() -> None:
    store = MemoryStore()
    member = Member(MemoryLog(store))
    async with following(member):
        store.available = False
        await member.until("away")
        await member.track("of-eve", "eve", ack=APPLIED)
        await member.track("of-ann", "ann", ack=APPLIED)
        await eventually(lambda: member.node.ahead == 2)
        request = profile_pb2.EraseProfileRequest(write_id="x", ack=APPLIED)
        request.identity.id = "eve"
        member.engine.erase(request.SerializeToString(), now_us(), 0)
        await eventually(lambda: member.node.purge.purged == 1, WITHIN_S)
        assert member.node.ahead == 2
        store.available = True
        await eventually(lambda: member.node.ahead == 0, WITHIN_S)
        assert member.views("ann") == 1
    assert not any(b"of-eve" in record.data for record in store.records)
    assert any(b"of-ann" in record.data for record in store.records)


async def test_what_waits_for_a_playbook_loses_who_was_erased() -> None:
    member = Member(MemoryLog(MemoryStore()))
    async with following(member):
        for person in ("eve", "ann"):
            event = event_pb2.TrackRequest(event_id=f"of-{person}", event="view")
            event.identity.id = person
            event.occurred_at.FromMicroseconds(now_us())
            mutation = mutation_pb2.Mutation(stamp=1, playbook=bytes([1] * 16), event=event)
            member.engine.park(mutation.SerializeToString())
        await member.erase("eve")
        await eventually(lambda: member.node.purge.purged == 1, WITHIN_S)
        (left,) = member.engine.parked_mutations()
        assert b"of-ann" in left
