// CRC-32C (RFC 3720, appendix B.4) as the frames of the log have it.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct Crc32cTable {
    uint32_t of[256];
    constexpr Crc32cTable() : of() {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = byte;
            for (int bit = 0; bit < 8; bit++) {
                crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
            }
            of[byte] = crc;
        }
    }
};

static constexpr Crc32cTable CRC32C_TABLE;

static inline uint32_t crc32c_plain(uint32_t crc, const uint8_t* data, size_t length) {
    for (size_t i = 0; i < length; i++) {
        crc = (crc >> 8) ^ CRC32C_TABLE.of[(crc ^ data[i]) & 0xFF];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_native(
    uint32_t crc, const uint8_t* data, size_t length) {
    uint64_t wide = crc;
    for (; length >= 8; data += 8, length -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length; data++, length--) {
        crc = __builtin_ia32_crc32qi(crc, *data);
    }
    return crc;
}
#endif

static inline uint32_t crc32c_more(uint32_t crc, const uint8_t* data, size_t length) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        return crc32c_native(crc, data, length);
    }
#endif
    return crc32c_plain(crc, data, length);
}

static inline uint32_t crc32c_of(const void* data, size_t length) {
    return ~crc32c_more(~0u, (const uint8_t*)data, length);
}

// Over a frame's first byte and what follows the 4 bytes that hold its checksum.
static inline uint32_t crc32c_of_frame(const void* frame, size_t length) {
    const uint8_t* bytes = (const uint8_t*)frame;
    return ~crc32c_more(crc32c_more(~0u, bytes, 1), bytes + 5, length - 5);
}
