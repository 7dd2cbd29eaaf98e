// gRPC C++'s client, with messages as bytes.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <chrono>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>

using google::protobuf::Struct;

static std::string from_hex(const std::string& text) {
    std::string bytes;
    for (size_t at = 0; at + 1 < text.size(); at += 2)
        bytes.push_back(static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16)));
    return bytes;
}

static std::string to_hex(const std::string& bytes) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (unsigned char byte : bytes) {
        text.push_back(digits[byte >> 4]);
        text.push_back(digits[byte & 15]);
    }
    return text;
}

static std::string bytes_of(const grpc::ByteBuffer& buffer) {
    std::vector<grpc::Slice> slices;
    std::string bytes;
    if (buffer.Valid() && buffer.Dump(&slices).ok())
        for (const auto& slice : slices)
            bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    return bytes;
}

static Struct call(grpc::GenericStub& stub, const Struct& asked) {
    const auto& fields = asked.fields();
    grpc::ClientContext context;
    const auto wait = std::chrono::milliseconds(
        static_cast<int>(fields.at("deadline_ms").number_value()));
    context.set_deadline(std::chrono::system_clock::now() + wait);
    for (const auto& pair : fields.at("metadata").list_value().values()) {
        const std::string name = pair.list_value().values(0).string_value();
        std::string value = pair.list_value().values(1).string_value();
        if (name.size() > 4 && name.substr(name.size() - 4) == "-bin") value = from_hex(value);
        context.AddMetadata(name, value);
    }
    grpc::Slice slice(from_hex(fields.at("request").string_value()));
    grpc::ByteBuffer request(&slice, 1), response;
    grpc::CompletionQueue queue;
    auto reader =
        stub.PrepareUnaryCall(&context, fields.at("path").string_value(), request, &queue);
    reader->StartCall();
    if (fields.at("cancel").bool_value()) context.TryCancel();
    grpc::Status status;
    reader->Finish(&response, &status, reinterpret_cast<void*>(1));
    void* tag;
    bool ok;
    queue.Next(&tag, &ok);
    Struct result;
    auto& made = *result.mutable_fields();
    made["code"].set_number_value(status.error_code());
    made["message"].set_string_value(status.error_message());
    made["details"].set_string_value(to_hex(status.error_details()));
    made["response"].set_string_value(to_hex(bytes_of(response)));
    return result;
}

int main(int, char** arguments) {
    std::ifstream file(arguments[2]);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    google::protobuf::ListValue calls, results;
    if (!google::protobuf::util::JsonStringToMessage(text, &calls).ok()) return 2;
    grpc::GenericStub stub(
        grpc::CreateChannel(arguments[1], grpc::InsecureChannelCredentials()));
    for (const auto& one : calls.values())
        *results.add_values()->mutable_struct_value() = call(stub, one.struct_value());
    std::string written;
    if (!google::protobuf::util::MessageToJsonString(results, &written).ok()) return 2;
    std::cout << written << "\n";
    return 0;
}
