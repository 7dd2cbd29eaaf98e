"""The times and bounds of a node's dealings with the log."""

from __future__ import annotations

from dataclasses import dataclass

# Epochs looked at or remembered: one for each change of the master.
EPOCHS_MAX = 1_000
# Numbers that a log started anew leaves out: more changes of the master than any member missed.
RESEED_SKIP = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a node waits and how much it keeps; the defaults are those of the specification."""

    # A write that the log has not taken by then is answered as unknown.
    answer_ms: int = 80
    batch_mutations_max: int = 1_000
    batch_bytes_max: int = 262_144
    # Mutations in flight or not read back yet; more wait in the engine's bounded queue.
    ahead_bytes_max: int = 67_108_864
    read_wait_ms: int = 100
    # While appends of so many mutations follow one another, and their answers say that others have
    # appended nothing, the log is read each longer time; again when none was sent for the shorter.
    rest_mutations_min: int = 32
    rest_ms: int = 5
    rest_ms_max: int = 50
    # How often a log that brings nothing new is asked whether it still has what it had.
    verify_ms: int = 250
    # Reads that wait for a position look at their deadlines so often.
    tick_ms: int = 50
    # How long applying may hold the event loop.
    apply_slice_ms: int = 2
    backoff_ms: int = 50
    backoff_ms_max: int = 1_000
    # Of connecting and finding the way back: some 30 questions, each of them bounded too.
    connect_ms_max: int = 30_000
    # Raw entries kept so that a lost tail can be appended again.
    retain_ms: int = 600_000
    retain_bytes_max: int = 268_435_456
    # Members that lost the same tail wait a random part of it before they append it again.
    heal_ms_max: int = 200
    pulse_ms: int = 1_000
    # The least time between two heartbeats, and how often it is looked what is left of budgets.
    early_ms: int = 20
    budget_ms: int = 100
    # What a stopped process held comes back so long after the last hold: impressions that came in
    # time are in the log by then.  And what is free of a budget that is gone from the playbook so
    # long after: a roll-back finds it here.
    returns_ms: int = 5_000
    gone_ms: int = 10_000
    # How often it is looked whether REPLICATED can be promised, while it is and while it is not.
    check_ms: int = 10_000
    check_refused_ms: int = 1_000
    # How often those who replace a master are asked whether they have.
    watch_ms: int = 1_000
    skew_ms_max: int = 500
    # The coordinator's heartbeats may stay away so long.
    lease_ms: int = 5_000
    # A member decides by consents for so long after it sent a heartbeat that it has read back.
    consent_lease_ms: int = 3_000
    # And for so much longer at least by another clock.
    consent_margin_ms: int = 100
    # How often who waits for others' leases looks, and how often a member beats at most for them.
    consent_look_ms: int = 20
    members_max: int = 256
    # A member not seen for so long does not hold the log's end back.
    member_ms: int = 3_600_000
    trim_ms: int = 60_000
    horizon_ms: int = 60_000
    # Event ids are recognised so long, if the memory for them suffices, and never shorter than
    # the span below.
    dedupe_span_ms: int = 30 * 86_400_000
    dedupe_span_ms_min: int = 2 * 3_600_000
    dedupe_max: int = 10_000_000
    horizon_step_ms: int = 3_600_000
    snapshot_ms: int = 300_000
    # Between tries of one that is wanted at once.
    snapshot_again_ms: int = 1_000
    # A snapshot that is not known to be covered by then is given up.
    settle_ms_max: int = 60_000
    lost_ids_max: int = 1_000
    dead_letters_max: int = 1_000
    epoch_tries_max: int = 20
