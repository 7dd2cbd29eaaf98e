"""Peers: how many connections each has, in a table that is never more than half full."""

cdef struct Peer:
    uint64_t key
    # 0 for a free place.
    uint64_t connections


cdef struct Peers:
    Peer* places
    uint64_t mask


cdef bint peers_init(Peers* peers, uint64_t connections_max) noexcept nogil:
    cdef uint64_t size = 16
    while size < 2 * connections_max:
        size *= 2
    peers.mask = size - 1
    peers.places = <Peer*>calloc(size, sizeof(Peer))
    return peers.places != NULL


cdef inline uint64_t peer_home(const Peers* peers, uint64_t key) noexcept nogil:
    # Fibonacci hashing: neighbouring addresses go far apart.
    return (key * 0x9E3779B97F4A7C15u >> 32) & peers.mask


cdef Peer* peer_of(Peers* peers, uint64_t key) noexcept nogil:
    """The peer's place, or the free one where it would be."""
    cdef uint64_t at = peer_home(peers, key)
    while peers.places[at].connections and peers.places[at].key != key:
        at = (at + 1) & peers.mask
    return &peers.places[at]


cdef void peer_leave(Peers* peers, uint64_t key) noexcept nogil:
    """One connection of the peer has ended."""
    cdef Peer* peer = peer_of(peers, key)
    cdef uint64_t hole = <uint64_t>(peer - peers.places)
    cdef uint64_t at = hole
    cdef uint64_t home
    peer.connections -= 1
    if peer.connections:
        return
    # Peers behind the hole move up to it, unless that is before their home.
    while True:
        at = (at + 1) & peers.mask
        if peers.places[at].connections == 0:
            return
        home = peer_home(peers, peers.places[at].key)
        if ((at - home) & peers.mask) >= ((at - hole) & peers.mask):
            peers.places[hole] = peers.places[at]
            peers.places[at].connections = 0
            hole = at
