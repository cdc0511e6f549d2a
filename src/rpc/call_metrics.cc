// SPDX-License-Identifier: Apache-2.0
#include "rpc/call_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include <array>
#include <atomic>
#include <map>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"

namespace dragonfly::rpc {
namespace {

namespace experimental = grpc::experimental;
using experimental::InterceptionHookPoints;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Labels;

// As Go writes the codes.
constexpr std::array<std::string_view, 17> kCodes = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

template <typename Info>
const char* TypeOf(const Info& info) {
  switch (info.type()) {
    case Info::Type::UNARY:
      return "unary";
    case Info::Type::CLIENT_STREAMING:
      return "client_stream";
    case Info::Type::SERVER_STREAMING:
      return "server_stream";
    case Info::Type::BIDI_STREAMING:
      return "bidi_stream";
    default:
      return "unknown";
  }
}

struct Families {
  Families(prometheus::Registry& registry, std::string_view side, std::string_view of)
      : started(Make(registry, side, "started", StrCat("Total number of RPCs started on the ", of, "."))),
        handled(Make(registry, side, "handled",
                     StrCat("Total number of RPCs completed on the ", of, ", regardless of success or failure."))),
        received(Make(registry, side, "msg_received",
                      StrCat("Total number of RPC stream messages received on the ", of, "."))),
        sent(Make(registry, side, "msg_sent", StrCat("Total number of gRPC stream messages sent by the ", of, "."))) {}

  static Family<Counter>& Make(prometheus::Registry& registry, std::string_view side, std::string_view what,
                               const std::string& help) {
    return prometheus::BuildCounter().Name(StrCat("grpc_", side, "_", what, "_total")).Help(help).Register(registry);
  }

  Family<Counter>&started, &handled, &received, &sent;
};

// The counters of one method. Thread-safe.
class MethodCounters {
 public:
  MethodCounters(const Families& families, const Labels& labels)
      : started(families.started.Add(labels)),
        received(families.received.Add(labels)),
        sent(families.sent.Add(labels)),
        handled_(families.handled),
        labels_(labels) {
    Handled(grpc::StatusCode::OK, 0);
  }

  void Handled(int code, double count = 1) {
    const size_t index = code >= 0 && static_cast<size_t>(code) < kCodes.size() ? static_cast<size_t>(code) : 2;
    Counter* counter = by_code_[index].load(std::memory_order_acquire);
    if (counter == nullptr) {
      Labels labels = labels_;
      labels["grpc_code"] = kCodes[index];
      counter = &handled_.Add(labels);  // the same one for whoever comes at the same time
      by_code_[index].store(counter, std::memory_order_release);
    }
    counter->Increment(count);
  }

  Counter& started;
  Counter& received;
  Counter& sent;

 private:
  Family<Counter>& handled_;
  const Labels labels_;
  std::array<std::atomic<Counter*>, kCodes.size()> by_code_{};
};

// Of all methods. Thread-safe. Methods are as many as the program has: calls of others never come here.
class CallCounters {
 public:
  CallCounters(telemetry::Metrics& metrics, std::string_view side, std::string_view of)
      : families_(metrics.registry(), side, of) {}

  template <typename Info>
  MethodCounters* Of(const Info& info) {
    std::string_view method = info.method() == nullptr ? "" : info.method();
    const size_t slash = method.rfind('/');
    if (slash == std::string_view::npos || slash == 0) return nullptr;
    absl::MutexLock lock(&mutex_);
    const auto found = methods_.find(method);
    if (found != methods_.end()) return found->second.get();
    const Labels labels = {{"grpc_type", TypeOf(info)},
                           {"grpc_service", std::string(method.substr(1, slash - 1))},
                           {"grpc_method", std::string(method.substr(slash + 1))}};
    return methods_.emplace(method, std::make_unique<MethodCounters>(families_, labels)).first->second.get();
  }

 private:
  const Families families_;
  absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<MethodCounters>, std::less<>> methods_ ABSL_GUARDED_BY(mutex_);
};

class ServerCounting final : public experimental::Interceptor {
 public:
  explicit ServerCounting(MethodCounters& counters) : counters_(counters) { counters_.started.Increment(); }

  void Intercept(experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr) {
      counters_.received.Increment();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) counters_.sent.Increment();
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      counters_.Handled(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  MethodCounters& counters_;
};

class ClientCounting final : public experimental::Interceptor {
 public:
  explicit ClientCounting(MethodCounters& counters) : counters_(counters) { counters_.started.Increment(); }

  void Intercept(experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) counters_.sent.Increment();
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE) &&
        methods->GetRecvMessage() != nullptr) {
      counters_.received.Increment();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_STATUS)) {
      if (const grpc::Status* const status = methods->GetRecvStatus()) counters_.Handled(status->error_code());
    }
    methods->Proceed();
  }

 private:
  MethodCounters& counters_;
};

class ServerCountingFactory final : public experimental::ServerInterceptorFactoryInterface {
 public:
  explicit ServerCountingFactory(telemetry::Metrics& metrics) : counters_(metrics, "server", "server") {}
  experimental::Interceptor* CreateServerInterceptor(experimental::ServerRpcInfo* info) override {
    MethodCounters* const counters = counters_.Of(*info);
    return counters == nullptr ? nullptr : new ServerCounting(*counters);
  }

 private:
  CallCounters counters_;
};

class ClientCountingFactory final : public experimental::ClientInterceptorFactoryInterface {
 public:
  explicit ClientCountingFactory(telemetry::Metrics& metrics) : counters_(metrics, "client", "client") {}
  experimental::Interceptor* CreateClientInterceptor(experimental::ClientRpcInfo* info) override {
    MethodCounters* const counters = counters_.Of(*info);
    return counters == nullptr ? nullptr : new ClientCounting(*counters);
  }

 private:
  CallCounters counters_;
};

}  // namespace

std::unique_ptr<experimental::ServerInterceptorFactoryInterface> MakeServerCallMetrics(telemetry::Metrics& metrics) {
  return std::make_unique<ServerCountingFactory>(metrics);
}

std::unique_ptr<experimental::ClientInterceptorFactoryInterface> MakeClientCallMetrics(telemetry::Metrics& metrics) {
  return std::make_unique<ClientCountingFactory>(metrics);
}

}  // namespace dragonfly::rpc
