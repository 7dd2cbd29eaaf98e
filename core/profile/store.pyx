"""A plain reference store, until the native one stands: dicts under the GIL."""

cdef extern from *:
    """
    #define XXH_INLINE_ALL
    #include <xxhash.h>
    """

cdef extern from "xxhash.h" nogil:
    ctypedef struct XXH128_hash_t:
        uint64_t low64
        uint64_t high64
    uint64_t XXH3_64bits(const void*, size_t)
    uint64_t XXH3_64bits_withSeed(const void*, size_t, uint64_t)
    XXH128_hash_t XXH3_128bits_withSeed(const void*, size_t, uint64_t)

from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject

cdef struct IdentityRef:
    uint8_t kind
    const char* id
    uint32_t length
cdef struct AttributeInput:
    uint32_t column
    Value value
cdef struct CounterInput:
    uint32_t column
    Value value
cdef struct StoreState:
    int64_t horizon_ms
    PyObject* store
cdef struct Person:
    PyObject* rows
    StoreState* state
cdef enum StoreStatus:
    STORE_OK = 0
    STORE_UNKNOWN = 1
    STORE_DUPLICATE = 2
    STORE_NO_MEMORY = 3
cdef enum:
    COMPONENT_MAX = 64

cdef int person_init(Person* p, StoreState* s) noexcept:
    p.rows = NULL
    p.state = s
    return 0
cdef void person_free(Person* p) noexcept nogil:
    pass

cdef StoreStatus store_read(StoreState* s, IdentityRef r, Person* p) noexcept with gil:
    cdef object store = <object>s.store
    rows = []
    known = False
    for key in store.identities(r.kind, r.id[:r.length]):
        row = store.rows.get(key)
        if row is not None:
            rows.append(row)
    Py_INCREF(rows)
    Py_XDECREF(p.rows)
    p.rows = <PyObject*>rows
    return STORE_OK if rows else STORE_UNKNOWN

cdef Value person_attribute(const Person* p, uint32_t c, Arena* a) noexcept with gil:
    best = None
    for row in <list>p.rows:
        cell = row["attributes"].get(c)
        if cell is not None and (best is None or cell[0] > best[0]):
            best = cell
    if best is None:
        return value_null()
    return value_from_python(best[1], a)

cdef Value person_counter(const Person* p, uint32_t c, int64_t now, Arena* a, bint* ap) noexcept with gil:
    store = <object>p.state.store
    ap[0] = False
    return value_from_python(store.counter(<list>p.rows, c, now), a)

cdef int64_t person_decayed(const Person* p, uint32_t c, int64_t now, int64_t pts, int64_t hl, int64_t* n) noexcept with gil:
    store = <object>p.state.store
    total = 0.0
    count = 0
    counter = store.counters[c]
    step = counter.resolution_s or 1
    low, high = store.edges(counter, now)
    for row in <list>p.rows:
        for at, _, _ in row["events"].get(c, ()):
            b = at // (step * 1000000)
            if low <= b <= high:
                count += 1
                age = max(0, (now - b * step * 1000000) / 1e6)
                total += pts * (0.5 ** (age / hl) if hl else 1.0)
    n[0] = count
    return <int64_t>round(total)

cdef int64_t person_last_event_us(const Person* p) noexcept with gil:
    return max((row["last"] for row in <list>p.rows), default=-1)

cdef object cell_of(Value v):
    x = value_to_python(v)
    return tuple(x) if isinstance(x, list) else x

cdef StoreStatus store_set(StoreState* s, IdentityRef r, uint32_t inc, uint64_t stamp, const AttributeInput* a, uint32_t n, bint* cr) noexcept with gil:
    store = <object>s.store
    key = (r.kind, r.id[:r.length])
    cr[0] = key not in store.rows
    row = store.row(key)
    for i in range(n):
        value = cell_of(a[i].value)
        new = (stamp, value)
        old = row["attributes"].get(a[i].column)
        if old is None or (new[0], repr(new[1])) > (old[0], repr(old[1])):
            row["attributes"][a[i].column] = new
    return STORE_OK

cdef StoreStatus store_add(StoreState* s, IdentityRef r, uint32_t inc, const uint64_t* key, int64_t id, int64_t o, const CounterInput* a, uint32_t n) noexcept with gil:
    store = <object>s.store
    k = (r.kind, r.id[:r.length])
    row = store.row(k)
    row["last"] = max(row["last"], o)
    seen = store.seen.get((k, key[0], key[1]))
    fresh = seen is None
    seen = store.seen.setdefault((k, key[0], key[1]), set())
    for i in range(n):
        if a[i].column not in seen:
            fresh = True
            seen.add(a[i].column)
            row["events"].setdefault(a[i].column, []).append((o, key[0], cell_of(a[i].value)))
    return STORE_OK if fresh else STORE_DUPLICATE

cdef StoreStatus store_link(StoreState* s, IdentityRef a, uint32_t ia, IdentityRef b, uint32_t ib, uint64_t stamp, bint l) noexcept with gil:
    store = <object>s.store
    pair = tuple(sorted([(a.kind, a.id[:a.length]), (b.kind, b.id[:b.length])]))
    for key in pair:
        store.row(key)
    store.links[pair] = max(store.links.get(pair, (0, False)), (stamp, l))
    return STORE_OK

cdef bint store_has_room(StoreState* s, IdentityRef r) noexcept with gil:
    store = <object>s.store
    return len(store.rows) < store.profiles_max or (r.kind, r.id[:r.length]) in store.rows

cdef uint32_t store_incarnation(StoreState* s, IdentityRef r) noexcept nogil:
    return 0

cdef class Store:
    cdef StoreState state_
    cdef StoreState* state
    cdef public object profiles_max, rows, seen, links, counters, columns

    def __init__(self, profiles_max, dedupe_max):
        self.profiles_max = profiles_max
        self.rows = {}
        self.seen = {}
        self.links = {}
        self.counters = []
        self.columns = []
        self.state_.store = <PyObject*>self
        self.state = &self.state_

    def row(self, key):
        return self.rows.setdefault(key, {"attributes": {}, "events": {}, "last": -1})

    def identities(self, k, i):
        todo, found = [(k, i)], set()
        while todo:
            at = todo.pop()
            if at in found:
                continue
            found.add(at)
            for (x, y), (_, linked) in self.links.items():
                if linked and at in (x, y):
                    todo.append(y if at == x else x)
        return sorted(found) if (k, i) in self.rows else []

    def extend(self, attributes, counters):
        columns = []
        for a in attributes:
            if (a.name, a.type) not in self.columns:
                self.columns.append((a.name, a.type))
            columns.append(self.columns.index((a.name, a.type)))
        numbers = []
        for c in counters:
            keys = [x.key for x in self.counters]
            if c.key not in keys:
                self.counters.append(c)
                keys.append(c.key)
            numbers.append(keys.index(c.key))
        return columns, numbers

    def edges(self, counter, now):
        if not counter.window_s:
            return -10**12, 10**18
        step = counter.resolution_s * 1000000
        return (now - counter.window_s * 1000000) // step, now // step

    def counter(self, rows, c, now):
        counter = self.counters[c]
        low, high = self.edges(counter, now)
        step = (counter.resolution_s or 1) * 1000000
        events = sorted(
            e for row in rows for e in row["events"].get(c, ()) if low <= e[0] // step <= high
        )
        values = [e[2] for e in events]
        kind = int(counter.aggregate)
        if kind == 1:
            return len(values)
        if kind == 2:
            if counter.type == 3:
                return sum(round(v * 1e6) for v in values) / 1e6
            return sum(values)
        if kind == 8:
            return len(set(values))
        if kind == 7:
            return values[::-1][:counter.limit]
        if not values:
            return None
        return {3: min, 4: max}[kind](values) if kind < 5 else values[0 if kind == 5 else -1]

    def horizon(self, m):
        self.state.horizon_ms = m
    def expire(self, a, b): return 0
    def slice(self, cursor, most):
        keys = list(self.rows)[cursor:cursor + most]
        end = cursor + most
        return keys, end if end < len(self.rows) else -1
    def relay(self, n): return 0
    def digest(self): return 0, 0
    def memory(self): return {"profiles": len(self.rows)}
    def import_columns(self, a, b, c, d): return None
