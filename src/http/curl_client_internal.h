// SPDX-License-Identifier: Apache-2.0
// How libcurl and Asio meet: libcurl says by callback which sockets it wants to watch and when it wants to be called
// (State::OnSocket, OnTimer: curl_watch.cc); Asio watches and calls curl_multi_socket_action (State::Act). Each
// transfer lives in the frame of its Run() (curl_client.cc), which sleeps on a timer that also serves deadline, stall
// and pause; whatever changes the transfer cancels that timer. So all removal happens in Run(), never inside a callback
// of libcurl, which forbids it. What a transfer asks for is set by curl_request.cc, what comes in is taken by
// curl_answer.cc. For the client's .cc files only.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/text.h"
#include "http/ca_store.h"
#include "http/curl_client.h"
#include "http/curl_handle.h"
#include "runtime/buffer_pool.h"

namespace dragonfly::http {

// What one recv() may bring. libcurl hands it out in steps of 16 KiB, which are put together again in Transfer::block:
// the copy stays in the cache and costs a tenth of what writing a file in 16 KiB steps does.
inline constexpr long kReadBufferSize = 512 << 10;
static_assert(size_t{kReadBufferSize} <= runtime::kBlockSize);

// One descriptor that libcurl wants to have watched.
struct CurlClient::Socket {
  explicit Socket(boost::asio::io_context& io) : descriptor(io) {}
  boost::asio::posix::stream_descriptor descriptor;
  int wanted = CURL_POLL_NONE;  // CURL_POLL_IN | CURL_POLL_OUT
  bool reading = false;         // a wait is under way
  bool writing = false;
  bool removed = false;
};

// One request under way: lives in the frame of Run(), leaves libcurl when that ends, however it ends.
struct CurlClient::Transfer {
  Transfer(State& state_in, CurlRequest request_in, CurlSink& sink_in);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // For messages.
  std::string What() const { return StrCat(request.method, " ", UrlForMessages(request.url)); }

  void Fail(absl::Status status) {
    if (failure.ok()) failure = std::move(status);
    wake.cancel();
  }

  State& state;
  const CurlRequest request;
  CurlSink& sink;
  EasyHandle easy;
  HeaderList header;
  std::shared_ptr<X509_STORE> ca_store;
  std::string proxy;  // of the environment; empty: none
  OwnAuthorities own_authorities;
  std::array<char, CURL_ERROR_SIZE> error_text{};

  CurlResponse response;
  size_t header_bytes = 0;
  bool header_done = false;

  runtime::Block block;  // body bytes that the sink has not seen
  long buffer_size = 0;  // of libcurl's reads, in bytes
  bool added = false;    // to the multi handle
  size_t filled = 0;
  bool touched = false;  // stands in State::touched

  boost::asio::steady_timer wake;
  TimePoint last_byte_at = Clock::now();
  bool paused = false;
  TimePoint resume_at{};

  absl::Status failure;            // ends the transfer, whatever libcurl says
  std::optional<CURLcode> result;  // libcurl has ended
};

struct CurlClient::State : std::enable_shared_from_this<State> {
  State(boost::asio::io_context& io_in, Networks forbidden_in);
  ~State();

  void MakeMulti();
  absl::Status Start(Transfer& transfer);
  void Remove(Transfer& transfer);
  void Act(curl_socket_t socket, int events);
  void AfterAction();

  // What a transfer asks for: checked, and told to libcurl.
  absl::Status Prepare(Transfer& transfer);
  absl::Status TakeHandle(Transfer& transfer);
  void SetOptions(Transfer& transfer);

  // The body's way to the sink.
  void Resume(Transfer& transfer);
  void Flush(Transfer& transfer);
  void HandOn(Transfer& transfer, std::span<const std::byte> bytes);

  void Watch(const std::shared_ptr<Socket>& socket);
  void OnReady(const std::shared_ptr<Socket>& socket, int event, const boost::system::error_code& error);

  // libcurl's callbacks.
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* user, void* socket);
  static int OnTimer(CURLM* multi, long milliseconds, void* user);
  static curl_socket_t OnOpen(void* user, curlsocktype purpose, curl_sockaddr* address);
  static size_t OnHeader(char* data, size_t size, size_t count, void* user);
  static size_t OnBody(char* data, size_t size, size_t count, void* user);

  boost::asio::io_context& io;
  const Networks forbidden;
  boost::asio::steady_timer timer;
  std::unordered_map<curl_socket_t, std::shared_ptr<Socket>> sockets;
  CaStores ca_stores;
  std::vector<Transfer*> touched;  // got bytes in the running action
  std::vector<EasyHandle> spare;   // reset, with their buffers
  size_t transfers_added = 0;
  bool used = false;    // since CloseIdle()
  bool acting = false;  // inside a call into libcurl that may call back
  ShareHandle share;    // TLS sessions
  MultiHandle multi;
};

}  // namespace dragonfly::http
