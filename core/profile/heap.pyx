# Strings and lists: reference counted, freed when no reader can hold a row that names them.

cdef inline Blob* blob_at(StoreState* store, uint32_t handle) noexcept nogil:
    cdef uint32_t index = handle >> 4
    cdef HeapShard* heap = &store.heap[handle & (HEAP_SHARDS - 1)]
    return heap.chunks[index // HEAP_CHUNK][index % HEAP_CHUNK]


cdef inline char* blob_data(Blob* blob) noexcept nogil:
    return <char*>blob + sizeof(Blob)


cdef uint64_t oldest_pin(StoreState* store) noexcept nogil:
    cdef uint64_t oldest = atomic_read(&store.epoch)
    cdef uint64_t epoch
    cdef int i
    for i in range(PINS_MAX):
        epoch = atomic_read(&store.pins[i].epoch)
        if epoch and epoch < oldest:
            oldest = epoch
    return oldest


cdef void heap_reclaim(StoreState* store, HeapShard* heap) noexcept nogil:
    """Free what was retired before every reader's epoch.  The caller holds the latch."""
    cdef uint64_t oldest = oldest_pin(store)
    cdef size_t kept = 0
    cdef size_t i
    cdef Retired retired
    cdef uint32_t index
    cdef Blob* blob
    for i in range(heap.retired.size()):
        retired = heap.retired[0][i]
        if retired.epoch >= oldest:
            heap.retired[0][kept] = retired
            kept += 1
            continue
        index = retired.handle >> 4
        blob = heap.chunks[index // HEAP_CHUNK][index % HEAP_CHUNK]
        heap.bytes -= malloc_usable_size(blob) + 8
        free(blob)
        heap.chunks[index // HEAP_CHUNK][index % HEAP_CHUNK] = NULL
        heap.free_handles.push_back(retired.handle)
    heap.retired.resize(kept)
    heap.reclaim_at = 2 * kept + 256


cdef uint32_t heap_place(HeapShard* heap, uint32_t number, Blob* blob) noexcept nogil:
    """A handle for the blob; 0 when there is none left.  The caller holds the latch."""
    cdef uint32_t handle, index
    if heap.free_handles.size():
        handle = heap.free_handles.back()
        heap.free_handles.pop_back()
    else:
        if heap.next >= HEAP_CHUNK * HEAP_CHUNKS_MAX:
            return 0
        handle = heap.next << 4 | number
        heap.next += 1
    index = handle >> 4
    if heap.chunks[index // HEAP_CHUNK] == NULL:
        heap.chunks[index // HEAP_CHUNK] = <Blob**>calloc(HEAP_CHUNK, sizeof(Blob*))
        if heap.chunks[index // HEAP_CHUNK] == NULL:
            return 0
    heap.chunks[index // HEAP_CHUNK][index % HEAP_CHUNK] = blob
    heap.bytes += malloc_usable_size(blob) + 8
    return handle


cdef inline uint64_t heap_home(StoreState* store, HeapShard* heap, uint32_t handle) noexcept nogil:
    return (blob_at(store, handle).hash >> 8) & (heap.capacity - 1)


cdef bint heap_grow(StoreState* store, HeapShard* heap) noexcept nogil:
    cdef uint64_t capacity = heap.capacity * 2
    cdef uint32_t* table = <uint32_t*>calloc(capacity, sizeof(uint32_t))
    cdef uint64_t i, at
    if table == NULL:
        return False
    for i in range(heap.capacity):
        if heap.table[i]:
            at = (blob_at(store, heap.table[i]).hash >> 8) & (capacity - 1)
            while table[at]:
                at = (at + 1) & (capacity - 1)
            table[at] = heap.table[i]
    free(heap.table)
    heap.table = table
    heap.capacity = capacity
    return True


cdef uint32_t heap_intern(StoreState* store, const char* data, uint32_t length) noexcept nogil:
    """A handle of the string, counted once more; 0 when memory is short."""
    cdef uint64_t hash = XXH3_64bits(data, length) | 1
    cdef uint32_t number = <uint32_t>(hash >> 1) & (HEAP_SHARDS - 1)
    cdef HeapShard* heap = &store.heap[number]
    cdef uint32_t handle = 0
    cdef uint64_t at
    cdef Blob* blob
    latch_take(&heap.latch)
    if heap.count * 2 < heap.capacity or heap_grow(store, heap):
        at = (hash >> 8) & (heap.capacity - 1)
        while heap.table[at]:
            blob = blob_at(store, heap.table[at])
            if blob.hash == hash and blob.length == length and (
                memcmp(blob_data(blob), data, length) == 0
            ):
                blob.refs += 1
                handle = heap.table[at]
                break
            at = (at + 1) & (heap.capacity - 1)
        if handle == 0:
            handle = heap_new(heap, number, hash, data, length)
            heap.table[at] = handle
            heap.count += handle != 0
    latch_drop(&heap.latch)
    return handle


cdef uint32_t heap_new(
    HeapShard* heap, uint32_t number, uint64_t hash, const char* data, uint32_t length
) noexcept nogil:
    cdef Blob* blob = <Blob*>malloc(sizeof(Blob) + length)
    cdef uint32_t handle
    if blob == NULL:
        return 0
    blob.refs = 1
    blob.length = length
    blob.hash = hash
    memcpy(blob_data(blob), data, length)
    handle = heap_place(heap, number, blob)
    if handle == 0:
        free(blob)
    return handle


cdef uint32_t heap_own(StoreState* store, Blob* blob) noexcept nogil:
    """A handle of a blob that is not shared; frees it and gives 0 when there is none."""
    cdef uint32_t number = <uint32_t>((<uint64_t>blob >> 5) & (HEAP_SHARDS - 1))
    cdef uint32_t handle
    cdef HeapShard* heap = &store.heap[number]
    blob.refs = 1
    blob.hash = 0
    latch_take(&heap.latch)
    handle = heap_place(heap, number, blob)
    latch_drop(&heap.latch)
    if handle == 0:
        free(blob)
    return handle


cdef uint32_t heap_string(
    StoreState* store, const char* data, uint32_t length, bint shared
) noexcept nogil:
    cdef Blob* blob
    if shared:
        return heap_intern(store, data, length)
    blob = <Blob*>malloc(sizeof(Blob) + length)
    if blob == NULL:
        return 0
    blob.length = length
    memcpy(blob_data(blob), data, length)
    return heap_own(store, blob)


cdef uint32_t heap_list(StoreState* store, const Value* list_value) noexcept nogil:
    """A copy of a list of strings or doubles, its items ready to be read in place."""
    cdef size_t size = sizeof(Blob) + list_value.length * sizeof(Value)
    cdef uint32_t i
    cdef Blob* blob
    cdef Value* items
    cdef char* text
    for i in range(list_value.length):
        if list_value.as_.items[i].tag == TAG_STRING:
            size += list_value.as_.items[i].length
    blob = <Blob*>malloc(size)
    if blob == NULL:
        return 0
    blob.length = list_value.length
    items = <Value*>blob_data(blob)
    text = <char*>(items + list_value.length)
    for i in range(list_value.length):
        items[i] = list_value.as_.items[i]
        items[i].extra = SLOT_NONE
        if items[i].tag == TAG_STRING:
            memcpy(text, items[i].as_.s, items[i].length)
            items[i].as_.s = text
            text += items[i].length
    return heap_own(store, blob)


cdef void heap_unlist(StoreState* store, HeapShard* heap, uint32_t handle) noexcept nogil:
    """Take a string out of the intern table, closing the gap it leaves."""
    cdef uint64_t mask = heap.capacity - 1
    cdef uint64_t at = heap_home(store, heap, handle)
    cdef uint64_t following, home
    while heap.table[at] != handle:
        at = (at + 1) & mask
    following = (at + 1) & mask
    while heap.table[following]:
        home = heap_home(store, heap, heap.table[following])
        if ((following - home) & mask) >= ((following - at) & mask):
            heap.table[at] = heap.table[following]
            at = following
        following = (following + 1) & mask
    heap.table[at] = 0
    heap.count -= 1


cdef void heap_release(StoreState* store, uint32_t handle) noexcept nogil:
    cdef HeapShard* heap = &store.heap[handle & (HEAP_SHARDS - 1)]
    cdef Retired retired
    cdef Blob* blob
    if handle == 0:
        return
    latch_take(&heap.latch)
    blob = blob_at(store, handle)
    blob.refs -= 1
    if blob.refs == 0:
        if blob.hash:
            heap_unlist(store, heap, handle)
        retired.handle = handle
        # A reader that pins a later epoch finds the row already without the handle.
        retired.epoch = atomic_add(&store.epoch, 1)
        heap.retired.push_back(retired)
        if heap.retired.size() >= heap.reclaim_at:
            heap_reclaim(store, heap)
    latch_drop(&heap.latch)
