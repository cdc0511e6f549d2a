// SPDX-License-Identifier: Apache-2.0
#include "tests/support/otlp_collector.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "opentelemetry/proto/collector/trace/v1/trace_service.grpc.pb.h"

namespace dragonfly::testing {
namespace {

namespace wire = opentelemetry::proto;
using wire::collector::trace::v1::ExportTraceServiceRequest;
using wire::collector::trace::v1::ExportTraceServiceResponse;

std::string Text(const wire::common::v1::AnyValue& value) {
  switch (value.value_case()) {
    case wire::common::v1::AnyValue::kStringValue:
      return value.string_value();
    case wire::common::v1::AnyValue::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case wire::common::v1::AnyValue::kIntValue:
      return std::to_string(value.int_value());
    default:
      return value.ShortDebugString();
  }
}

}  // namespace

std::string OtlpCollector::Received::Attribute(const std::string& name) const {
  for (const auto& attribute : span.attributes())
    if (attribute.key() == name) return Text(attribute.value());
  return "";
}

struct OtlpCollector::State final : wire::collector::trace::v1::TraceService::Service {
  grpc::Status Export(grpc::ServerContext* context, const ExportTraceServiceRequest* request,
                      ExportTraceServiceResponse*) override {
    const std::lock_guard lock(mutex);
    ++calls;
    metadata.clear();
    for (const auto& [name, value] : context->client_metadata()) {
      metadata.emplace(std::string(name.data(), name.size()), std::string(value.data(), value.size()));
    }
    changed.notify_all();
    if (!answer.ok()) return answer;
    for (const auto& of_resource : request->resource_spans()) {
      std::map<std::string, std::string> resource;
      for (const auto& attribute : of_resource.resource().attributes()) {
        resource[attribute.key()] = Text(attribute.value());
      }
      for (const auto& scope : of_resource.scope_spans())
        for (const auto& span : scope.spans()) spans.push_back(Received{span, resource});
    }
    return grpc::Status::OK;
  }

  std::unique_ptr<grpc::Server> server;
  int port = 0;
  mutable std::mutex mutex;
  std::condition_variable changed;
  grpc::Status answer;
  size_t calls = 0;
  std::vector<Received> spans;
  std::multimap<std::string, std::string> metadata;
};

OtlpCollector::OtlpCollector() : state_(std::make_unique<State>()) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &state_->port);
  builder.RegisterService(state_.get());
  state_->server = builder.BuildAndStart();
}

OtlpCollector::~OtlpCollector() { state_->server->Shutdown(std::chrono::system_clock::now()); }

std::string OtlpCollector::endpoint() const { return "127.0.0.1:" + std::to_string(state_->port); }

void OtlpCollector::AnswerWith(int code, const std::string& message) {
  const std::lock_guard lock(state_->mutex);
  state_->answer = grpc::Status(static_cast<grpc::StatusCode>(code), message);
}

std::vector<OtlpCollector::Received> OtlpCollector::WaitFor(
    const std::function<bool(const std::vector<Received>&)>& enough) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, std::chrono::seconds(30), [&] { return enough(state_->spans); });
  return state_->spans;
}

std::vector<OtlpCollector::Received> OtlpCollector::WaitForNames(const std::vector<std::string>& names) {
  return WaitFor([&](const std::vector<Received>& spans) {
    return std::ranges::all_of(names, [&](const std::string& name) {
      return std::ranges::any_of(spans, [&](const Received& one) { return one.span.name() == name; });
    });
  });
}

std::multimap<std::string, std::string> OtlpCollector::metadata() const {
  const std::lock_guard lock(state_->mutex);
  return state_->metadata;
}

size_t OtlpCollector::calls() const {
  const std::lock_guard lock(state_->mutex);
  return state_->calls;
}

}  // namespace dragonfly::testing
