// SPDX-License-Identifier: Apache-2.0
#include "rpc/tracing.h"

#include <google/protobuf/message.h>

#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/synchronization/mutex.h"
#include "rpc/status.h"

namespace dragonfly::rpc {
namespace {

namespace experimental = grpc::experimental;
using experimental::InterceptionHookPoints;
using telemetry::Span;
using telemetry::SpanContext;
using telemetry::SpanKind;

constexpr char kTraceparent[] = "traceparent";
constexpr char kTracestate[] = "tracestate";

// "/dfdaemon.v2.DfdaemonUpload/ExchangeIBVerbs" to "exchange_ib_verbs". The result lives for ever, as names of spans
// must; there are as many as there are methods.
std::string_view SpanName(std::string_view method) {
  method.remove_prefix(method.rfind('/') + 1);
  std::string name;
  for (size_t i = 0; i < method.size(); ++i) {
    const auto upper = [&](size_t at) {
      return at < method.size() && absl::ascii_isupper(static_cast<unsigned char>(method[at]));
    };
    const bool next_is_lower = i + 1 < method.size() && !upper(i + 1);
    if (i > 0 && upper(i) && (!upper(i - 1) || next_is_lower)) name += '_';
    name += absl::ascii_tolower(static_cast<unsigned char>(method[i]));
  }
  static absl::Mutex mutex;
  static std::set<std::string>* const names = new std::set<std::string>;
  absl::MutexLock lock(&mutex);
  return *names->insert(std::move(name)).first;
}

bool Traced(std::string_view method) {
  return !method.starts_with("/grpc.health.") && !method.starts_with("/grpc.reflection.");
}

template <typename Text>
SpanContext ContextOf(const std::multimap<Text, Text>& metadata) {
  const auto value = [&](const char* name) {
    const auto found = metadata.find(name);
    return found == metadata.end() ? std::string_view() : std::string_view(found->second.data(), found->second.size());
  };
  return telemetry::ParseTraceparent(value(kTraceparent), value(kTracestate)).value_or(SpanContext());
}

template <typename Text>
void SetContext(const Text& traceparent, const Text& state, std::multimap<Text, Text>* metadata) {
  metadata->erase(kTraceparent);
  metadata->erase(kTracestate);
  metadata->emplace(kTraceparent, traceparent);
  if (state.size() > 0) metadata->emplace(kTracestate, state);
}

// Hooks of one call may run on two threads: the end of a call and a message of it.
class ServerTracing final : public experimental::Interceptor {
 public:
  ServerTracing(telemetry::Tracer& tracer, const DescribeCall& describe, std::string_view name)
      : tracer_(tracer), describe_(describe), name_(name) {}

  void Intercept(experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      absl::MutexLock lock(&mutex_);
      auto* const metadata = methods->GetRecvInitialMetadata();
      span_ = tracer_.Start(name_, SpanKind::kServer, ContextOf(*metadata));
      // The handler's view, which does not own its texts.
      traceparent_ = span_.context().ToTraceparent();
      state_ = span_.context().state;
      SetContext(grpc::string_ref(traceparent_), grpc::string_ref(state_), metadata);
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      absl::MutexLock lock(&mutex_);
      const auto* const message = static_cast<const google::protobuf::Message*>(methods->GetRecvMessage());
      if (!std::exchange(described_, true) && message != nullptr && span_.recording() && describe_) {
        describe_(*message, span_);
      }
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      absl::MutexLock lock(&mutex_);
      span_.SetStatus(FromGrpc(methods->GetSendStatus()));
      span_.End();
    }
    methods->Proceed();
  }

 private:
  telemetry::Tracer& tracer_;
  const DescribeCall& describe_;
  const std::string_view name_;
  absl::Mutex mutex_;
  Span span_ ABSL_GUARDED_BY(mutex_);
  bool described_ ABSL_GUARDED_BY(mutex_) = false;
  std::string traceparent_;  // lives as long as the call's context
  std::string state_;
};

class ServerTracingFactory final : public experimental::ServerInterceptorFactoryInterface {
 public:
  ServerTracingFactory(telemetry::Tracer& tracer, DescribeCall describe)
      : tracer_(tracer), describe_(std::move(describe)) {}
  experimental::Interceptor* CreateServerInterceptor(experimental::ServerRpcInfo* info) override {
    const std::string_view method = info->method() == nullptr ? "" : info->method();
    if (method.empty() || !Traced(method)) return nullptr;
    return new ServerTracing(tracer_, describe_, SpanName(method));
  }

 private:
  telemetry::Tracer& tracer_;
  const DescribeCall describe_;
};

class ClientTracing final : public experimental::Interceptor {
 public:
  ClientTracing(telemetry::Tracer& tracer, std::string_view name) : tracer_(tracer), name_(name) {}

  void Intercept(experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      absl::MutexLock lock(&mutex_);
      auto* const metadata = methods->GetSendInitialMetadata();
      span_ = tracer_.Start(name_, SpanKind::kClient, ContextOf(*metadata));
      SetContext(span_.context().ToTraceparent(), span_.context().state, metadata);
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_STATUS)) {
      absl::MutexLock lock(&mutex_);
      if (const grpc::Status* const status = methods->GetRecvStatus()) span_.SetStatus(FromGrpc(*status));
      span_.End();
    }
    methods->Proceed();
  }

 private:
  telemetry::Tracer& tracer_;
  const std::string_view name_;
  absl::Mutex mutex_;
  Span span_ ABSL_GUARDED_BY(mutex_);
};

class ClientTracingFactory final : public experimental::ClientInterceptorFactoryInterface {
 public:
  explicit ClientTracingFactory(telemetry::Tracer& tracer) : tracer_(tracer) {}
  experimental::Interceptor* CreateClientInterceptor(experimental::ClientRpcInfo* info) override {
    const std::string_view method = info->method() == nullptr ? "" : info->method();
    if (method.empty() || !Traced(method)) return nullptr;
    return new ClientTracing(tracer_, SpanName(method));
  }

 private:
  telemetry::Tracer& tracer_;
};

}  // namespace

std::unique_ptr<experimental::ServerInterceptorFactoryInterface> MakeServerTracing(telemetry::Tracer& tracer,
                                                                                   DescribeCall describe) {
  return std::make_unique<ServerTracingFactory>(tracer, std::move(describe));
}

std::unique_ptr<experimental::ClientInterceptorFactoryInterface> MakeClientTracing(telemetry::Tracer& tracer) {
  return std::make_unique<ClientTracingFactory>(tracer);
}

}  // namespace dragonfly::rpc
