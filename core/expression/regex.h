// RE2 behind three functions; without RE2 no pattern compiles and `matches` is refused.
#pragma once
#include <cstddef>
#ifndef NEXTBEST_NO_RE2
#include <re2/re2.h>
#endif

namespace nextbest {

#ifndef NEXTBEST_NO_RE2
inline int regex_supported() { return 1; }

inline void* regex_compile(const char* text, size_t length) {
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto* pattern = new (std::nothrow) re2::RE2(re2::StringPiece(text, length), options);
  if (pattern != nullptr && pattern->ok()) return pattern;
  delete pattern;
  return nullptr;
}

inline int regex_search(const void* pattern, const char* text, size_t length) {
  const auto* compiled = static_cast<const re2::RE2*>(pattern);
  return re2::RE2::PartialMatch(re2::StringPiece(text, length), *compiled);
}

inline void regex_free(void* pattern) { delete static_cast<re2::RE2*>(pattern); }
#else
inline int regex_supported() { return 0; }
inline void* regex_compile(const char*, size_t) { return nullptr; }
inline int regex_search(const void*, const char*, size_t) { return 0; }
inline void regex_free(void*) {}
#endif

}  // namespace nextbest
