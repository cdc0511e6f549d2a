// SPDX-License-Identifier: Apache-2.0
#include "http/server.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "http/server_tls.h"
#include "http/status_text.h"
#include "runtime/acceptor.h"
#include "runtime/task_group.h"
#include "telemetry/log.h"

namespace dragonfly::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace beast_http = boost::beast::http;
using asio::ip::tcp;

namespace {

using BeastRequest = beast_http::request<beast_http::string_body>;
using BeastResponse = beast_http::response<beast_http::string_body>;

// How much, and for how long, is read of a refused request before the connection is closed.
constexpr size_t kLingerBytesMax = 1 << 20;
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::seconds kHandshakeTime{10};

// The status that tells the client what was wrong with its request; 0 when the connection itself has failed.
int StatusForReadError(const beast::error_code& error) {
  if (error == beast_http::error::header_limit || error == beast_http::error::buffer_overflow) return 431;
  if (error == beast_http::error::body_limit) return 413;
  if (error == beast_http::error::end_of_stream || error == beast_http::error::partial_message) return 0;
  return error.category() == make_error_code(beast_http::error::bad_method).category() ? 400 : 0;
}

BeastResponse MakeAnswer(Response&& response, unsigned version, bool keep_alive) {
  BeastResponse answer(static_cast<beast_http::status>(response.status), version);
  answer.set(beast_http::field::content_type, response.content_type);
  for (const auto& [name, value] : response.header) answer.insert(name, value);
  answer.body() = std::move(response.body);
  answer.keep_alive(keep_alive);
  answer.prepare_payload();
  return answer;
}

}  // namespace

std::string_view Request::Find(std::string_view name) const {
  for (const auto& [have, value] : header)
    if (have == name) return value;
  return {};
}

struct Server::State {
  State(const ServerOptions& options_in, asio::io_context& io_in, Handler handle_in)
      : options(options_in), handle(std::move(handle_in)), io(io_in), tasks(io.get_executor()) {}

  absl::Status Listen();
  void Admit(UniqueFd fd, const sockaddr_storage& address);
  asio::awaitable<void> Serve(tcp::socket socket);
  asio::awaitable<void> ServeTls(beast::tcp_stream stream, std::string client);
  // Until the client or we have had enough; true when a request was refused and unread bytes may be left.
  template <typename Stream>
  asio::awaitable<bool> Converse(Stream& stream, std::string client, bool encrypted);
  template <typename Stream>
  asio::awaitable<void> Linger(Stream& stream);
  asio::awaitable<Response> Answer(Request request);

  const ServerOptions options;
  const Handler handle;
  std::unique_ptr<TlsContexts> tls;  // null: plaintext
  asio::io_context& io;
  std::unique_ptr<runtime::Acceptor> acceptor;
  uint16_t port = 0;
  runtime::TaskGroup tasks;
};

absl::Status Server::State::Listen() {
  boost::system::error_code error;
  const asio::ip::address address = asio::ip::make_address(options.ip, error);
  if (error) return absl::InvalidArgumentError(StrCat("listen on ", Quoted(options.ip), ": not an IP address"));
  const tcp::endpoint endpoint(address, options.port);
  tcp::acceptor listening(io);
  listening.open(endpoint.protocol(), error);
  if (!error) listening.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) listening.bind(endpoint, error);
  if (!error) listening.listen(asio::socket_base::max_listen_connections, error);
  if (!error) listening.non_blocking(true, error);
  if (!error) port = listening.local_endpoint(error).port();
  if (error) return ErrnoStatus(error.value(), StrCat("listen on ", options.ip, " port ", options.port));
  runtime::Acceptor::Options accepting;
  accepting.report = [at = port](const absl::Status& status) {
    DF_LOG(Warn, "connections to port {}: {}", at, MessageOf(status));
  };
  acceptor = std::make_unique<runtime::Acceptor>(
      io, UniqueFd(listening.release()), std::move(accepting),
      [this](UniqueFd fd, const sockaddr_storage& client) { Admit(std::move(fd), client); });
  return absl::OkStatus();
}

void Server::State::Admit(UniqueFd fd, const sockaddr_storage& address) {
  if (tasks.size() >= options.connections_max) return;
  tcp::socket socket(io);
  boost::system::error_code error;
  socket.assign(address.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), fd.get(), error);
  if (error) return;
  fd.Release();
  tasks.Spawn(Serve(std::move(socket)));
}

asio::awaitable<Response> Server::State::Answer(Request request) {
  const std::string what = StrCat(request.method, " ", Quoted(request.target));
  try {
    co_return co_await handle(std::move(request));
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;  // Stop()
    DF_LOG(Error, "{}: {}", what, error.what());
  } catch (const std::exception& error) {
    DF_LOG(Error, "{}: {}", what, error.what());
  }
  Response failed;
  failed.status = 500;
  failed.body = "internal error\n";
  co_return failed;
}

// Reads on for a while after the answer to a refused request: closing with unread bytes would reset the connection, and
// the client might never see why.
template <typename Stream>
asio::awaitable<void> Server::State::Linger(Stream& stream) {
  beast::error_code error;
  std::vector<char> ignored(16 << 10);
  beast::get_lowest_layer(stream).expires_after(std::min<std::chrono::milliseconds>(options.idle_timeout, kLingerTime));
  for (size_t left = kLingerBytesMax; !error && left > 0;) {
    const size_t got =
        co_await stream.async_read_some(asio::buffer(ignored), asio::redirect_error(asio::use_awaitable, error));
    left -= std::min(left, got);
  }
}

asio::awaitable<void> Server::State::Serve(tcp::socket socket) {
  beast::error_code error;
  socket.set_option(tcp::no_delay(true), error);
  const tcp::endpoint remote = socket.remote_endpoint(error);
  const std::string client = error ? "" : remote.address().to_string();
  beast::tcp_stream stream(std::move(socket));
  if (tls != nullptr) {
    co_await ServeTls(std::move(stream), client);
    co_return;
  }
  const bool refused = co_await Converse(stream, client, /*encrypted=*/false);
  stream.socket().shutdown(tcp::socket::shutdown_send, error);
  if (refused) co_await Linger(stream);
}

asio::awaitable<void> Server::State::ServeTls(beast::tcp_stream plain, std::string client) {
  beast::error_code error;
  // Held as long as the connection: a newer one may take its place meanwhile.
  const std::shared_ptr<asio::ssl::context> context = tls->Current();
  beast::ssl_stream<beast::tcp_stream> stream(std::move(plain), *context);
  beast::get_lowest_layer(stream).expires_after(
      std::min<std::chrono::milliseconds>(options.idle_timeout, kHandshakeTime));
  co_await stream.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return;
  const bool refused = co_await Converse(stream, std::move(client), /*encrypted=*/true);
  if (refused) co_await Linger(stream);
  beast::get_lowest_layer(stream).expires_after(std::min<std::chrono::milliseconds>(options.idle_timeout, kLingerTime));
  co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
}

template <typename Stream>
asio::awaitable<bool> Server::State::Converse(Stream& stream, std::string client, bool encrypted) {
  beast::error_code error;
  auto& transport = beast::get_lowest_layer(stream);
  beast::flat_buffer buffer;  // may hold the beginning of the next request

  bool refused = false;
  for (bool keep_alive = true; keep_alive;) {
    beast_http::request_parser<beast_http::string_body> parser;
    parser.header_limit(options.header_max);
    parser.body_limit(options.body_max);
    transport.expires_after(options.idle_timeout);
    co_await beast_http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    if (!error && beast::iequals(parser.get()[beast_http::field::expect], "100-continue")) {
      const beast_http::response<beast_http::empty_body> go_on(beast_http::status::continue_, parser.get().version());
      co_await beast_http::async_write(stream, go_on, asio::redirect_error(asio::use_awaitable, error));
    }
    if (!error)
      co_await beast_http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));

    Response response;
    unsigned version = 11;
    bool head = false;
    if (error) {
      response.status = StatusForReadError(error);
      if (response.status == 0) break;
      response.body = StrCat(StatusText(response.status), "\n");
      keep_alive = false;
      refused = true;
    } else {
      BeastRequest message = parser.release();
      version = message.version();
      keep_alive = message.keep_alive();
      head = message.method() == beast_http::verb::head;
      Request request;
      request.method = head ? "GET" : std::string(message.method_string());
      request.target = std::string(message.target());
      for (const auto& field : message) {
        request.header.emplace_back(
            ToLowerAscii(std::string_view(field.name_string().data(), field.name_string().size())),
            std::string(field.value()));
      }
      request.body = std::move(message.body());
      request.client = client;
      request.tls = encrypted;
      response = co_await Answer(std::move(request));
    }

    transport.expires_after(options.idle_timeout);
    const BeastResponse answer = MakeAnswer(std::move(response), version, keep_alive);
    if (head) {
      beast_http::response_serializer<beast_http::string_body> serializer(answer);
      co_await beast_http::async_write_header(stream, serializer, asio::redirect_error(asio::use_awaitable, error));
    } else {
      co_await beast_http::async_write(stream, answer, asio::redirect_error(asio::use_awaitable, error));
    }
    if (error) break;
  }
  co_return refused;
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, runtime::IoThreads& io,
                                                      Handler handle) {
  auto state = std::make_shared<State>(options, io.Next(), std::move(handle));
  if (options.tls.enabled()) {
    DF_ASSIGN_OR_RETURN(state->tls, TlsContexts::Make(options.tls));
  }
  DF_RETURN_IF_ERROR(state->Listen());
  state->acceptor->Start();
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() = default;

uint16_t Server::port() const { return state_->port; }

asio::awaitable<void> Server::Stop() {
  const std::shared_ptr<State> state = state_;
  co_await state->acceptor->Stop();
  co_await state->tasks.Stop();
}

}  // namespace dragonfly::http
