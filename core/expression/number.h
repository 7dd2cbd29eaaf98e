// What Cython cannot say: checked 64-bit arithmetic and the shortest text of a double.
#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace nextbest {

inline bool add_overflows(int64_t a, int64_t b, int64_t* out) {
  return __builtin_add_overflow(a, b, out);
}
inline bool sub_overflows(int64_t a, int64_t b, int64_t* out) {
  return __builtin_sub_overflow(a, b, out);
}
inline bool mul_overflows(int64_t a, int64_t b, int64_t* out) {
  return __builtin_mul_overflow(a, b, out);
}
inline bool add_overflows_u(uint64_t a, uint64_t b, uint64_t* out) {
  return __builtin_add_overflow(a, b, out);
}
inline bool mul_overflows_u(uint64_t a, uint64_t b, uint64_t* out) {
  return __builtin_mul_overflow(a, b, out);
}

// Shortest digits that read back the same, laid out like %g: an exponent below -4 or from 6 on
// is written.  `out` has room for 64 bytes; returns the length.
inline int double_to_text(double d, char* out) {
  if (!std::isfinite(d)) {
    const char* nan = std::signbit(d) ? "-nan" : "nan";
    const char* text = std::isnan(d) ? nan : (d < 0 ? "-inf" : "inf");
    std::strcpy(out, text);
    return static_cast<int>(std::strlen(text));
  }
  auto end = std::to_chars(out, out + 64, d, std::chars_format::scientific).ptr;
  const char* e = static_cast<const char*>(std::memchr(out, 'e', end - out));
  int exponent = 0;
  std::from_chars(e[1] == '+' ? e + 2 : e + 1, end, exponent);
  if (exponent >= -4 && exponent < 6)
    end = std::to_chars(out, out + 64, d, std::chars_format::fixed).ptr;
  return static_cast<int>(end - out);
}

// Text without surrounding blanks to a double; too large is infinite, too small is zero.
inline bool text_to_double(const char* s, size_t n, double* out) {
  const char* end = s + n;
  bool negative = false;
  if (s != end && (*s == '+' || *s == '-')) negative = *s++ == '-';
  if (s == end || *s == '+' || *s == '-') return false;
  auto format = std::chars_format::general;
  if (end - s > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
    format = std::chars_format::hex;
    s += 2;
    if (*s == '-') return false;
  }
  double value = 0;
  auto result = std::from_chars(s, end, value, format);
  if (result.ec == std::errc::invalid_argument || result.ptr != end) return false;
  if (result.ec == std::errc::result_out_of_range) {
    std::string copy(format == std::chars_format::hex ? "0x" : "");
    copy.append(s, end - s);
    value = std::strtod(copy.c_str(), nullptr);
  }
  *out = negative ? -value : value;
  return true;
}

}  // namespace nextbest
