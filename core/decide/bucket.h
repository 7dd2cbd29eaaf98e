/* Hashes that put people into buckets. */
#ifndef NEXTBEST_BUCKET_H
#define NEXTBEST_BUCKET_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t multiply_high(uint64_t a, uint64_t b) {
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static inline uint32_t fnv1a_step(uint32_t hash, uint32_t unit) {
    return (hash ^ unit) * 0x01000193u;
}

/* The bytes of a UTF-8 sequence that begins so; 1 for what begins none. */
static inline size_t utf8_length(unsigned char first) {
    if (first < 0xC0) return 1;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* FNV-1a of 32 bits, a step for each UTF-16 code unit of a UTF-8 text: JavaScript's strings are
   of those, and other systems that hash them have to agree. */
static inline uint32_t fnv1a_utf16(uint32_t hash, const char* text, size_t length) {
    const unsigned char* at = (const unsigned char*)text;
    const unsigned char* end = at + length;
    while (at < end) {
        size_t size = utf8_length(*at);
        uint32_t point = size == 1 ? *at : *at & (0xFFu >> (size + 1));
        size_t i;
        if (size > (size_t)(end - at)) size = (size_t)(end - at);
        for (i = 1; i < size; i++) point = point << 6 | (at[i] & 0x3Fu);
        at += size;
        if (point < 0x10000) {
            hash = fnv1a_step(hash, point);
            continue;
        }
        point -= 0x10000;
        hash = fnv1a_step(hash, 0xD800u + (point >> 10));
        hash = fnv1a_step(hash, 0xDC00u + (point & 0x3FFu));
    }
    return hash;
}

#endif
