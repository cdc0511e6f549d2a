// SPDX-License-Identifier: Apache-2.0
#include "rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "rpc/call_metrics.h"
#include "rpc/library.h"
#include "rpc/tls_credentials.h"
#include "rpc/tracing.h"
#include "rpc/unix_socket.h"

namespace dragonfly::rpc {
namespace {

constexpr int kFrameSizeMax = 256 << 10;  // a larger frame keeps small calls on the same connection waiting
constexpr int kMetadataSizeMax = 64 << 10;

// The reflection library registers itself for every server of the process when it is loaded; this makes it a choice of
// each server.
class ReflectionOption final : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool wanted) : wanted_(wanted) {}
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    auto mine = std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>();
    const std::string name = mine->name();
    std::erase_if(*plugins, [&name](const auto& plugin) { return plugin->name() == name; });
    if (wanted_) plugins->push_back(std::move(mine));
  }

 private:
  const bool wanted_;
};

void SetArguments(grpc::ServerBuilder& builder, const ServerOptions& options) {
  builder.SetMaxReceiveMessageSize(options.receive_message_max);
  builder.SetMaxSendMessageSize(-1);
  // Clients put 10 or 15 s on streams and mean the response headers only (client v1.0.0, grpc_timeout of its HTTP
  // library). A caller whose unary call is over cancels it by itself.
  builder.AddChannelArgument("grpc.enable_deadline_checking", 0);
  // Clients of the original ping idle connections, too.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  // Finds callers whose host has gone without a word.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 300'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kFrameSizeMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataSizeMax);
  // With it, a second server would share the port of the first and get half of its connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Only reflection has synchronous methods.
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

constexpr std::string_view kUnixScheme = "unix:";

}  // namespace

struct Server::State {
  std::vector<int> ports;                                 // as ServerOptions::addresses
  std::vector<std::optional<UnixSocketFile>> unix_files;  // likewise
  std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  KeepLibrary();
  static std::once_flag once;
  std::call_once(once, [] { grpc::EnableDefaultHealthCheckService(true); });

  DF_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, ServerCredentialsOf(options.tls));

  auto state = std::make_unique<State>();
  const size_t count = options.addresses.size();
  state->ports.resize(count);
  state->unix_files.resize(count);

  grpc::ServerBuilder builder;
  SetArguments(builder, options);
  builder.SetOption(std::make_unique<ReflectionOption>(options.reflection));
  for (size_t i = 0; i < count; ++i) {
    const std::string& address = options.addresses[i];
    if (std::string_view(address).starts_with(kUnixScheme)) {
      DF_ASSIGN_OR_RETURN(state->unix_files[i],
                          UnixSocketFile::Prepare(address.substr(kUnixScheme.size()), options.unix_socket_mode));
      builder.AddListeningPort(StrCat(kUnixScheme, state->unix_files[i]->bind_path()),
                               grpc::InsecureServerCredentials(), &state->ports[i]);
    } else {
      builder.AddListeningPort(address, credentials, &state->ports[i]);
    }
  }
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  if (options.tracer != nullptr) interceptors.push_back(MakeServerTracing(*options.tracer, options.describe_call));
  if (options.metrics != nullptr) interceptors.push_back(MakeServerCallMetrics(*options.metrics));
  if (!interceptors.empty()) builder.experimental().SetInterceptorCreators(std::move(interceptors));

  state->server = builder.BuildAndStart();
  // gRPC tells failure by no server or by port 0, depending on whether other addresses could be bound.
  absl::Status status;
  for (size_t i = 0; i < count && status.ok(); ++i) {
    if (state->server == nullptr || state->ports[i] <= 0) {
      if (state->ports[i] > 0) continue;
      status = absl::UnavailableError(StrCat("cannot listen on ", options.addresses[i]));
    } else if (state->unix_files[i]) {
      state->ports[i] = 0;
      status = state->unix_files[i]->Publish();
    }
  }
  if (status.ok() && state->server == nullptr) status = absl::UnavailableError("cannot start the gRPC server");
  std::unique_ptr<Server> server(new Server(std::move(state)));
  if (!status.ok()) {
    server->Shutdown(Clock::now());
    return status;
  }
  return server;
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() = default;

int Server::port(size_t index) const { return state_->ports.at(index); }

void Server::SetServing(const std::string& service, bool serving) {
  state_->server->GetHealthCheckService()->SetServingStatus(service, serving);
}

void Server::Shutdown(TimePoint deadline) {
  if (state_->server == nullptr) return;
  // Everything is NOT_SERVING from here on, whatever SetServing() says.
  state_->server->GetHealthCheckService()->Shutdown();
  constexpr std::chrono::hours kPatienceMax{24 * 365};
  const Clock::duration patience =
      deadline == kNoDeadline ? Clock::duration(kPatienceMax) : std::max(deadline - Clock::now(), Clock::duration(0));
  state_->server->Shutdown(std::chrono::system_clock::now() +
                           std::chrono::duration_cast<std::chrono::system_clock::duration>(patience));
  // Returns when the last callback has run.
  state_->server.reset();
  for (std::optional<UnixSocketFile>& file : state_->unix_files)
    if (file) file->Remove();
}

}  // namespace dragonfly::rpc
