// SPDX-License-Identifier: Apache-2.0
#include "rpc/otlp_exporter.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <future>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"
#include "base/text.h"
#include "rpc/library.h"
#include "rpc/status.h"

namespace dragonfly::rpc {
namespace {

constexpr char kMethod[] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
constexpr std::string_view kPlainScheme = "http://";
constexpr std::string_view kTlsScheme = "https://";

// gRPC ends the process over metadata that HTTP/2 cannot carry.
bool GoodName(std::string_view name) {
  return !name.empty() && !name.starts_with("grpc-") && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}
bool GoodValue(std::string_view value) {
  return std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~'; });
}

class OtlpExporter final : public telemetry::SpanExporter {
 public:
  OtlpExporter(std::string endpoint, std::vector<std::pair<std::string, std::string>> headers,
               const std::shared_ptr<grpc::Channel>& channel)
      : endpoint_(std::move(endpoint)), headers_(std::move(headers)), stub_(channel) {}

  absl::StatusOr<std::string> Export(const std::string& request,
                                     std::chrono::steady_clock::time_point deadline) override {
    grpc::ClientContext context;
    const auto patience = std::max(deadline - std::chrono::steady_clock::now(), std::chrono::steady_clock::duration());
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::duration_cast<std::chrono::system_clock::duration>(patience));
    for (const auto& [name, value] : headers_) context.AddMetadata(name, value);
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return absl::CancelledError(StrCat(endpoint_, ": the export was cancelled"));
      running_ = &context;
    }
    const grpc::Slice slice(request);
    const grpc::ByteBuffer message(&slice, 1);
    grpc::ByteBuffer answer;
    std::promise<grpc::Status> done;
    stub_.UnaryCall(&context, kMethod, grpc::StubOptions(), &message, &answer,
                    [&done](grpc::Status status) { done.set_value(std::move(status)); });
    const grpc::Status status = done.get_future().get();
    {
      absl::MutexLock lock(&mutex_);
      running_ = nullptr;
    }
    if (!status.ok()) return Annotate(FromGrpc(status), endpoint_);
    std::string response;
    std::vector<grpc::Slice> slices;
    if (answer.Dump(&slices).ok()) {
      for (const grpc::Slice& part : slices) response.append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
    return response;
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (running_ != nullptr) running_->TryCancel();
  }

 private:
  const std::string endpoint_;
  const std::vector<std::pair<std::string, std::string>> headers_;
  grpc::GenericStub stub_;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<telemetry::SpanExporter>> MakeOtlpExporter(OtlpExporterOptions options) {
  KeepLibrary();
  for (auto& [name, value] : options.headers) {
    name = ToLowerAscii(name);
    if (!GoodName(name))
      return absl::InvalidArgumentError(StrCat("header ", Quoted(name), ": gRPC takes no such name"));
    if (!GoodValue(value)) {
      return absl::InvalidArgumentError(StrCat("header ", name, ": its value is not printable ASCII"));
    }
  }
  std::string_view address = options.endpoint;
  const bool tls = address.starts_with(kTlsScheme);
  if (tls) address.remove_prefix(kTlsScheme.size());
  if (address.starts_with(kPlainScheme)) address.remove_prefix(kPlainScheme.size());
  while (address.ends_with('/')) address.remove_suffix(1);

  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 30'000);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  const auto credentials =
      tls ? grpc::SslCredentials(grpc::SslCredentialsOptions()) : grpc::InsecureChannelCredentials();
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(std::string(address), credentials, arguments);
  return std::make_unique<OtlpExporter>(StrCat("collector ", address), std::move(options.headers), channel);
}

}  // namespace dragonfly::rpc
