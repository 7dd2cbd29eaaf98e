// Hexadecimal digits, looked up: ids are random, and a processor guesses them wrongly.
#pragma once

#include <stdint.h>

struct HexDigits {
    signed char of[256];
    constexpr HexDigits() : of() {
        for (int c = 0; c < 256; c++) {
            of[c] = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        }
    }
};

static constexpr HexDigits HEX_DIGITS;

// The value of a digit; -1 for any other character.
static inline int32_t hex_digit(char c) { return HEX_DIGITS.of[(uint8_t)c]; }
