// SPDX-License-Identifier: Apache-2.0
#include "rpc/health_check.h"

#include <grpcpp/channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/client_call.h"

namespace dragonfly::rpc {
namespace {

// How long a server that was away may take to accept a connection.
constexpr auto kReconnectTimeout = std::chrono::milliseconds(500);

// grpc.health.v1.HealthCheckResponse{status: SERVING}; the message is too small to generate code for.
bool SaysServing(const grpc::ByteBuffer& response) {
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return false;
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes == std::string_view("\x08\x01", 2);
}

// grpc.health.v1.HealthCheckRequest{service: `name`}.
grpc::ByteBuffer HealthRequest(std::string_view name) {
  std::string bytes;
  if (!name.empty()) {
    bytes = {'\x0a', static_cast<char>(name.size())};
    bytes += name;
  }
  // A ByteBuffer without a slice would be no message at all.
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace

boost::asio::awaitable<absl::Status> CheckHealth(std::shared_ptr<grpc::Channel> channel, Clock::duration timeout,
                                                 std::string_view service) {
  // A channel whose last attempt failed answers at once with that failure; then the new attempt has to be waited for.
  const bool failed_before = channel->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_TRANSIENT_FAILURE;
  if (failed_before) {
    // A server that has just come back must not wait for the end of the channel's back-off.
    grpc::experimental::ChannelResetConnectionBackoff(channel.get());
    timeout = std::min<Clock::duration>(timeout, kReconnectTimeout);
  }
  const auto start = [channel, failed_before](grpc::ClientContext* context, const grpc::ByteBuffer* request,
                                              grpc::ByteBuffer* response, std::function<void(grpc::Status)> done) {
    context->set_wait_for_ready(failed_before);
    grpc::GenericStub stub(channel);
    stub.UnaryCall(context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), request, response, std::move(done));
  };
  auto response = co_await Unary<grpc::ByteBuffer>(start, HealthRequest(service), timeout);
  if (!response.ok()) co_return std::move(response).status();
  if (!SaysServing(*response)) co_return absl::UnavailableError("not serving");
  co_return absl::OkStatus();
}

}  // namespace dragonfly::rpc
