// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/http2_session.h"

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/cancellation_state.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/message_reader.h"
#include "runtime/signal.h"
#include "runtime/task_group.h"
#include "telemetry/log.h"

namespace dragonfly::daemon::proxy {

namespace asio = boost::asio;

namespace {

constexpr uint32_t kStreamsMax = 100;
constexpr size_t kReadStep = 16 << 10;
// Bytes after which a client that never pauses lets its answers, and others, have their turn.
constexpr size_t kBytesPerTurn = 256 << 10;
constexpr size_t kBodyStep = 64 << 10;
// Streams that the client gave up, beyond those that were answered, before the connection is (CVE-2023-44487).
constexpr uint64_t kResetsMax = 200;

nghttp2_nv MakeField(const std::string& name, const std::string& value) {
  // nghttp2 copies both.
  nghttp2_nv field{};
  field.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data()));
  field.namelen = name.size();
  field.value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data()));
  field.valuelen = value.size();
  return field;
}

// One stream, from both sides.
struct Http2Exchange {
  int32_t id = 0;
  // Of the request.
  std::string method, path, authority, cookie;
  Fields fields;
  size_t header_size = 0;
  bool has_body = false;
  std::string body;  // came from the client, is on its way to the handler
  bool body_ended = false;
  // Of the answer.
  std::string answer;  // the part that is being sent
  size_t answer_sent = 0;
  bool answer_ended = false;
  bool closed = false;  // the client, or the session, has done with it
  runtime::Signal changed;
  std::unique_ptr<Stream> bridge;
};
using ExchangePtr = std::shared_ptr<Http2Exchange>;

class Session {
 public:
  Session(asio::io_context& io, const Http2Requests& requests, Stream& stream)
      : io_(io), requests_(requests), stream_(stream), group_(io.get_executor()) {}
  ~Session() { nghttp2_session_del(session_); }

  bool Begin();
  asio::awaitable<void> Run();

 private:
  asio::awaitable<void> Read();
  asio::awaitable<void> WriteLoop();
  asio::awaitable<void> Answer(ExchangePtr exchange);
  asio::awaitable<absl::Status> Bridge(Http2Exchange& exchange);
  asio::awaitable<absl::Status> SendRequest(Http2Exchange& exchange);
  asio::awaitable<void> ServeInner(UniqueFd fd);

  void Started(const ExchangePtr& exchange);
  ExchangePtr Find(int32_t id) const {
    const auto it = exchanges_.find(id);
    return it == exchanges_.end() ? nullptr : it->second;
  }

  static Session& Of(void* user) { return *static_cast<Session*>(user); }
  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                      const uint8_t* value, size_t value_length, uint8_t, void* user);
  static int OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t length, void* user);
  static int OnClose(nghttp2_session*, int32_t id, uint32_t code, void* user);
  static ssize_t ReadAnswer(nghttp2_session*, int32_t id, uint8_t* out, size_t length, uint32_t* flags,
                            nghttp2_data_source* source, void* user);

  asio::io_context& io_;
  const Http2Requests& requests_;
  Stream& stream_;
  runtime::TaskGroup group_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, ExchangePtr> exchanges_;
  runtime::Signal writable_;  // there may be something to write
  runtime::Signal ended_;     // broken_ was set
  bool broken_ = false;       // nothing more is read or written
  uint64_t answered_ = 0;
  uint64_t resets_ = 0;
};

bool Session::Begin() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_option* option = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) return false;
  if (nghttp2_option_new(&option) != 0) {
    nghttp2_session_callbacks_del(callbacks);
    return false;
  }
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
  // The client may send more when what it has sent has been passed on.
  nghttp2_option_set_no_auto_window_update(option, 1);
  const int made = nghttp2_session_server_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  if (made != 0) return false;
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kStreamsMax},
                                             {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeadMax},
                                             {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 0}};
  return nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)) == 0;
}

int Session::OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  auto exchange = std::make_shared<Http2Exchange>();
  exchange->id = frame->hd.stream_id;
  Of(user).exchanges_[exchange->id] = std::move(exchange);
  return 0;
}

int Session::OnHeader(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_length,
                      const uint8_t* value, size_t value_length, uint8_t, void* user) {
  // Trailers are dropped.
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  const ExchangePtr exchange = Of(user).Find(frame->hd.stream_id);
  if (exchange == nullptr) return 0;
  const std::string_view key(reinterpret_cast<const char*>(name), name_length);
  const std::string_view text(reinterpret_cast<const char*>(value), value_length);
  exchange->header_size += key.size() + text.size() + 4;
  if (exchange->header_size > kHeadMax / 2) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (key == ":method") {
    exchange->method = text;
  } else if (key == ":path") {
    exchange->path = text;
  } else if (key == ":authority") {
    exchange->authority = text;
  } else if (key == "host") {
    if (exchange->authority.empty()) exchange->authority = text;
  } else if (key == "cookie") {
    // RFC 9113 §8.2.3: in pieces, which are one field elsewhere.
    exchange->cookie += exchange->cookie.empty() ? text : StrCat("; ", text);
  } else if (!key.starts_with(':') && key != "transfer-encoding" && key != "connection") {
    exchange->fields.Add(key, text);
  }
  return 0;
}

int Session::OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Session& self = Of(user);
  const bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  const ExchangePtr exchange = self.Find(frame->hd.stream_id);
  if (exchange == nullptr) return 0;
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    if (exchange->method.empty() || !exchange->path.starts_with('/')) {
      return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, exchange->id, NGHTTP2_PROTOCOL_ERROR);
    }
    exchange->has_body = !ends;
    self.Started(exchange);
  }
  if (ends && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)) {
    exchange->body_ended = true;
    exchange->changed.Notify();
  }
  return 0;
}

int Session::OnData(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t length, void* user) {
  Session& self = Of(user);
  if (const ExchangePtr exchange = self.Find(id)) {
    exchange->body.append(reinterpret_cast<const char*>(data), length);
    exchange->changed.Notify();
  } else {
    nghttp2_session_consume_connection(self.session_, length);
  }
  return 0;
}

int Session::OnClose(nghttp2_session*, int32_t id, uint32_t, void* user) {
  Session& self = Of(user);
  const ExchangePtr exchange = self.Find(id);
  if (exchange == nullptr) return 0;
  // Not by the code, which a client may choose as it likes.
  const bool answered = exchange->answer_ended && exchange->answer_sent == exchange->answer.size();
  ++(answered ? self.answered_ : self.resets_);
  exchange->closed = true;
  // What was not passed on must not count against the connection for ever.
  if (!exchange->body.empty()) nghttp2_session_consume_connection(self.session_, exchange->body.size());
  exchange->body.clear();
  // The handler sees that nobody wants the answer any more.
  if (exchange->bridge) ::shutdown(exchange->bridge->fd(), SHUT_RDWR);
  exchange->changed.Notify();
  self.exchanges_.erase(id);
  if (self.resets_ > kResetsMax + self.answered_) {
    return nghttp2_session_terminate_session(self.session_, NGHTTP2_ENHANCE_YOUR_CALM);
  }
  return 0;
}

ssize_t Session::ReadAnswer(nghttp2_session*, int32_t, uint8_t* out, size_t length, uint32_t* flags,
                            nghttp2_data_source* source, void*) {
  Http2Exchange& exchange = *static_cast<Http2Exchange*>(source->ptr);
  const size_t take = std::min(length, exchange.answer.size() - exchange.answer_sent);
  if (take == 0 && !exchange.answer_ended) return NGHTTP2_ERR_DEFERRED;
  std::memcpy(out, exchange.answer.data() + exchange.answer_sent, take);
  exchange.answer_sent += take;
  if (exchange.answer_sent == exchange.answer.size()) {
    if (exchange.answer_ended) *flags |= NGHTTP2_DATA_FLAG_EOF;
    exchange.changed.Notify();
  }
  return static_cast<ssize_t>(take);
}

void Session::Started(const ExchangePtr& exchange) {
  int pair[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, exchange->id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  exchange->bridge = std::make_unique<Stream>(io_, UniqueFd(pair[0]));
  group_.Spawn(ServeInner(UniqueFd(pair[1])));
  group_.Spawn(Answer(exchange));
}

asio::awaitable<void> Session::ServeInner(UniqueFd fd) {
  Stream served(io_, std::move(fd));
  co_await requests_(served);
}

asio::awaitable<absl::Status> Session::SendRequest(Http2Exchange& exchange) {
  RequestHead head;
  head.method = exchange.method;
  head.target = exchange.path;
  head.fields = exchange.fields;
  head.fields.Add("Host", exchange.authority);
  if (!exchange.cookie.empty()) head.fields.Add("Cookie", exchange.cookie);
  head.fields.Remove("te");
  head.fields.Remove("expect");
  if (exchange.has_body && !head.fields.Find("content-length")) head.fields.Add("Transfer-Encoding", "chunked");
  const bool chunked = head.fields.Find("transfer-encoding").has_value();
  DF_CO_RETURN_IF_ERROR(co_await exchange.bridge->Write(Serialise(head)));
  while (exchange.has_body) {
    const uint64_t seen = exchange.changed.version();
    if (exchange.closed) co_return absl::CancelledError("the client gave the stream up");
    if (exchange.body.empty()) {
      if (exchange.body_ended) break;
      co_await exchange.changed.Wait(seen);
      continue;
    }
    const std::string part = std::exchange(exchange.body, std::string());
    if (chunked) DF_CO_RETURN_IF_ERROR(co_await exchange.bridge->Write(absl::StrFormat("%x\r\n", part.size())));
    DF_CO_RETURN_IF_ERROR(co_await exchange.bridge->Write(part));
    if (chunked) DF_CO_RETURN_IF_ERROR(co_await exchange.bridge->Write(std::string_view("\r\n")));
    if (!exchange.closed) nghttp2_session_consume(session_, exchange.id, part.size());
    writable_.Notify();
  }
  if (chunked) DF_CO_RETURN_IF_ERROR(co_await exchange.bridge->Write(std::string_view("0\r\n\r\n")));
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Session::Bridge(Http2Exchange& exchange) {
  exchange.bridge->SetPatience(std::chrono::minutes(10));
  const absl::Status sent = co_await SendRequest(exchange);
  MessageReader reader(*exchange.bridge);
  bool begun = false;
  absl::StatusOr<ResponseHead> head = co_await reader.ReadResponse(exchange.method, begun);
  if (!head.ok()) co_return sent.ok() ? head.status() : sent;
  if (exchange.closed) co_return absl::OkStatus();

  head->fields.RemoveHopByHop();
  std::vector<std::pair<std::string, std::string>> texts = {{":status", std::to_string(head->status)}};
  for (const auto& [name, value] : head->fields.entries()) texts.emplace_back(ToLowerAscii(name), value);
  std::vector<nghttp2_nv> fields;
  for (const auto& [name, value] : texts) fields.push_back(MakeField(name, value));
  exchange.answer_ended = reader.body_done();
  nghttp2_data_provider provider{};
  provider.source.ptr = &exchange;
  provider.read_callback = ReadAnswer;
  nghttp2_submit_response(session_, exchange.id, fields.data(), fields.size(),
                          exchange.answer_ended ? nullptr : &provider);
  writable_.Notify();
  while (!exchange.answer_ended && !exchange.closed) {
    std::string part(kBodyStep, '\0');
    const std::span<std::byte> room = std::as_writable_bytes(std::span(part.data(), part.size()));
    DF_CO_ASSIGN_OR_RETURN(const size_t got, co_await reader.ReadBody(room));
    if (exchange.closed) break;
    part.resize(got);
    exchange.answer = std::move(part);
    exchange.answer_sent = 0;
    exchange.answer_ended = reader.body_done();
    nghttp2_session_resume_data(session_, exchange.id);
    writable_.Notify();
    for (;;) {
      const uint64_t seen = exchange.changed.version();
      if (exchange.closed || exchange.answer_sent == exchange.answer.size()) break;
      co_await exchange.changed.Wait(seen);
    }
  }
  co_return absl::OkStatus();
}

asio::awaitable<void> Session::Answer(ExchangePtr exchange) {
  const absl::Status status = co_await Bridge(*exchange);
  if (status.ok() && !exchange->closed && exchange->has_body && !exchange->body_ended) {
    // Answered without all of the body: the client need not send the rest (RFC 9113 §8.1).
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, exchange->id, NGHTTP2_NO_ERROR);
    writable_.Notify();
  } else if (!status.ok() && !exchange->closed) {
    DF_LOG(Debug, "proxy: HTTP/2 stream: {}", status.ToString());
    // An answer that is not whole must not look as if it were.
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, exchange->id, NGHTTP2_INTERNAL_ERROR);
    writable_.Notify();
  }
  // The provider refers to the exchange until nghttp2 has done with the stream.
  for (;;) {
    const uint64_t seen = exchange->changed.version();
    if (exchange->closed) break;
    co_await exchange->changed.Wait(seen);
  }
}

asio::awaitable<void> Session::WriteLoop() {
  for (;;) {
    const uint64_t seen = writable_.version();
    const uint8_t* bytes = nullptr;
    const ssize_t length = nghttp2_session_mem_send(session_, &bytes);
    if (length < 0) break;
    if (length > 0) {
      const std::span<const std::byte> out(reinterpret_cast<const std::byte*>(bytes), static_cast<size_t>(length));
      if (!(co_await stream_.Write(out)).ok()) break;
      continue;
    }
    // After GOAWAY, when the last answer has gone.
    const bool done = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
    if (broken_ || done) break;
    co_await writable_.Wait(seen);
  }
  broken_ = true;
  ended_.Notify();
  // Wakes the reader, whatever it waits for now or would wait for next.
  stream_.SetDeadline(Clock::now());
  stream_.Interrupt();
}

asio::awaitable<void> Session::Read() {
  std::vector<uint8_t> buffer(kReadStep);
  size_t turn = 0;
  while (!broken_) {
    const absl::StatusOr<size_t> got = co_await stream_.ReadSome(std::as_writable_bytes(std::span(buffer)));
    if (absl::IsDeadlineExceeded(got.status()) && !exchanges_.empty()) continue;
    if (!got.ok() || *got == 0) co_return;
    if (nghttp2_session_mem_recv(session_, buffer.data(), *got) < 0) co_return;
    writable_.Notify();
    if (nghttp2_session_want_read(session_) == 0) {
      // What is left is said by WriteLoop.
      while (!broken_) co_await ended_.Wait(ended_.version());
    }
    if ((turn += *got) < kBytesPerTurn) continue;
    turn = 0;
    co_await asio::post(asio::use_awaitable);
  }
}

asio::awaitable<void> Session::Run() {
  group_.Spawn(WriteLoop());
  std::exception_ptr cancelled;
  try {
    co_await Read();
  } catch (...) {
    cancelled = std::current_exception();  // the owner stops
  }
  broken_ = true;
  // Nothing may outlive this object.
  co_await asio::this_coro::throw_if_cancelled(false);
  co_await group_.Stop();
  if (cancelled) std::rethrow_exception(cancelled);
  co_await asio::this_coro::throw_if_cancelled(true);
  // What the client has sent meanwhile must not destroy the end of what it was sent.
  co_await stream_.CloseGently();
}

}  // namespace

asio::awaitable<void> ServeHttp2(asio::io_context& io, const Http2Requests& requests, Stream& stream) {
  stream.SetPatience(std::chrono::seconds(75));
  Session session(io, requests, stream);
  if (!session.Begin()) co_return;
  co_await session.Run();
}

}  // namespace dragonfly::daemon::proxy
