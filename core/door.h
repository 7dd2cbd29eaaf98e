// The door between the lane and the engine: what each calls of the other, and nothing more.
// One indirect call for each request.  No function here takes the GIL or raises.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "trace.h"

// One serving thread's place at the engine.  A seat is used by one thread at a time.
typedef struct Seat Seat;

typedef struct DoorCall {
    // A message of the method, without gRPC's five bytes; read only during the call.
    const uint8_t* request;
    size_t length;
    // The node's clock, in microseconds since 1970.
    int64_t now_us;
    // The moment on that clock by which to answer; 0 for no deadline.
    int64_t deadline_us;
    // Comes back with an answer that had to wait.
    uint64_t token;
    // What the answer may do without where a placement lets it: 0 nothing, 1 scores, 2 all but
    // its fallback.
    uint8_t leave;
    // Where the steps are timed, the caller's; NULL for a call that nobody times.
    CallTrace* trace;
} DoorCall;

typedef struct DoorAnswer {
    // A gRPC status code; 0 is OK.
    int32_t code;
    // The answer waits for the log or for a position and comes through `completed`.
    int32_t pending;
    // The kind of a fault, and whether something was left out of the answer: for the trace.
    uint8_t fault;
    uint8_t degraded;
    // The method's response, or for another code a google.rpc.Status.  Valid, like `message`,
    // until the seat is used again.
    const uint8_t* data;
    size_t length;
    // The status's message, UTF-8, without a NUL at its end.
    const char* message;
    size_t message_length;
} DoorAnswer;

// A request that waits its turn.
typedef struct DoorRequest {
    const uint8_t* data;
    size_t length;
} DoorRequest;

// Of which the engine looks ahead together.
#define DOOR_AHEAD_MAX 32

typedef void (*DoorMethod)(Seat* seat, const DoorCall* call, DoorAnswer* answer);

typedef struct Door {
    void* engine;
    // NULL when memory or the seats are used up.
    Seat* (*open)(void* engine);
    // Answers that still wait are dropped.
    void (*close)(Seat* seat);
    DoorMethod decide;
    DoorMethod decide_batch;
    DoorMethod track;
    // Has the memory fetched that decisions or events will need which are asked for right after
    // this, at most DOOR_AHEAD_MAX of them: they wait for it once and not each by itself.
    void (*ahead)(Seat* seat, const DoorRequest* requests, uint32_t count);
    // Refuses a request of `seen` bytes that was not read.
    void (*too_large)(Seat* seat, uint64_t seen, uint64_t allowed, DoorAnswer* answer);
    // Refuses a request for overload; the caller may come again after `retry_ms`.
    void (*overloaded)(Seat* seat, int64_t retry_ms, DoorAnswer* answer);
    // Readable when answers that waited are there; owned by the seat.
    int (*wake_fd)(Seat* seat);
    // Gives the next answer that waited and its token, at `now_us`; 0 when there is none.
    int (*completed)(Seat* seat, int64_t now_us, uint64_t* token, DoorAnswer* answer);
    // Nobody wants the answer of that token any more: a read stops waiting.
    void (*forget)(Seat* seat, uint64_t token);
    // Counts a call that has ended, with the first bytes of its answer.
    void (*ended)(
        Seat* seat, const CallTrace* trace, int32_t code, const uint8_t* answer, size_t length);
    // Whether writes of this seat wait for `let_go` before the log may have them: whoever calls
    // lets them go before it sleeps, or soon.
    int (*gathers)(Seat* seat);
    void (*let_go)(Seat* seat);
} Door;

// The name of the capsule that `Engine.door()` returns; it keeps the engine alive.
#define DOOR_CAPSULE "nextbest.core.door"
