// SPDX-License-Identifier: Apache-2.0
#include "rpc/unix_client.h"

#include <nghttp2/nghttp2.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "rpc/client_socket.h"
#include "rpc/grpc_framing.h"
#include "rpc/wire_status.h"

namespace dragonfly::rpc {
namespace {

constexpr int32_t kWindow = 32 << 20;
constexpr uint32_t kFrameLengthMax = 1 << 20;
constexpr size_t kReadLength = 1 << 20;

struct FreeSession {
  void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
};
struct FreeCallbacks {
  void operator()(nghttp2_session_callbacks* callbacks) const { nghttp2_session_callbacks_del(callbacks); }
};

nghttp2_nv Header(std::string_view name, std::string_view value) {
  nghttp2_nv header{};
  header.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  header.namelen = name.size();
  header.value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  header.valuelen = value.size();
  header.flags = NGHTTP2_NV_FLAG_NONE;
  return header;
}

// The one call that runs.
struct ActiveCall {
  ActiveCall(std::string_view r, const MessageReader::OnMessage& m) : request(r), on_message(m) {}

  std::string_view request;
  const MessageReader::OnMessage& on_message;

  size_t sent = 0;  // of prefix and request
  int32_t stream = -1;
  MessageReader messages;
  bool ended = false;
  uint32_t reset_error = NGHTTP2_NO_ERROR;

  int http_status = 0;
  std::optional<int> grpc_status;
  std::string grpc_message;
  std::string details;
  absl::Status failure;  // found by ourselves: ends the call
};

}  // namespace

struct UnixClient::State {
  std::string path;  // or host and port
  std::string authority = "localhost";
  std::string scheme = "http";
  std::unique_ptr<ClientSocket> wire;
  std::unique_ptr<nghttp2_session, FreeSession> session;
  std::string unsent;  // bytes of frames that the socket did not take yet
  std::vector<uint8_t> input = std::vector<uint8_t>(kReadLength);
  ActiveCall* call = nullptr;
  absl::Status broken;  // of the connection

  absl::Status Start();
  absl::Status Submit(ActiveCall& active, std::string_view method, TimePoint deadline);
  // One round of sending, waiting and receiving.
  absl::Status Step(TimePoint deadline);
  absl::Status SendPending();
  absl::Status Receive();
  void Abandon(const ActiveCall& active);
  absl::Status Lost(std::string_view what) {
    return absl::UnavailableError(StrCat("connection to ", path, ": ", what));
  }
  absl::Status Lost(const absl::Status& why) { return Lost(MessageOf(why)); }

  ActiveCall* CallOf(int32_t stream) const { return call != nullptr && call->stream == stream ? call : nullptr; }

  static ssize_t ReadRequest(nghttp2_session*, int32_t stream, uint8_t* out, size_t length, uint32_t* flags,
                             nghttp2_data_source*, void* self);
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                      const uint8_t* value, size_t value_length, uint8_t, void* self);
  static int OnData(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t length, void* self);
  static int OnStreamClose(nghttp2_session*, int32_t stream, uint32_t error, void* self);
  static int OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int error, void* self);
};

ssize_t UnixClient::State::ReadRequest(nghttp2_session*, int32_t stream, uint8_t* out, size_t length, uint32_t* flags,
                                       nghttp2_data_source*, void* self) {
  ActiveCall* const call = static_cast<State*>(self)->CallOf(stream);
  if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  size_t written = 0;
  if (call->sent < kMessagePrefixLength) {
    const std::string prefix = MessagePrefix(call->request.size()).substr(call->sent, length);
    std::memcpy(out, prefix.data(), prefix.size());
    written = prefix.size();
  }
  if (call->sent + written >= kMessagePrefixLength) {
    const std::string_view rest =
        call->request.substr(call->sent + written - kMessagePrefixLength).substr(0, length - written);
    if (!rest.empty()) std::memcpy(out + written, rest.data(), rest.size());
    written += rest.size();
  }
  call->sent += written;
  if (call->sent == kMessagePrefixLength + call->request.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(written);
}

int UnixClient::State::OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                                const uint8_t* value, size_t value_length, uint8_t, void* self) {
  ActiveCall* const call = static_cast<State*>(self)->CallOf(frame->hd.stream_id);
  if (call == nullptr) return 0;
  const std::string_view key(reinterpret_cast<const char*>(name), name_length);
  const std::string_view text(reinterpret_cast<const char*>(value), value_length);
  if (key == ":status") {
    call->http_status = ParseDecimal<int>(text).value_or(0);
  } else if (key == "grpc-status") {
    call->grpc_status = ParseDecimal<int>(text).value_or(static_cast<int>(absl::StatusCode::kUnknown));
  } else if (key == "grpc-message") {
    call->grpc_message = PercentDecode(text);
  } else if (key == "grpc-status-details-bin") {
    // With or without padding; what is no base64 is no detail.
    if (!absl::Base64Unescape(ToAbsl(text), &call->details)) call->details.clear();
  }
  return 0;
}

int UnixClient::State::OnData(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t length,
                              void* self) {
  ActiveCall* const call = static_cast<State*>(self)->CallOf(stream);
  if (call == nullptr || !call->failure.ok()) return 0;
  call->failure = call->messages.Take(std::string_view(reinterpret_cast<const char*>(data), length), call->on_message);
  return 0;
}

int UnixClient::State::OnStreamClose(nghttp2_session*, int32_t stream, uint32_t error, void* self) {
  if (ActiveCall* const call = static_cast<State*>(self)->CallOf(stream)) {
    call->ended = true;
    call->reset_error = error;
  }
  return 0;
}

// A request after the server's GOAWAY never gets a stream.
int UnixClient::State::OnFrameNotSent(nghttp2_session*, const nghttp2_frame* frame, int error, void* self) {
  ActiveCall* const call = static_cast<State*>(self)->CallOf(frame->hd.stream_id);
  if (call != nullptr && frame->hd.type == NGHTTP2_HEADERS && call->failure.ok())
    call->failure = static_cast<State*>(self)->Lost(nghttp2_strerror(error));
  return 0;
}

absl::Status UnixClient::State::Start() {
  nghttp2_session_callbacks* raw_callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&raw_callbacks) != 0) return absl::ResourceExhaustedError("out of memory");
  const std::unique_ptr<nghttp2_session_callbacks, FreeCallbacks> callbacks(raw_callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks.get(), OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks.get(), OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks.get(), OnStreamClose);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks.get(), OnFrameNotSent);
  nghttp2_session* raw_session = nullptr;
  if (nghttp2_session_client_new(&raw_session, callbacks.get(), this) != 0)
    return absl::ResourceExhaustedError("out of memory");
  session.reset(raw_session);

  const std::array<nghttp2_settings_entry, 3> settings{{{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                                        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindow},
                                                        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrameLengthMax}}};
  if (nghttp2_submit_settings(raw_session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0 ||
      nghttp2_session_set_local_window_size(raw_session, NGHTTP2_FLAG_NONE, 0, kWindow) != 0)
    return absl::InternalError("HTTP/2 settings");
  return absl::OkStatus();
}

absl::Status UnixClient::State::Submit(ActiveCall& active, std::string_view method, TimePoint deadline) {
  std::vector<nghttp2_nv> headers = {
      Header(":method", "POST"),         Header(":scheme", scheme), Header(":path", method),
      Header(":authority", authority),   Header("te", "trailers"),  Header("content-type", "application/grpc"),
      Header("user-agent", "dragonfly"),
  };
  std::string timeout;
  if (deadline != kNoDeadline) {
    timeout = TimeoutHeader(deadline - Clock::now());
    headers.push_back(Header("grpc-timeout", timeout));
  }
  nghttp2_data_provider body{};
  body.read_callback = ReadRequest;
  const int32_t stream = nghttp2_submit_request(session.get(), nullptr, headers.data(), headers.size(), &body, nullptr);
  if (stream < 0) return Lost(nghttp2_strerror(stream));
  active.stream = stream;
  return absl::OkStatus();
}

absl::Status UnixClient::State::SendPending() {
  for (;;) {
    if (unsent.empty()) {
      const uint8_t* data = nullptr;
      const ssize_t length = nghttp2_session_mem_send(session.get(), &data);
      if (length < 0) return Lost(nghttp2_strerror(static_cast<int>(length)));
      if (length == 0) return absl::OkStatus();
      unsent.assign(reinterpret_cast<const char*>(data), static_cast<size_t>(length));
    }
    const absl::StatusOr<size_t> sent = wire->Send(unsent);
    if (!sent.ok()) return Lost(sent.status());
    if (*sent == 0) return absl::OkStatus();
    unsent.erase(0, *sent);
  }
}

absl::Status UnixClient::State::Receive() {
  // Until the socket must be waited for: what TLS has unpacked already, no socket tells.
  for (;;) {
    const absl::StatusOr<std::optional<size_t>> received = wire->Receive(input);
    if (!received.ok()) return Lost(received.status());
    if (!received->has_value()) return absl::OkStatus();
    if (**received == 0) return Lost("closed by the server");
    const ssize_t used = nghttp2_session_mem_recv(session.get(), input.data(), **received);
    if (used < 0) return Lost(nghttp2_strerror(static_cast<int>(used)));
    if (call == nullptr || call->ended || !call->failure.ok()) return absl::OkStatus();
  }
}

absl::Status UnixClient::State::Step(TimePoint deadline) {
  // What can be sent is sent first, but a server that has closed may still have left its answer to be read.
  const absl::Status sent = SendPending();
  if (nghttp2_session_want_read(session.get()) == 0 && nghttp2_session_want_write(session.get()) == 0)
    return Lost("closed by an error of the protocol");
  int timeout = -1;
  if (deadline != kNoDeadline) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return absl::DeadlineExceededError("no answer in time");
    timeout = static_cast<int>(std::min<int64_t>(left, INT_MAX));
  }
  pollfd waited{wire->fd(), static_cast<short>(unsent.empty() ? POLLIN : POLLIN | POLLOUT), 0};
  if (::poll(&waited, 1, timeout) < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
  if ((waited.revents & (POLLIN | POLLHUP | POLLERR)) != 0) return Receive();
  return waited.revents == 0 ? absl::OkStatus() : sent;
}

// Tells the server that nobody listens any more; the connection stays usable.
void UnixClient::State::Abandon(const ActiveCall& active) {
  if (active.ended || active.stream < 0) return;
  nghttp2_submit_rst_stream(session.get(), NGHTTP2_FLAG_NONE, active.stream, NGHTTP2_CANCEL);
  broken = SendPending();
}

absl::StatusOr<std::unique_ptr<UnixClient>> UnixClient::Connect(const std::string& socket_path) {
  DF_ASSIGN_OR_RETURN(UniqueFd fd, ConnectUnixSocket(socket_path));
  auto state = std::make_unique<State>();
  state->path = socket_path;
  state->wire = MakePlainSocket(std::move(fd));
  DF_RETURN_IF_ERROR(state->Start());
  return std::unique_ptr<UnixClient>(new UnixClient(std::move(state)));
}

absl::StatusOr<std::unique_ptr<UnixClient>> UnixClient::ConnectTcp(const std::string& host, int port) {
  DF_ASSIGN_OR_RETURN(UniqueFd fd, ConnectTcpSocket(host, port));
  return Over(MakePlainSocket(std::move(fd)), NameOf(host, port), "http");
}

absl::StatusOr<std::unique_ptr<UnixClient>> UnixClient::Over(std::unique_ptr<ClientSocket> stream, std::string name,
                                                             std::string scheme) {
  auto state = std::make_unique<State>();
  state->authority = name;
  state->path = std::move(name);
  state->scheme = std::move(scheme);
  state->wire = std::move(stream);
  DF_RETURN_IF_ERROR(state->Start());
  return std::unique_ptr<UnixClient>(new UnixClient(std::move(state)));
}

UnixClient::UnixClient(std::unique_ptr<State> state) : state_(std::move(state)) {}

UnixClient::~UnixClient() = default;

absl::Status UnixClient::Call(std::string_view method, std::string_view request,
                              const MessageReader::OnMessage& on_message, TimePoint deadline) {
  if (state_->call != nullptr) return absl::FailedPreconditionError("a call is running on this client");
  if (!state_->broken.ok()) return state_->broken;
  if (request.size() > kMessageLengthMax) return absl::InvalidArgumentError("the request is too long");
  if (deadline <= Clock::now()) return absl::DeadlineExceededError("no time for the call");

  ActiveCall call(request, on_message);
  state_->call = &call;
  absl::Status status = state_->Submit(call, method, deadline);
  while (status.ok() && !call.ended && call.failure.ok()) status = state_->Step(deadline);
  state_->call = nullptr;

  if (!call.failure.ok()) {
    state_->Abandon(call);
    return call.failure;
  }
  if (!status.ok()) {
    if (absl::IsDeadlineExceeded(status))
      state_->Abandon(call);
    else
      state_->broken = status;
    return status;
  }
  if (call.grpc_status == 0 && call.messages.within_message())
    return absl::DataLossError("the server ended the call within a message");
  if (call.grpc_status) return StatusFromWire(*call.grpc_status, call.grpc_message, call.details);
  if (call.reset_error != NGHTTP2_NO_ERROR)
    return absl::Status(CodeOfReset(call.reset_error),
                        StrCat("the server reset the call: ", nghttp2_http2_strerror(call.reset_error)));
  if (call.http_status != 200) return absl::UnknownError(StrCat("the server answered HTTP status ", call.http_status));
  return absl::InternalError("the server ended the call without a status");
}

}  // namespace dragonfly::rpc
