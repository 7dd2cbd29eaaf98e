// The engine's codec and the official C++ protobuf runtime on the same bytes, for libFuzzer.
//
// The first byte of an input chooses the message, the rest is the message.  Both sides must accept
// or refuse alike, and what they have read, written again in canonical form, must be equal.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>

#include "nextbest/v1/decision.pb.h"
#include "nextbest/v1/event.pb.h"
#include "nextbest/v1/mutation.pb.h"
#include "nextbest/v1/profile.pb.h"

// Of core/wire/canonical.pyx.
int nextbest_canonical(
    int shape, const char* data, uint32_t length, char* memory, size_t memory_length,
    uint8_t** out, size_t* out_length);

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

namespace {

namespace v1 = nextbest::v1;
using google::protobuf::Message;

enum Result { kOk = 0, kMalformed = 1, kRefused = 2 };

// The engine's own arena.  Inputs of libFuzzer are far too small to fill it.
constexpr size_t kArena = 16777216;
// One that many inputs fill: its end is where AddressSanitizer sees an overrun.
constexpr size_t kSmallArena = 2048;

struct Kind {
  int shape;  // of core/wire/shape.pyx
  std::unique_ptr<Message> message;
};

std::vector<Kind>& kinds() {
  static auto* all = [] {
    auto* list = new std::vector<Kind>;
    list->push_back({7, std::make_unique<v1::DecideRequest>()});
    list->push_back({9, std::make_unique<v1::TrackRequest>()});
    list->push_back({8, std::make_unique<v1::DecideBatchRequest>()});
    list->push_back({10, std::make_unique<v1::UpsertProfileRequest>()});
    list->push_back({11, std::make_unique<v1::LinkIdentityRequest>()});
    list->push_back({15, std::make_unique<v1::GetProfileRequest>()});
    list->push_back({12, std::make_unique<v1::Mutation>()});
    return list;
  }();
  return *all;
}

struct Tally {
  uint64_t inputs = 0, accepted = 0, refused = 0, small_refused = 0, wide_tags = 0;
  ~Tally() {
    fprintf(stderr,
            "codec: %llu inputs, %llu accepted by both, %llu over a bound, %llu over a small arena, "
            "%llu set aside for a tag above 32 bits\n",
            (unsigned long long)inputs, (unsigned long long)accepted, (unsigned long long)refused,
            (unsigned long long)small_refused, (unsigned long long)wide_tags);
  }
} tally;

bool OverBound(const v1::DecideRequest& m) {
  return m.placements_size() > 32 || m.scores_size() > 64 || m.context_size() > 256 ||
         m.attributes_size() > 256;
}

bool OverBound(const Message& m) {
  if (auto* decide = dynamic_cast<const v1::DecideRequest*>(&m)) return OverBound(*decide);
  if (auto* track = dynamic_cast<const v1::TrackRequest*>(&m)) return track->properties_size() > 256;
  if (auto* upsert = dynamic_cast<const v1::UpsertProfileRequest*>(&m))
    return upsert->attributes_size() > 256;
  if (auto* batch = dynamic_cast<const v1::DecideBatchRequest*>(&m)) {
    if (batch->requests_size() > 1000) return true;
    for (const auto& request : batch->requests())
      if (OverBound(request)) return true;
  }
  if (auto* mutation = dynamic_cast<const v1::Mutation*>(&m)) {
    // The engine hands these on unread.
    if (mutation->has_publication() || mutation->has_activation()) return true;
    if (mutation->has_event()) return OverBound(static_cast<const Message&>(mutation->event()));
    if (mutation->has_attributes())
      return OverBound(static_cast<const Message&>(mutation->attributes()));
  }
  return false;
}

// C++ protobuf 3.21 cuts tags to 32 bits; upb and the engine refuse one that is larger.  Where
// such a tag may be in the bytes, the engine may refuse what C++ takes.
bool MayHaveWideTag(const uint8_t* data, size_t size) {
  for (size_t i = 4; i < size; i++)
    if (data[i] >= 0x10 && data[i - 1] >= 0x80 && data[i - 2] >= 0x80 && data[i - 3] >= 0x80 &&
        data[i - 4] >= 0x80)
      return true;
  return false;
}

std::string Serialized(const Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

void Fail(const char* why, const Message& message) {
  fprintf(stderr, "codec: %s: %s\n", message.GetTypeName().c_str(), why);
  abort();
}

struct Ours {
  int result;
  uint8_t* bytes = nullptr;
  size_t length = 0;
  ~Ours() { free(bytes); }
};

void Read(int shape, const uint8_t* data, size_t size, char* memory, size_t arena, Ours* ours) {
  ours->result = nextbest_canonical(shape, reinterpret_cast<const char*>(data),
                                    static_cast<uint32_t>(size), memory, arena, &ours->bytes,
                                    &ours->length);
}

bool Same(const Ours& ours, const std::string& expected) {
  return ours.length == expected.size() &&
         (ours.length == 0 || memcmp(ours.bytes, expected.data(), ours.length) == 0);
}

// An arena that is full may only turn an answer into a refusal, never into another answer.
void CheckSmallArena(int shape, const uint8_t* data, size_t size, const Ours& whole,
                     const Message& message) {
  std::unique_ptr<char, decltype(&free)> memory(static_cast<char*>(malloc(kSmallArena)), &free);
  Ours ours;
  Read(shape, data, size, memory.get(), kSmallArena, &ours);
  if (ours.result == kRefused && whole.result == kOk) {
    tally.small_refused++;
    return;
  }
  if (ours.result != whole.result ||
      !Same(ours, std::string(reinterpret_cast<char*>(whole.bytes), whole.length)))
    Fail("another answer from a small arena", message);
}

// A field of some bytes that read as a message.  `length` is where a length-delimited one has it.
struct Field {
  size_t start, length, data, end;
};

bool Varint(const std::string& bytes, size_t* at, uint64_t* value) {
  *value = 0;
  for (int shift = 0; shift < 70 && *at < bytes.size(); shift += 7) {
    const uint8_t byte = static_cast<uint8_t>(bytes[(*at)++]);
    *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

std::vector<Field> Fields(const std::string& bytes) {
  std::vector<Field> fields;
  uint64_t tag, number;
  for (size_t at = 0, start = 0; Varint(bytes, &at, &tag); start = at) {
    Field field{start, 0, 0, 0};
    const int wire = tag & 7;
    if (wire == 0 && !Varint(bytes, &at, &number)) break;
    if (wire == 1) at += 8;
    if (wire == 5) at += 4;
    if (wire == 2) {
      field.length = at;
      if (!Varint(bytes, &at, &number) || number > bytes.size() - at) break;
      field.data = at;
      at += static_cast<size_t>(number);
    }
    if (wire > 5 || at > bytes.size()) break;
    field.end = at;
    fields.push_back(field);
  }
  return fields;
}

std::string LengthOf(size_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

std::string MutatedBytes(std::string bytes, size_t most) {
  const size_t size = bytes.size();
  bytes.resize(std::max<size_t>(std::min(most, size + 64), 1));
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(&bytes[0]),
                                std::min(size, bytes.size()), bytes.size()));
  return bytes;
}

// Changes something inside, and the lengths around the change with it.
std::string Mutated(const std::string& bytes, size_t most, std::minstd_rand* source, int depth) {
  const std::vector<Field> fields = Fields(bytes);
  if (fields.empty() || depth > 6) return MutatedBytes(bytes, most);
  const Field& field = fields[(*source)() % fields.size()];
  const Field& other = fields[(*source)() % fields.size()];
  const std::string before = bytes.substr(0, field.start), after = bytes.substr(field.end);
  const std::string whole = bytes.substr(field.start, field.end - field.start);
  switch ((*source)() % 8) {
    case 0:
      return before + after;
    case 1:
      return bytes.substr(0, other.start) + whole + bytes.substr(other.start);
    case 2:
      return before + MutatedBytes(whole, most) + after;
    default:
      if (field.data == 0) return before + MutatedBytes(whole, most) + after;
      const std::string inner =
          Mutated(bytes.substr(field.data, field.end - field.data), most, source, depth + 1);
      return bytes.substr(0, field.length) + LengthOf(inner.size()) + inner + after;
  }
}

}  // namespace

// Most changes keep the lengths right: few other inputs of any depth would be well formed.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  std::minstd_rand source(seed);
  if (size < 2 || source() % 4 == 0) return LLVMFuzzerMutate(data, size, most);
  const std::string changed =
      Mutated(std::string(reinterpret_cast<char*>(data) + 1, size - 1), most - 1, &source, 0);
  if (changed.size() > most - 1) return LLVMFuzzerMutate(data, size, most);
  memcpy(data + 1, changed.data(), changed.size());
  return changed.size() + 1;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  // Its lines about invalid UTF-8 would be most of the time.
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* input, size_t input_size) {
  static char* memory = static_cast<char*>(malloc(kArena));
  if (input_size == 0) return 0;
  Kind& kind = kinds()[input[0] % kinds().size()];
  const uint8_t* data = input + 1;
  const size_t size = input_size - 1;
  Message& message = *kind.message;
  tally.inputs++;

  Ours ours;
  Read(kind.shape, data, size, memory, kArena, &ours);
  const bool accepted = message.ParseFromArray(data, static_cast<int>(size));
  if (input[0] & 0x80) CheckSmallArena(kind.shape, data, size, ours, message);

  if (!accepted) {
    if (ours.result != kMalformed) Fail("accepted what protobuf refuses", message);
    return 0;
  }
  if (ours.result == kMalformed) {
    if (!MayHaveWideTag(data, size)) Fail("refused what protobuf accepts", message);
    tally.wide_tags++;
    return 0;
  }
  message.DiscardUnknownFields();
  if (ours.result == kRefused) {
    if (!OverBound(message)) Fail("refused what is within bounds", message);
    tally.refused++;
    return 0;
  }
  if (ours.result != kOk) Fail("no memory", message);
  if (!Same(ours, Serialized(message))) Fail("another value than protobuf", message);
  tally.accepted++;
  return 0;
}
