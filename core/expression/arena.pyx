# A bump arena: bounded, reset as a whole, never freed piecemeal.

from libc.stdlib cimport free, malloc


cdef struct Arena:
    char* base
    size_t used
    size_t capacity


cdef bint arena_init(Arena* arena, size_t capacity) noexcept nogil:
    """Take the arena's memory; False when there is none."""
    arena.base = <char*>malloc(capacity if capacity else 1)
    arena.used = 0
    arena.capacity = capacity if arena.base != NULL else 0
    return arena.base != NULL


cdef void arena_free(Arena* arena) noexcept nogil:
    free(arena.base)
    arena.base = NULL
    arena.used = arena.capacity = 0


cdef inline void arena_reset(Arena* arena) noexcept nogil:
    arena.used = 0


cdef inline void* arena_take(Arena* arena, size_t size) noexcept nogil:
    """Memory for `size` bytes, aligned to 8, until the next reset; NULL when the arena is full."""
    cdef void* taken
    if size > arena.capacity - arena.used:
        return NULL
    taken = arena.base + arena.used
    size = (size + 7) & ~<size_t>7
    arena.used = min(arena.used + size, arena.capacity)
    return taken
