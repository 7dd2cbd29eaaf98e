"""The default deadlines of the calls, in seconds."""

DECIDE_S = 1.0
BATCH_S = 5.0
WRITE_S = 2.0
# A revocation and an erasure wait for every node, at most for a lease (`log.consent_lease_ms`).
CONSENT_S = 10.0
PUBLISH_S = 60.0
LONG_S = 600.0
