// SPDX-License-Identifier: Apache-2.0
// What a transfer asks for: checked, and told to libcurl.
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstring>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "http/curl_client_internal.h"
#include "http/environment_proxy.h"

namespace dragonfly::http {

namespace asio = boost::asio;

namespace {

// All running transfers of a client share about this much, in a harmonic series: many transfers get small buffers.
constexpr size_t kReadBuffersShared = 2 << 20;
constexpr long kReadBufferSizeMin = 16 << 10;

// For one more transfer beside `others`.
long ReadBufferSize(size_t others) {
  return std::clamp(static_cast<long>(kReadBuffersShared / (others + 1)), kReadBufferSizeMin, kReadBufferSize);
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

absl::Status CurlClient::State::Prepare(Transfer& transfer) {
  const CurlRequest& request = transfer.request;
  if (!IsToken(request.method)) return absl::InvalidArgumentError("not a method");
  if (HasLineBreak(request.url) || !IsHttpUrl(request.url)) {
    return absl::InvalidArgumentError("not a URL of http or https");
  }
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
  return absl::OkStatus();
}

absl::Status CurlClient::State::TakeHandle(Transfer& transfer) {
  transfer.buffer_size = ReadBufferSize(transfers_added);
  // A spare handle may keep its buffer, which has the full size.
  if (spare.empty() || transfer.buffer_size != kReadBufferSize) {
    transfer.easy.reset(curl_easy_init());
    if (transfer.easy == nullptr) return absl::ResourceExhaustedError("no memory for a transfer");
  } else {
    transfer.easy = std::move(spare.back());
    spare.pop_back();
  }
  return absl::OkStatus();
}

void CurlClient::State::SetOptions(Transfer& transfer) {
  const CurlRequest& request = transfer.request;
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
}

}  // namespace dragonfly::http
