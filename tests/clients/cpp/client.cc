// The stock C++ client (generated stubs): calls a server and tells what it saw.
//
//     client ADDRESS NAME
//
// NAME sets the ids of what it sends apart from other runs'.  Prints one JSON object; the test
// that runs it says what is right.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "nextbest/v1/decision.grpc.pb.h"
#include "nextbest/v1/event.grpc.pb.h"
#include "nextbest/v1/profile.grpc.pb.h"

namespace {

using namespace nextbest::v1;
using grpc::ClientContext;
using grpc::Status;
using std::chrono::microseconds;
using std::chrono::system_clock;

constexpr int kCalls = 1000;
constexpr int kCancels = 200;
constexpr auto kPatience = std::chrono::seconds(20);

using Fields = std::map<std::string, std::string>;

std::string quoted(const std::string& text) {
  std::ostringstream out;
  out << '"';
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      out << '\\' << c;
    } else if (c < ' ') {
      out << ' ';
    } else {
      out << c;
    }
  }
  out << '"';
  return out.str();
}

std::string object(const Fields& fields) {
  std::string text = "{";
  for (const auto& [name, value] : fields)
    text += (text.size() > 1 ? ", " : "") + quoted(name) + ": " + value;
  return text + "}";
}

std::string hexadecimal(const std::string& bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char c : bytes) {
    text += digits[c >> 4];
    text += digits[c & 15];
  }
  return text;
}

std::string outcome(const Status& status) {
  return object({{"code", std::to_string(status.error_code())},
                 {"message", quoted(status.error_message())}});
}

// Every call has a deadline: a server that does not answer fails the test, not its run.
void patient(ClientContext* context) { context->set_deadline(system_clock::now() + kPatience); }

DecideRequest question(const std::string& id, uint64_t seed) {
  DecideRequest request;
  request.set_decision_id(id);
  request.mutable_identity()->set_id("ann");
  request.add_placements("home");
  (*request.mutable_context())["page"].set_string_value("home");
  (*request.mutable_context())["hour"].set_int_value(9);
  request.mutable_now()->set_seconds(1780315200);
  request.set_seed(seed);
  return request;
}

class Client {
 public:
  Client(const std::string& address, std::string name)
      : name_(std::move(name)),
        channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        decisions_(DecisionService::NewStub(channel_)),
        events_(EventService::NewStub(channel_)),
        profiles_(ProfileService::NewStub(channel_)),
        health_(grpc::health::v1::Health::NewStub(channel_)) {}

  Fields all() {
    return {{"library", quoted("grpc C++ " + grpc::Version())},
            {"decide", decide()},
            {"track", track()},
            {"batch", batch()},
            {"metadata", metadata()},
            {"deadline", deadline()},
            {"cancelled", cancelled()},
            {"cancelled_in_flight", cancelled_in_flight()},
            {"refused", refused()},
            {"control", control()},
            {"health", health("")},
            {"health_unknown", health("no.such.Service")},
            {"concurrent", concurrent()}};
  }

 private:
  std::string decide() {
    ClientContext context;
    patient(&context);
    DecideResponse response;
    Status status = decisions_->Decide(&context, question(name_ + "-decide", 7), &response);
    return status.ok() ? quoted(hexadecimal(response.SerializeAsString())) : outcome(status);
  }

  std::string track() {
    std::string seen;
    for (int i = 0; i < 2; ++i) {
      ClientContext context;
      patient(&context);
      TrackRequest request;
      request.set_event_id(name_ + "-event");
      request.mutable_identity()->set_id("ann-" + name_);
      request.set_event("page_view");
      (*request.mutable_properties())["path"].set_string_value("/pricing");
      request.mutable_occurred_at()->set_seconds(started_);
      TrackResponse response;
      Status status = events_->Track(&context, request, &response);
      if (!status.ok()) return outcome(status);
      seen += std::string(i ? ", " : "") + (response.duplicate() ? "true" : "false");
    }
    return "[" + seen + "]";
  }

  std::string batch() {
    ClientContext context;
    patient(&context);
    DecideBatchRequest request;
    for (int i = 0; i < 100; ++i) *request.add_requests() = question("", i + 1);
    DecideBatchResponse response;
    Status status = decisions_->DecideBatch(&context, request, &response);
    if (!status.ok()) return outcome(status);
    auto answered = [](const DecideResult& result) { return result.has_response(); };
    return std::to_string(
        std::count_if(response.results().begin(), response.results().end(), answered));
  }

  std::string metadata() {
    ClientContext context;
    patient(&context);
    context.AddMetadata("x-text", "some text");
    context.AddMetadata("x-twice", "one");
    context.AddMetadata("x-twice", "two");
    context.AddMetadata("x-bytes-bin", std::string("\0\xff\x01,", 4));
    DecideResponse response;
    return outcome(decisions_->Decide(&context, question("", 7), &response));
  }

  // gRPC C++ rounds a deadline up to milliseconds, in which a single decision is long done.
  std::string deadline() {
    ClientContext context;
    context.set_deadline(system_clock::now() + microseconds(1));
    DecideBatchRequest request;
    for (int i = 0; i < kCalls; ++i) {
      *request.add_requests() = question("", i + 1);
      request.mutable_requests(i)->set_explain(true);
    }
    DecideBatchResponse response;
    return outcome(decisions_->DecideBatch(&context, request, &response));
  }

  std::string cancelled() {
    ClientContext context;
    patient(&context);
    context.TryCancel();
    DecideResponse response;
    return outcome(decisions_->Decide(&context, question("", 7), &response));
  }

  // Cancels at other moments of each call, then counts the outcomes.
  std::string cancelled_in_flight() {
    Fields seen;
    std::map<int, int> codes;
    for (int i = 0; i < kCancels; ++i) {
      ClientContext context;
      patient(&context);
      std::thread canceller([&context, i] {
        std::this_thread::sleep_for(microseconds(10 * i));
        context.TryCancel();
      });
      DecideResponse response;
      ++codes[decisions_->Decide(&context, question("", 7), &response).error_code()];
      canceller.join();
    }
    for (const auto& [code, count] : codes) seen[std::to_string(code)] = std::to_string(count);
    return object(seen);
  }

  std::string refused() {
    ClientContext context;
    patient(&context);
    DecideRequest request = question("", 7);
    request.set_placements(0, "nowhere");
    DecideResponse response;
    Status status = decisions_->Decide(&context, request, &response);
    google::rpc::Status details;
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    details.ParseFromString(status.error_details());
    for (const auto& detail : details.details()) detail.UnpackTo(&info) || detail.UnpackTo(&bad);
    std::string field = bad.field_violations_size() ? bad.field_violations(0).field() : "";
    return object({{"code", std::to_string(status.error_code())},
                   {"message", quoted(status.error_message())},
                   {"details_code", std::to_string(details.code())},
                   {"reason", quoted(info.reason())},
                   {"field", quoted(field)}});
  }

  std::string control() {
    ClientContext context;
    patient(&context);
    GetProfileRequest request;
    request.mutable_identity()->set_id("ann");
    GetProfileResponse response;
    return outcome(profiles_->GetProfile(&context, request, &response));
  }

  std::string health(const std::string& service) {
    ClientContext context;
    patient(&context);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    Status status = health_->Check(&context, request, &response);
    return status.ok() ? std::to_string(response.status()) : outcome(status);
  }

  // All calls at once, by the callback stub; each answer must be to its own request.
  std::string concurrent() {
    struct Call {
      ClientContext context;
      DecideRequest request;
      DecideResponse response;
      bool right = false;
    };
    std::vector<Call> calls(kCalls);
    std::mutex mutex;
    std::condition_variable ended;
    int open = kCalls;
    for (int i = 0; i < kCalls; ++i) {
      Call* call = &calls[i];
      patient(&call->context);
      call->request = question("", i + 1);
      decisions_->async()->Decide(
          &call->context, &call->request, &call->response, [&, call](Status status) {
            std::lock_guard<std::mutex> lock(mutex);
            call->right = status.ok() && call->response.seed() == call->request.seed();
            if (--open == 0) ended.notify_one();
          });
    }
    std::unique_lock<std::mutex> lock(mutex);
    ended.wait(lock, [&open] { return open == 0; });
    return std::to_string(
        std::count_if(calls.begin(), calls.end(), [](const Call& call) { return call.right; }));
  }

  const std::string name_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<DecisionService::Stub> decisions_;
  const std::unique_ptr<EventService::Stub> events_;
  const std::unique_ptr<ProfileService::Stub> profiles_;
  const std::unique_ptr<grpc::health::v1::Health::Stub> health_;
  const int64_t started_ = system_clock::to_time_t(system_clock::now());
};

}  // namespace

int main(int count, char** values) {
  if (count != 3) {
    std::cerr << "usage: client ADDRESS NAME" << std::endl;
    return 2;
  }
  std::cout << object(Client(values[1], values[2]).all()) << std::endl;
  return 0;
}
