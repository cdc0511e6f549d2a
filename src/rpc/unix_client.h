// SPDX-License-Identifier: Apache-2.0
// A gRPC client for command line tools: one call at a time over a Unix socket or TCP, on the caller's thread, by
// nghttp2. It starts in a millisecond, where the full library takes ten.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/clock.h"

namespace dragonfly::rpc {

class ClientSocket;

class UnixClient {
 public:
  // Errors: UNAVAILABLE naming the socket.
  static absl::StatusOr<std::unique_ptr<UnixClient>> Connect(const std::string& socket_path);
  // The same over TCP without TLS; see ConnectTcpSocket(). With TLS: rpc/tls_client.h.
  static absl::StatusOr<std::unique_ptr<UnixClient>> ConnectTcp(const std::string& host, int port);
  // Over a connection that was made already, to the server that messages call `name`; `scheme` is http or https.
  static absl::StatusOr<std::unique_ptr<UnixClient>> Over(std::unique_ptr<ClientSocket> stream, std::string name,
                                                          std::string scheme);
  ~UnixClient();

  // Calls `method` ("/dfdaemon.v2.DfdaemonDownload/DownloadTask") with a serialised request and hands each serialised
  // response to `on_message`; an error that it returns ends the call and is returned. `deadline` becomes grpc-timeout
  // and is kept locally. Returns the status of the call; JSON error details are attached as a BackendError.
  absl::Status Call(std::string_view method, std::string_view request,
                    const std::function<absl::Status(std::string_view)>& on_message, TimePoint deadline);

 private:
  struct State;
  explicit UnixClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::rpc
