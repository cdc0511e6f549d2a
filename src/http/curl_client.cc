// SPDX-License-Identifier: Apache-2.0
// How libcurl and Asio meet: libcurl says by callback which sockets it wants to watch and when it wants to be called
// (State::OnSocket, OnTimer); Asio watches and calls curl_multi_socket_action (State::Act). Each transfer lives in the
// frame of its Run(), which sleeps on a timer that also serves deadline, stall and pause; whatever changes the transfer
// cancels that timer. So all removal happens in Run(), never inside a callback of libcurl, which forbids it.
#include "http/curl_client.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "http/ca_store.h"
#include "http/curl_handle.h"
#include "http/environment_proxy.h"
#include "http/status_text.h"
#include "runtime/buffer_pool.h"

namespace dragonfly::http {

namespace asio = boost::asio;

namespace {

// What one recv() may bring. libcurl hands it out in steps of 16 KiB, which are put together again in Transfer::block:
// the copy stays in the cache and costs a tenth of what writing a file in 16 KiB steps does.
constexpr long kReadBufferSize = 512 << 10;
static_assert(size_t{kReadBufferSize} <= runtime::kBlockSize);

// All running transfers of a client share about this much, in a harmonic series: many transfers get small buffers.
constexpr size_t kReadBuffersShared = 2 << 20;
constexpr long kReadBufferSizeMin = 16 << 10;
// So many transfers gather what one action brings; others hand it on as it comes.
constexpr size_t kGatheringMax = 2;

// For one more transfer beside `others`.
long ReadBufferSize(size_t others) {
  return std::clamp(static_cast<long>(kReadBuffersShared / (others + 1)), kReadBufferSizeMin, kReadBufferSize);
}

constexpr long kConnectionsKept = 64;
constexpr size_t kEasyHandlesKept = 4;

void InitCurlOnce() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    std::fprintf(stderr, "libcurl cannot start: %s\n", curl_easy_strerror(code));
    std::abort();
  }
}

bool HasLineBreak(std::string_view text) { return text.find_first_of(std::string_view("\r\n\0", 3)) != text.npos; }

// RFC 9110 §5.6.2.
bool IsToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || std::strchr("!#$%&'*+-.^_`|~", c) != nullptr;
  });
}

absl::StatusOr<HeaderList> MakeHeaderList(const std::vector<std::pair<std::string, std::string>>& header,
                                          bool has_body) {
  HeaderList list;
  const auto append = [&list](const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    list.release();
    list.reset(longer);
    return true;
  };
  bool names_encoding = false;
  for (const auto& [name, value] : header) {
    if (!IsToken(name)) return absl::InvalidArgumentError("not a header name");
    if (HasLineBreak(value)) return absl::InvalidArgumentError(StrCat("header ", name, ": line break in its value"));
    names_encoding = names_encoding || EqualsIgnoreCase(name, "accept-encoding");
    const std::string_view text = TrimSpace(value);
    // "Name:" would take a header of libcurl's own away; "Name;" sends an empty one.
    if (!append(text.empty() ? StrCat(name, ";") : StrCat(name, ": ", text))) {
      return absl::ResourceExhaustedError("no memory for the headers");
    }
  }
  if (!names_encoding && !append("Accept-Encoding: identity")) {
    return absl::ResourceExhaustedError("no memory for the headers");
  }
  // libcurl asks before it sends a body of more than 1 KiB, and waits a second where nobody answers that.
  if (has_body && !append("Expect:")) {
    return absl::ResourceExhaustedError("no memory for the headers");
  }
  return list;
}

// "HTTP/1.1 404 Not Found"
void ParseStatusLine(std::string_view line, CurlResponse& response) {
  const size_t code_at = line.find(' ');
  if (code_at == line.npos) return;
  const std::string_view rest = TrimSpace(line.substr(code_at));
  response.status = ParseDecimal<int>(rest.substr(0, 3)).value_or(0);
  const std::string_view reason = rest.size() > 3 ? TrimSpace(rest.substr(3)) : "";
  response.status_text = StatusText(response.status, reason);
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

absl::Status ForbiddenAddress(const asio::ip::address& address) {
  return absl::PermissionDeniedError(StrCat("it leads to ", address.to_string(), ", which is in a forbidden network"));
}

// nullopt: of another family than IPv4 and IPv6.
std::optional<asio::ip::address> AddressOf(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(address);
    return asio::ip::address_v4(ntohl(v4->sin_addr.s_addr));
  }
  if (address->sa_family != AF_INET6) return std::nullopt;
  asio::ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, bytes.size());
  return asio::ip::address_v6(bytes);
}

CURLcode UseCaStore(CURL* /*easy*/, void* ssl_context, void* store) {
  SSL_CTX_set1_cert_store(static_cast<SSL_CTX*>(ssl_context), static_cast<X509_STORE*>(store));
  return CURLE_OK;
}

}  // namespace

std::optional<std::string> CurlResponse::Find(std::string_view name) const {
  for (const auto& [key, value] : header) {
    if (key == name) return value;
  }
  return std::nullopt;
}

// One descriptor that libcurl wants to have watched.
struct CurlClient::Socket {
  explicit Socket(asio::io_context& io) : descriptor(io) {}
  asio::posix::stream_descriptor descriptor;
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

  asio::steady_timer wake;
  TimePoint last_byte_at = Clock::now();
  bool paused = false;
  TimePoint resume_at{};

  absl::Status failure;            // ends the transfer, whatever libcurl says
  std::optional<CURLcode> result;  // libcurl has ended
};

struct CurlClient::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io_in, Networks forbidden_in);
  ~State();

  absl::Status Start(Transfer& transfer);
  void Remove(Transfer& transfer);
  void Act(curl_socket_t socket, int events);
  void Resume(Transfer& transfer);
  void AfterAction();
  void Flush(Transfer& transfer);
  void MakeMulti();
  void HandOn(Transfer& transfer, std::span<const std::byte> bytes);
  void Watch(const std::shared_ptr<Socket>& socket);
  void OnReady(const std::shared_ptr<Socket>& socket, int event, const boost::system::error_code& error);

  // libcurl's callbacks.
  static int OnSocket(CURL* easy, curl_socket_t fd, int what, void* user, void* socket);
  static int OnTimer(CURLM* multi, long milliseconds, void* user);
  static curl_socket_t OnOpen(void* user, curlsocktype purpose, curl_sockaddr* address);
  static size_t OnHeader(char* data, size_t size, size_t count, void* user);
  static size_t OnBody(char* data, size_t size, size_t count, void* user);

  asio::io_context& io;
  const Networks forbidden;
  asio::steady_timer timer;
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

// ---- libcurl asks for something to be watched ----

int CurlClient::State::OnSocket(CURL* /*easy*/, curl_socket_t fd, int what, void* user, void* /*socket*/) {
  State& state = *static_cast<State*>(user);
  auto found = state.sockets.find(fd);
  if (what == CURL_POLL_REMOVE) {
    if (found == state.sockets.end()) return 0;
    const std::shared_ptr<Socket> socket = std::move(found->second);
    state.sockets.erase(found);
    socket->removed = true;
    socket->descriptor.release();  // libcurl closes or keeps it
    return 0;
  }
  if (found == state.sockets.end()) {
    auto socket = std::make_shared<Socket>(state.io);
    boost::system::error_code error;
    socket->descriptor.assign(fd, error);
    // Not watched (the kernel is out of memory for it): the transfer ends by its stall timeout.
    if (error) return 0;
    found = state.sockets.emplace(fd, std::move(socket)).first;
  }
  found->second->wanted = what;
  state.Watch(found->second);
  return 0;
}

void CurlClient::State::Watch(const std::shared_ptr<Socket>& socket) {
  if ((socket->wanted & CURL_POLL_IN) != 0 && !socket->reading) {
    socket->reading = true;
    socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                  [self = weak_from_this(), socket](const boost::system::error_code& error) {
                                    socket->reading = false;
                                    if (auto state = self.lock()) state->OnReady(socket, CURL_CSELECT_IN, error);
                                  });
  }
  if ((socket->wanted & CURL_POLL_OUT) != 0 && !socket->writing) {
    socket->writing = true;
    socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                  [self = weak_from_this(), socket](const boost::system::error_code& error) {
                                    socket->writing = false;
                                    if (auto state = self.lock()) state->OnReady(socket, CURL_CSELECT_OUT, error);
                                  });
  }
}

void CurlClient::State::OnReady(const std::shared_ptr<Socket>& socket, int event,
                                const boost::system::error_code& error) {
  if (socket->removed || error == asio::error::operation_aborted) return;
  const int poll_bit = event == CURL_CSELECT_IN ? CURL_POLL_IN : CURL_POLL_OUT;
  if ((socket->wanted & poll_bit) == 0) return;  // not wanted any more; OnSocket() starts the next wait
  Act(socket->descriptor.native_handle(), error ? CURL_CSELECT_ERR : event);
  if (!socket->removed) Watch(socket);
}

int CurlClient::State::OnTimer(CURLM* /*multi*/, long milliseconds, void* user) {
  State& state = *static_cast<State*>(user);
  if (milliseconds < 0) {
    state.timer.cancel();
    return 0;
  }
  state.timer.expires_after(std::chrono::milliseconds(milliseconds));
  state.timer.async_wait([self = state.weak_from_this()](const boost::system::error_code& error) {
    if (error) return;
    if (auto locked = self.lock()) locked->Act(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

// ---- something has happened ----

void CurlClient::State::Act(curl_socket_t socket, int events) {
  int running = 0;
  acting = true;
  curl_multi_socket_action(multi.get(), socket, events, &running);
  acting = false;
  AfterAction();
}

void CurlClient::State::Resume(Transfer& transfer) {
  transfer.paused = false;
  transfer.last_byte_at = Clock::now();
  Flush(transfer);  // what had come before the pause began, which may ask for the next
  if (transfer.paused || transfer.result.has_value() || !transfer.failure.ok()) return;
  acting = true;
  curl_easy_pause(transfer.easy.get(), CURLPAUSE_CONT);
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

// Hands the collected bytes to the sink.
void CurlClient::State::Flush(Transfer& transfer) {
  if (transfer.filled == 0 || !transfer.failure.ok()) return;
  const size_t size = std::exchange(transfer.filled, 0);
  // The next transfer that reads takes the same block, so that a thousand open transfers do not hold one each.
  const runtime::Block block = std::move(transfer.block);
  HandOn(transfer, block.span().first(size));
}

void CurlClient::State::HandOn(Transfer& transfer, std::span<const std::byte> bytes) {
  transfer.last_byte_at = Clock::now();
  absl::Status taken = transfer.sink.OnBody(bytes);
  if (!taken.ok()) {
    transfer.Fail(std::move(taken));
    return;
  }
  const Clock::duration pause = transfer.sink.PauseFor(bytes.size());
  if (pause <= Clock::duration::zero()) return;
  const TimePoint resume_at = Clock::now() + pause;
  if (transfer.paused) {
    transfer.resume_at = std::max(transfer.resume_at, resume_at);
    return;
  }
  transfer.paused = true;
  transfer.resume_at = resume_at;
  transfer.wake.cancel();
  curl_easy_pause(transfer.easy.get(), CURLPAUSE_RECV);
}

size_t CurlClient::State::OnBody(char* data, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  State& state = transfer.state;
  const size_t total = size * count;
  if (!transfer.failure.ok()) return 0;
  // Only TLS brings more than one read in an action, and so can fill the block.
  if (transfer.filled + total > runtime::kBlockSize) {
    state.Flush(transfer);
    if (!transfer.failure.ok()) return 0;
  }
  if (transfer.block.data() == nullptr) {
    // One action may bring bytes of every transfer. What comes behind the begin of a pause is kept all the same.
    if (state.touched.size() >= kGatheringMax && !transfer.paused) {
      state.HandOn(transfer, std::as_bytes(std::span(data, total)));
      return transfer.failure.ok() ? total : 0;
    }
    transfer.block = runtime::Block::Take();
  }
  std::memcpy(transfer.block.data() + transfer.filled, data, total);
  transfer.filled += total;
  if (!transfer.touched) {
    transfer.touched = true;
    state.touched.push_back(&transfer);
  }
  return total;
}

// Asked for each address of a name that is tried. Connections are kept with addresses that were allowed.
curl_socket_t CurlClient::State::OnOpen(void* user, curlsocktype /*purpose*/, curl_sockaddr* address) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  if (!transfer.failure.ok()) return CURL_SOCKET_BAD;
  const std::optional<asio::ip::address> target = AddressOf(&address->addr);
  if (!target || transfer.state.forbidden.Contains(*target)) {
    const absl::Status refusal =
        target ? ForbiddenAddress(*target) : absl::PermissionDeniedError("it leads to no IP address");
    transfer.Fail(Annotate(refusal, transfer.What()));
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

size_t CurlClient::State::OnHeader(char* data, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const size_t total = size * count;
  transfer.last_byte_at = Clock::now();
  transfer.header_bytes += total;
  if (transfer.header_bytes > kAnswerHeaderMax) {
    transfer.Fail(
        absl::ResourceExhaustedError(StrCat("the answer's headers are larger than ", kAnswerHeaderMax, " bytes")));
    return 0;
  }
  if (transfer.header_done) return total;  // trailers of a chunked body

  CurlResponse& response = transfer.response;
  const bool folded = total > 0 && (data[0] == ' ' || data[0] == '\t');
  const std::string_view line = TrimSpace(std::string_view(data, total));
  if (line.starts_with("HTTP/")) {  // the first line, or the next one after an informational answer
    response = CurlResponse();
    ParseStatusLine(line, response);
  } else if (!line.empty() && folded) {
    if (!response.header.empty()) response.header.back().second.append(" ").append(line);
  } else if (!line.empty()) {
    const size_t colon = line.find(':');
    if (colon == line.npos) return total;
    response.header.emplace_back(ToLowerAscii(TrimSpace(line.substr(0, colon))), TrimSpace(line.substr(colon + 1)));
  } else if (response.status >= 200) {
    transfer.header_done = true;
    const std::optional<std::string> location = response.Find("location");
    if (location.has_value()) response.location = ResolveLocation(transfer.request.url, *location);
    absl::Status taken = transfer.sink.OnHeader(response);
    if (!taken.ok()) {
      transfer.Fail(std::move(taken));
      return 0;
    }
  }
  return total;
}

// ---- a transfer's life ----

absl::Status CurlClient::State::Start(Transfer& transfer) {
  const CurlRequest& request = transfer.request;
  if (!IsToken(request.method)) return absl::InvalidArgumentError("not a method");
  if (HasLineBreak(request.url) || !IsHttpUrl(request.url)) {
    return absl::InvalidArgumentError("not a URL of http or https");
  };
  if (!forbidden.empty()) {
    std::string host = HostOf(request.url);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    boost::system::error_code no_address;
    const asio::ip::address literal = asio::ip::make_address(host, no_address);
    if (!no_address && forbidden.Contains(literal)) return ForbiddenAddress(literal);
  }
  transfer.proxy = ProxyOfEnvironment(SchemeOf(request.url), HostOf(request.url));
  DF_ASSIGN_OR_RETURN(transfer.header, MakeHeaderList(request.header, !request.body.empty()));
  const bool more_authorities = request.authorities != nullptr && !request.authorities->empty();
  if (request.verify_tls && (!request.ca_file.empty() || more_authorities)) {
    DF_ASSIGN_OR_RETURN(transfer.ca_store, ca_stores.For(request.ca_file));
  }
  if (request.verify_tls && more_authorities) {
    if (request.authorities->size() > kAuthoritiesMax) {
      return absl::InvalidArgumentError(StrCat("more than ", kAuthoritiesMax, " certificates of authorities"));
    }
    DF_ASSIGN_OR_RETURN(transfer.own_authorities, AuthoritiesBeside(*transfer.ca_store, *request.authorities));
    transfer.ca_store = transfer.own_authorities.store;
  }

  transfer.buffer_size = ReadBufferSize(transfers_added);
  // A spare handle may keep its buffer, which has the full size.
  if (spare.empty() || transfer.buffer_size != kReadBufferSize) {
    transfer.easy.reset(curl_easy_init());
    if (transfer.easy == nullptr) return absl::ResourceExhaustedError("no memory for a transfer");
  } else {
    transfer.easy = std::move(spare.back());
    spare.pop_back();
  }
  CURL* easy = transfer.easy.get();
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error_text.data());
  curl_easy_setopt(easy, CURLOPT_SHARE, share.get());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // removal does not wait for a name look-up

  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  if (!request.body.empty()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.header.get());
  // Empty: none, whatever the environment says.
  curl_easy_setopt(easy, CURLOPT_PROXY, transfer.proxy.c_str());
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);

  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, transfer.buffer_size);
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  // A proxy is where the operator wants it to be.
  if (!forbidden.empty() && transfer.proxy.empty()) {
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &State::OnOpen);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &transfer);
  }
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &State::OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &State::OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);

  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, request.verify_tls ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, request.verify_tls ? 2L : 0L);
  // With a directory beside the bundle libcurl would read the whole bundle again for each handshake.
  curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
  if (transfer.ca_store != nullptr) {
    // CAINFO keeps connections under different authorities apart in libcurl's cache; the store that is used is ours,
    // since CAINFO replaces the system's.
    if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
    if (std::string& pem = transfer.own_authorities.pem; !pem.empty()) {
      curl_blob blob{pem.data(), pem.size(), CURL_BLOB_COPY};
      curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    }
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, &UseCaStore);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer.ca_store.get());
  }

  const CURLMcode code = curl_multi_add_handle(multi.get(), easy);
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
