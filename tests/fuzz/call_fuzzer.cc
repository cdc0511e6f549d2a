// SPDX-License-Identifier: Apache-2.0
#include "call_fuzzer.h"

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "message_source.h"

namespace dragonfly::fuzz {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

constexpr int kStepsMax = 16;
constexpr int kAnswersMax = 16;
constexpr std::chrono::milliseconds kDeadline{400};

grpc::ByteBuffer ToBuffer(const std::string& wire) {
  const grpc::Slice slice(wire);
  return grpc::ByteBuffer(&slice, 1);
}

// One call of any kind, as a stream in both directions.
class Conversation {
 public:
  Conversation(grpc::GenericStub& stub, const MethodDescriptor& method) : method_(method) {
    context_.set_deadline(std::chrono::system_clock::now() + kDeadline);
    const std::string path = "/" + method.service()->full_name() + "/" + method.name();
    call_ = stub.PrepareCall(&context_, path, &queue_);
    call_->StartCall(this);
    open_ = Await();
  }
  ~Conversation() {
    End(/*half_close=*/false);
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  const MethodDescriptor& method() const { return method_; }

  void Write(const std::string& wire) {
    if (!open_) return;
    call_->Write(ToBuffer(wire), this);
    open_ = Await();
  }

  // With the answers that are still to come, or without.
  void End(bool half_close) {
    if (ended_) return;
    ended_ = true;
    bool more = open_;
    if (open_ && half_close) {
      call_->WritesDone(this);
      more = Await();
      for (int i = 0; i < kAnswersMax && more; ++i) {
        grpc::ByteBuffer answer;
        call_->Read(&answer, this);
        more = Await();
      }
    }
    if (more) context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    // What the library answers for a handler that has thrown.
    if (status.error_code() == grpc::StatusCode::UNKNOWN && status.error_message().starts_with("Unexpected error")) {
      std::fprintf(stderr, "%s: %s\n", method_.full_name().c_str(), status.error_message().c_str());
      std::abort();
    }
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  const MethodDescriptor& method_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
  bool open_ = false;
  bool ended_ = false;
};

}  // namespace

CallFuzzer::CallFuzzer(std::shared_ptr<grpc::Channel> channel, const std::vector<std::string>& services,
                       std::string directory)
    : channel_(std::move(channel)), directory_(std::move(directory)) {
  for (const std::string& name : services) {
    const ServiceDescriptor* const service = DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service == nullptr) {
      std::fprintf(stderr, "no service %s\n", name.c_str());
      std::abort();
    }
    for (int i = 0; i < service->method_count(); ++i) methods_.push_back(service->method(i));
  }
}

void CallFuzzer::Run(std::span<const uint8_t> data) {
  grpc::GenericStub stub(channel_);
  Bytes bytes(data);
  std::array<std::optional<Conversation>, 3> streams;
  for (int step = 0; step < kStepsMax && !bytes.empty(); ++step) {
    std::optional<Conversation>& stream = streams[bytes.Below(streams.size())];
    const size_t what = bytes.Below(8);
    if (what == 7) {
      if (stream.has_value()) stream->End(bytes.Below(2) == 0);
      stream.reset();
      continue;
    }
    // Most steps go on with an open stream.
    if (what >= 3 && stream.has_value()) {
      stream->Write(MakeMessage(*stream->method().input_type(), directory_, bytes));
      continue;
    }
    const MethodDescriptor& method = *methods_[bytes.Below(methods_.size())];
    if (method.client_streaming()) {
      stream.reset();
      stream.emplace(stub, method);
      stream->Write(MakeMessage(*method.input_type(), directory_, bytes));
    } else {
      Conversation call(stub, method);
      call.Write(MakeMessage(*method.input_type(), directory_, bytes));
      call.End(/*half_close=*/true);
    }
  }
}

}  // namespace dragonfly::fuzz
