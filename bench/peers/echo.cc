// A gRPC C++ server (callback API, generated code) that decides nothing: the same answer always.
//
//     echo ANSWER_FILE ADDRESS... [--typed]
//
// By default a call's bytes are neither parsed nor built: less than any real service does, so
// this is the lower bound of what gRPC C++ costs.  With --typed the request is parsed and the
// answer serialised from a message, as a handler of the generated service would have it.
// Prints "ready" once every address is bound; SIGTERM ends it.
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "nextbest/v1/decision.grpc.pb.h"
#include "nextbest/v1/event.grpc.pb.h"

namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::Status;
using nextbest::v1::DecideRequest;
using nextbest::v1::DecideResponse;
using nextbest::v1::DecisionService;
using nextbest::v1::EventService;

ServerUnaryReactor* finish(CallbackServerContext* context) {
  auto* reactor = context->DefaultReactor();
  reactor->Finish(Status::OK);
  return reactor;
}

class RawDecide final : public DecisionService::WithRawCallbackMethod_Decide<DecisionService::Service> {
 public:
  explicit RawDecide(const grpc::Slice& answer) : answer_(&answer, 1) {}
  ServerUnaryReactor* Decide(CallbackServerContext* context, const ByteBuffer*,
                             ByteBuffer* response) override {
    *response = answer_;
    return finish(context);
  }

 private:
  const ByteBuffer answer_;
};

class TypedDecide final : public DecisionService::WithCallbackMethod_Decide<DecisionService::Service> {
 public:
  explicit TypedDecide(const std::string& answer) {
    if (!answer_.ParseFromString(answer)) throw std::runtime_error("answer: no DecideResponse");
  }
  ServerUnaryReactor* Decide(CallbackServerContext* context, const DecideRequest*,
                             DecideResponse* response) override {
    *response = answer_;
    return finish(context);
  }

 private:
  DecideResponse answer_;
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void serve(grpc::Service* service, const std::vector<std::string>& addresses) {
  grpc::ServerBuilder builder;
  std::vector<int> bound(addresses.size());
  for (size_t i = 0; i < addresses.size(); ++i)
    builder.AddListeningPort(addresses[i], grpc::InsecureServerCredentials(), &bound[i]);
  builder.RegisterService(service);
  auto server = builder.BuildAndStart();
  if (!server) throw std::runtime_error("cannot listen on " + addresses.front());
  std::cout << "ready" << std::endl;
  // The server's threads inherit the mask, so that only this one takes the signal.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  int seen = 0;
  sigwait(&ends, &seen);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
}

int run(int count, char** values) {
  bool typed = false;
  std::vector<std::string> words;
  for (int i = 1; i < count; ++i) {
    if (std::string(values[i]) == "--typed") {
      typed = true;
    } else {
      words.emplace_back(values[i]);
    }
  }
  if (words.size() < 2) throw std::runtime_error("usage: echo ANSWER_FILE ADDRESS... [--typed]");
  const std::string answer = read(words.front());
  words.erase(words.begin());
  std::unique_ptr<grpc::Service> service;
  if (typed) {
    service = std::make_unique<TypedDecide>(answer);
  } else {
    service = std::make_unique<RawDecide>(grpc::Slice(answer));
  }
  serve(service.get(), words);
  return 0;
}

}  // namespace

int main(int count, char** values) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  try {
    return run(count, values);
  } catch (const std::exception& error) {
    std::cerr << "echo: " << error.what() << std::endl;
    return 1;
  }
}
