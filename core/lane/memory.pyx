"""Memory for nghttp2: blocks of a lane that are used again, by their size.

Each call makes and frees some twenty small blocks.  One thread uses them, so that no lock and no
search is needed.
"""

cdef enum:
    # Sizes in steps of so many bytes; the head of a block holds its size class.
    BLOCK_STEP = 64
    BLOCK_CLASSES = 32
    BLOCK_HEAD = 16
    # Blocks kept of a size, at most; more are given back.
    BLOCKS_KEPT_MAX = 4096


cdef struct Block:
    # Stands in the head: how many steps it is long, 0 for one that is not kept.
    size_t steps
    Block* next


cdef struct Blocks:
    Block* unused[BLOCK_CLASSES]
    uint32_t counts[BLOCK_CLASSES]
    nghttp2_mem functions


cdef void* block_take(size_t size, void* owner) noexcept nogil:
    cdef Blocks* blocks = <Blocks*>owner
    cdef size_t steps = (size + BLOCK_HEAD + BLOCK_STEP - 1) // BLOCK_STEP
    cdef Block* block
    if size > BLOCK_STEP * BLOCK_CLASSES or steps >= BLOCK_CLASSES:
        block = <Block*>malloc(size + BLOCK_HEAD) if size <= SIZE_MAX - BLOCK_HEAD else NULL
        steps = 0
    elif blocks.unused[steps] != NULL:
        block = blocks.unused[steps]
        blocks.unused[steps] = block.next
        blocks.counts[steps] -= 1
    else:
        block = <Block*>malloc(steps * BLOCK_STEP)
    if block == NULL:
        return NULL
    block.steps = steps
    return <uint8_t*>block + BLOCK_HEAD


cdef void block_drop(void* data, void* owner) noexcept nogil:
    cdef Blocks* blocks = <Blocks*>owner
    cdef Block* block = <Block*>(<uint8_t*>data - BLOCK_HEAD)
    if data == NULL:
        return
    if block.steps == 0 or blocks.counts[block.steps] == BLOCKS_KEPT_MAX:
        free(block)
        return
    block.next = blocks.unused[block.steps]
    blocks.unused[block.steps] = block
    blocks.counts[block.steps] += 1


cdef void* block_take_clear(size_t count, size_t size, void* owner) noexcept nogil:
    cdef void* data
    if size and count > SIZE_MAX // size:
        return NULL
    data = block_take(count * size, owner)
    if data != NULL:
        memset(data, 0, count * size)
    return data


cdef void* block_change(void* data, size_t size, void* owner) noexcept nogil:
    """As realloc(3)."""
    cdef Block* block = <Block*>(<uint8_t*>data - BLOCK_HEAD)
    cdef void* other
    if data == NULL:
        return block_take(size, owner)
    if block.steps == 0:
        # It stays as it is, even when it would fit a kept one by now.
        block = <Block*>realloc(block, size + BLOCK_HEAD) if size <= SIZE_MAX - BLOCK_HEAD else NULL
        return NULL if block == NULL else <uint8_t*>block + BLOCK_HEAD
    if size <= block.steps * BLOCK_STEP - BLOCK_HEAD:
        return data
    other = block_take(size, owner)
    if other != NULL:
        memcpy(other, data, block.steps * BLOCK_STEP - BLOCK_HEAD)
        block_drop(data, owner)
    return other


cdef void blocks_init(Blocks* blocks) noexcept nogil:
    memset(blocks, 0, sizeof(Blocks))
    blocks.functions.mem_user_data = blocks
    blocks.functions.malloc = block_take
    blocks.functions.free = block_drop
    blocks.functions.calloc = block_take_clear
    blocks.functions.realloc = block_change


cdef void blocks_free(Blocks* blocks) noexcept nogil:
    """Give back what is kept; every session has to be gone."""
    cdef Block* block
    cdef int steps
    for steps in range(BLOCK_CLASSES):
        while blocks.unused[steps] != NULL:
            block = blocks.unused[steps]
            blocks.unused[steps] = block.next
            free(block)
