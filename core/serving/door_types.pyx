# What core/door.h declares; both sides of the door include it.

cdef enum:
    # DOOR_AHEAD_MAX of door.h: Cython wants to know an array's length.
    AHEAD_MAX = 32


cdef extern from "door.h" nogil:
    ctypedef struct Seat:
        pass
    ctypedef struct DoorCall:
        const uint8_t* request
        size_t length
        int64_t now_us
        int64_t deadline_us
        uint64_t token
        uint8_t leave
        CallTrace* trace
    ctypedef struct DoorAnswer:
        int32_t code
        int32_t pending
        uint8_t fault
        uint8_t degraded
        const uint8_t* data
        size_t length
        const char* message
        size_t message_length
    ctypedef struct DoorRequest:
        const uint8_t* data
        size_t length
    ctypedef void (*DoorMethod)(Seat*, const DoorCall*, DoorAnswer*) noexcept nogil
    ctypedef struct Door:
        void* engine
        Seat* (*open)(void* engine) noexcept nogil
        void (*close)(Seat* seat) noexcept nogil
        DoorMethod decide
        DoorMethod decide_batch
        DoorMethod track
        void (*ahead)(Seat* seat, const DoorRequest* requests, uint32_t count) noexcept nogil
        void (*too_large)(
            Seat* seat, uint64_t seen, uint64_t allowed, DoorAnswer* answer
        ) noexcept nogil
        void (*overloaded)(Seat* seat, int64_t retry_ms, DoorAnswer* answer) noexcept nogil
        int (*wake_fd)(Seat* seat) noexcept nogil
        int (*completed)(
            Seat* seat, int64_t now_us, uint64_t* token, DoorAnswer* answer
        ) noexcept nogil
        void (*forget)(Seat* seat, uint64_t token) noexcept nogil
        void (*ended)(
            Seat* seat, const CallTrace* trace, int32_t code, const uint8_t* answer, size_t length
        ) noexcept nogil
        int (*gathers)(Seat* seat) noexcept nogil
        void (*let_go)(Seat* seat) noexcept nogil
    const char* DOOR_CAPSULE


cdef extern from *:
    """
    static_assert(DOOR_AHEAD_MAX == 32, "a length that Cython has to know");
    """
