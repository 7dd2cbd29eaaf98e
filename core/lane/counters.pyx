"""What one lane counts, by name; its thread writes and any thread reads."""

cdef enum:
    CODES = 17
    METHODS = 5


cdef enum:
    METHOD_NONE = 0
    METHOD_DECIDE = 1
    METHOD_DECIDE_BATCH = 2
    METHOD_TRACK = 3
    METHOD_HEALTH = 4


cdef enum:
    COUNT_ACCEPTED = 0
    COUNT_OPEN = 1
    COUNT_REFUSED_CONNECTIONS = 2
    COUNT_REFUSED_PEER_CONNECTIONS = 3
    COUNT_REFUSED_PEER = 4
    COUNT_REFUSED_DESCRIPTORS = 5
    COUNT_CANCELLED = 6
    COUNT_MALFORMED_HTTP = 7
    COUNT_CLOSED_PEER = 8
    COUNT_CLOSED_IDLE = 9
    COUNT_CLOSED_AGE = 10
    COUNT_CLOSED_DRAIN = 11
    COUNT_CLOSED_HANDSHAKE = 12
    COUNT_CLOSED_SLOW_REQUEST = 13
    COUNT_CLOSED_SLOW_READER = 14
    COUNT_CLOSED_KEEPALIVE = 15
    COUNT_CLOSED_PINGS = 16
    COUNT_CLOSED_CONTROL_FRAMES = 17
    COUNT_CLOSED_PROTOCOL = 18
    COUNT_CLOSED_FLOOD = 19
    COUNT_CLOSED_ERROR = 20
    COUNT_CLOSED_MEMORY = 21
    COUNT_LATE_ANSWERS = 22
    COUNT_CALLS_SLOW = 23
    COUNT_CLOSED_RESETS = 24
    COUNTERS = 25


COUNTER_NAMES = (
    "connections.accepted",
    "connections.open",
    "connections.refused.connections_max",
    "connections.refused.peer_connections_max",
    "connections.refused.peer_uids",
    "connections.refused.descriptors",
    "calls.cancelled",
    "calls.malformed_http",
    "connections.closed.by_peer",
    "connections.closed.idle",
    "connections.closed.age",
    "connections.closed.drain",
    "connections.closed.handshake",
    "connections.closed.slow_request",
    "connections.closed.slow_reader",
    "connections.closed.keepalive",
    "connections.closed.pings",
    "connections.closed.control_frames",
    "connections.closed.protocol",
    "connections.closed.flood",
    "connections.closed.error",
    "connections.closed.memory",
    "answers.too_late",
    "calls.slow_request",
    "connections.closed.resets",
)
METHOD_NAMES = ("other", "Decide", "DecideBatch", "Track", "Check")
CODE_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)


cdef enum:
    CODE_NONE = -1
    CODE_OK = 0
    CODE_CANCELLED = 1
    CODE_INVALID_ARGUMENT = 3
    CODE_DEADLINE_EXCEEDED = 4
    CODE_NOT_FOUND = 5
    CODE_RESOURCE_EXHAUSTED = 8
    CODE_UNIMPLEMENTED = 12
    CODE_INTERNAL = 13
    CODE_UNAVAILABLE = 14
