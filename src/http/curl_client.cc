// SPDX-License-Identifier: Apache-2.0
#include "http/curl_client.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <cstdlib>

#include "base/status.h"
#include "http/curl_client_internal.h"

namespace dragonfly::http {

namespace asio = boost::asio;

namespace {

constexpr long kConnectionsKept = 64;
constexpr size_t kEasyHandlesKept = 4;

void InitCurlOnce() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    std::fprintf(stderr, "libcurl cannot start: %s\n", curl_easy_strerror(code));
    std::abort();
  }
}

absl::Status StatusOf(CURLcode code, std::string_view text) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError(ToAbsl(text));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
      return absl::UnauthenticatedError(ToAbsl(text));
    default:
      return absl::UnavailableError(ToAbsl(text));
  }
}

}  // namespace

CurlClient::Transfer::Transfer(State& state_in, CurlRequest request_in, CurlSink& sink_in)
    : state(state_in), request(std::move(request_in)), sink(sink_in), wake(state_in.io) {}

CurlClient::Transfer::~Transfer() { state.Remove(*this); }

CurlClient::State::State(asio::io_context& io_in, Networks forbidden_in)
    : io(io_in), forbidden(std::move(forbidden_in)), timer(io_in) {
  InitCurlOnce();
  share.reset(curl_share_init());
  curl_share_setopt(share.get(), CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  MakeMulti();
}

void CurlClient::State::MakeMulti() {
  multi.reset(curl_multi_init());
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETFUNCTION, &State::OnSocket);
  curl_multi_setopt(multi.get(), CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERFUNCTION, &State::OnTimer);
  curl_multi_setopt(multi.get(), CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, kConnectionsKept);
}

CurlClient::State::~State() {
  spare.clear();
  multi.reset();  // closes the kept connections, which may call OnSocket()
  for (auto& [fd, socket] : sockets) socket->descriptor.release();
}

absl::Status CurlClient::State::Start(Transfer& transfer) {
  DF_RETURN_IF_ERROR(Prepare(transfer));
  DF_RETURN_IF_ERROR(TakeHandle(transfer));
  SetOptions(transfer);
  const CURLMcode code = curl_multi_add_handle(multi.get(), transfer.easy.get());
  if (code != CURLM_OK) return absl::InternalError(curl_multi_strerror(code));
  transfer.added = true;
  ++transfers_added;
  used = true;
  return absl::OkStatus();
}

void CurlClient::State::Remove(Transfer& transfer) {
  if (transfer.easy == nullptr) return;
  if (std::exchange(transfer.added, false)) --transfers_added;
  if (transfer.touched) std::erase(touched, &transfer);
  curl_multi_remove_handle(multi.get(), transfer.easy.get());
  if (spare.size() >= kEasyHandlesKept || transfer.buffer_size != kReadBufferSize) return;
  curl_easy_reset(transfer.easy.get());
  spare.push_back(std::move(transfer.easy));
}

void CurlClient::State::Act(curl_socket_t socket, int events) {
  int running = 0;
  acting = true;
  curl_multi_socket_action(multi.get(), socket, events, &running);
  acting = false;
  AfterAction();
}

void CurlClient::State::AfterAction() {
  for (size_t i = 0; i < touched.size(); ++i) {
    touched[i]->touched = false;
    if (!touched[i]->paused) Flush(*touched[i]);
  }
  touched.clear();

  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    char* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    Transfer& transfer = *reinterpret_cast<Transfer*>(owner);
    transfer.result = message->data.result;
    transfer.wake.cancel();
  }
}

CurlClient::CurlClient(asio::io_context& io, Networks forbidden)
    : state_(std::make_shared<State>(io, std::move(forbidden))) {}

CurlClient::~CurlClient() = default;

// libcurl looks at its kept connections only when it needs one.
void CurlClient::CloseIdle() {
  State& state = *state_;
  if (std::exchange(state.used, false) || state.transfers_added > 0 || state.acting) return;
  state.spare.clear();
  state.MakeMulti();
}

asio::awaitable<absl::StatusOr<CurlResponse>> CurlClient::Run(CurlRequest request, CurlSink& sink) {
  const std::shared_ptr<State> state = state_;
  // Spawned from within a sink: libcurl must return first.
  while (state->acting) co_await asio::post(state->io, asio::use_awaitable);

  Transfer transfer(*state, std::move(request), sink);
  const std::string what = transfer.What();
  const absl::Status started = state->Start(transfer);
  if (!started.ok()) co_return Annotate(started, what);

  // Bytes that came before a pause are held back until it ends, also when the transfer has ended meanwhile.
  while (transfer.failure.ok() && (!transfer.result.has_value() || transfer.filled > 0)) {
    const TimePoint now = Clock::now();
    if (now >= transfer.request.deadline) {
      co_return absl::DeadlineExceededError(StrCat(what, ": the deadline has passed"));
    }
    if (transfer.paused && now >= transfer.resume_at) {
      state->Resume(transfer);
      continue;
    }
    const TimePoint stalled_at = transfer.last_byte_at + transfer.request.stall_timeout;
    if (!transfer.paused && now >= stalled_at) {
      co_return absl::UnavailableError(StrCat(what, ": no byte for ", transfer.request.stall_timeout.count(), " ms"));
    }
    transfer.wake.expires_at(std::min(transfer.request.deadline, transfer.paused ? transfer.resume_at : stalled_at));
    boost::system::error_code woken;
    co_await transfer.wake.async_wait(asio::redirect_error(asio::use_awaitable, woken));
    const asio::cancellation_state cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
  }
  if (!transfer.failure.ok()) co_return transfer.failure;
  if (*transfer.result != CURLE_OK) {
    const char* own = transfer.error_text.data();
    const std::string_view text = own[0] != '\0' ? own : curl_easy_strerror(*transfer.result);
    co_return Annotate(StatusOf(*transfer.result, text), what);
  }
  co_return std::move(transfer.response);
}

}  // namespace dragonfly::http
