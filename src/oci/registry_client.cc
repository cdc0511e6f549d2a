// SPDX-License-Identifier: Apache-2.0
#include "oci/registry_client.h"

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/escaping.h"
#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"

namespace dragonfly::oci {
namespace asio = boost::asio;
namespace {

using Header = std::vector<std::pair<std::string, std::string>>;

constexpr int kRedirectsMax = 5;
constexpr size_t kTokenMax = 64 << 10;
// Lists within lists: an index of indexes is the most that anybody makes.
constexpr int kListDepthMax = 3;
// Of one platform; images have one, variants of a platform some.
constexpr size_t kManifestsMax = 64;

class BoundedBody final : public http::CurlSink {
 public:
  absl::Status OnHeader(const http::CurlResponse&) override { return absl::OkStatus(); }
  absl::Status OnBody(std::span<const std::byte> bytes) override {
    if (text.size() + bytes.size() > kManifestMax) {
      return absl::ResourceExhaustedError(StrCat("the answer is larger than ", kManifestMax, " bytes"));
    }
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  Clock::duration PauseFor(size_t) override { return Clock::duration(0); }
  std::string text;
};

bool SameOrigin(std::string_view a, std::string_view b) {
  const auto first = Url::Parse(a), second = Url::Parse(b);
  return first.ok() && second.ok() && first->scheme == second->scheme && first->host == second->host &&
         first->effective_port() == second->effective_port();
}

// The value of `key` in: Bearer realm="https://auth.example/token",service="registry.example"
std::string ParameterOf(std::string_view challenge, std::string_view key) {
  const std::string begin = StrCat(key, "=\"");
  for (size_t at = challenge.find(begin); at != std::string_view::npos; at = challenge.find(begin, at + 1)) {
    const char before = at == 0 ? ' ' : challenge[at - 1];
    if (before != ' ' && before != ',') continue;
    const size_t value = at + begin.size();
    const size_t end = challenge.find('"', value);
    if (end != std::string_view::npos) return std::string(challenge.substr(value, end - value));
  }
  return "";
}

std::string QueryEscape(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string escaped;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      escaped += c;
    } else {
      escaped += '%';
      escaped += kHex[byte >> 4];
      escaped += kHex[byte & 15];
    }
  }
  return escaped;
}

std::string Basic(const ImageRequest& request) {
  return StrCat("Basic ", std::string(absl::Base64Escape(StrCat(request.username, ":", request.password))));
}

absl::Status Refusal(int status, std::string_view what) {
  const std::string text = StrCat(what, ": the registry answers ", status);
  if (status == 401) return absl::UnauthenticatedError(text);
  if (status == 403) return absl::PermissionDeniedError(text);
  if (status == 404) return absl::NotFoundError(text);
  return absl::UnavailableError(text);
}

bool HasAuthorization(const Header& header) {
  for (const auto& [name, value] : header) {
    if (EqualsIgnoreCase(name, "authorization")) return true;
  }
  return false;
}

}  // namespace

struct RegistryClient::Answer {
  int status = 0;
  std::string challenge;
  std::string body;
};

asio::awaitable<absl::StatusOr<RegistryClient::Answer>> RegistryClient::Get(const ImageRequest& request,
                                                                            std::string url, Header header,
                                                                            bool redirects) {
  const std::string first = url;
  for (int hop = 0;; ++hop) {
    http::CurlRequest asked;
    asked.url = url;
    asked.deadline = request.deadline;
    asked.verify_tls = request.verify_tls;
    asked.ca_file = request.ca_file;
    // Headers of the caller may hold credentials of any form.
    const bool home = SameOrigin(first, url);
    for (const auto& [name, value] : header) {
      if (home || EqualsIgnoreCase(name, "accept")) asked.header.emplace_back(name, value);
    }
    BoundedBody body;
    auto response = co_await http_.Run(std::move(asked), body);
    if (!response.ok()) co_return response.status();
    if (response->location.empty() || response->status < 300 || response->status >= 400) {
      co_return Answer{response->status, response->Find("www-authenticate").value_or(""), std::move(body.text)};
    }
    if (!redirects || hop == kRedirectsMax) {
      co_return absl::InvalidArgumentError("the registry redirects more often than is followed");
    }
    if (!response->location.starts_with("https://") && first.starts_with("https://")) {
      co_return absl::InvalidArgumentError("the registry redirects from https to another scheme");
    }
    url = response->location;
  }
}

asio::awaitable<absl::StatusOr<std::string>> RegistryClient::Authorize(const ImageRequest& request,
                                                                       const std::string& challenge) {
  const bool known = !request.username.empty() || !request.password.empty();
  if (EqualsIgnoreCase(std::string_view(challenge).substr(0, 6), "basic ")) {
    if (!known) co_return absl::UnauthenticatedError("the registry wants a user and a password");
    co_return Basic(request);
  }
  if (!EqualsIgnoreCase(std::string_view(challenge).substr(0, 7), "bearer ")) {
    co_return absl::UnauthenticatedError("the registry refuses, and names no way to log in");
  }
  const std::string realm = ParameterOf(challenge, "realm");
  const auto parsed = Url::Parse(realm);
  if (!parsed.ok() || (parsed->scheme != "http" && parsed->scheme != "https")) {
    co_return absl::UnauthenticatedError("the registry names no usable place for tokens");
  }
  // A password for a registry behind TLS does not go out in the clear.
  if (request.image.registry.starts_with("https://") && parsed->scheme != "https") {
    co_return absl::UnauthenticatedError("the registry wants its tokens to be fetched without TLS");
  }
  std::string url =
      StrCat(realm, parsed->has_query ? "&" : "?", "service=", QueryEscape(ParameterOf(challenge, "service")),
             "&scope=", QueryEscape(StrCat("repository:", request.image.name, ":pull")));
  Header header;
  if (known) header.emplace_back("Authorization", Basic(request));
  auto answer = co_await Get(request, std::move(url), std::move(header), /*redirects=*/false);
  if (!answer.ok()) co_return Annotate(answer.status(), "fetch a token");
  if (answer->status != 200) co_return Refusal(answer->status, "fetch a token");
  if (answer->body.size() > kTokenMax || !IsBoundedJson(answer->body)) {
    co_return absl::UnauthenticatedError("fetch a token: the answer is too large");
  }
  const auto json = nlohmann::json::parse(answer->body, nullptr, /*allow_exceptions=*/false);
  for (const char* const key : {"token", "access_token"}) {
    if (!json.is_object()) break;
    const auto token = json.find(key);
    if (token != json.end() && token->is_string() && !token->get<std::string>().empty()) {
      co_return StrCat("Bearer ", token->get<std::string>());
    }
  }
  co_return absl::UnauthenticatedError("fetch a token: there is none in the answer");
}

asio::awaitable<absl::StatusOr<std::string>> RegistryClient::FetchManifest(const ImageRequest& request,
                                                                           std::string reference,
                                                                           std::string* authorization) {
  const std::string url = request.image.ManifestOf(reference);
  const bool given = HasAuthorization(request.header);
  for (bool again = false;; again = true) {
    Header header = request.header;
    header.emplace_back("Accept", std::string(AcceptedManifests()));
    if (!authorization->empty()) header.emplace_back("Authorization", *authorization);
    auto answer = co_await Get(request, url, std::move(header), /*redirects=*/true);
    if (!answer.ok()) co_return answer.status();
    if (answer->status == 401 && !again && !given) {
      auto obtained = co_await Authorize(request, answer->challenge);
      if (!obtained.ok()) co_return obtained.status();
      *authorization = *std::move(obtained);
      continue;
    }
    if (answer->status != 200) co_return Refusal(answer->status, StrCat("manifest ", reference));
    if (reference.find(':') != std::string::npos) {
      DF_CO_RETURN_IF_ERROR(CheckDigest(answer->body, reference));
    }
    co_return std::move(answer->body);
  }
}

asio::awaitable<absl::StatusOr<ResolvedImage>> RegistryClient::Resolve(ImageRequest request) {
  ResolvedImage resolved;
  std::set<std::string> blobs;
  std::vector<std::pair<std::string, int>> wanted = {{request.image.reference, 0}};  // reference, depth
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto [reference, depth] = wanted[i];
    auto text = co_await FetchManifest(request, reference, &resolved.authorization);
    if (!text.ok()) co_return text.status();
    auto manifest = ParseManifest(*text);
    if (!manifest.ok()) co_return manifest.status();
    for (Descriptor& entry : manifest->entries) {
      if (!manifest->list) {
        if (blobs.insert(entry.digest).second) resolved.blobs.push_back(std::move(entry));
      } else if (entry.platform.Fits(request.platform)) {
        if (depth == kListDepthMax || wanted.size() == kManifestsMax) {
          co_return absl::InvalidArgumentError("the image has too many manifests");
        }
        wanted.emplace_back(entry.digest, depth + 1);
      }
    }
  }
  if (resolved.blobs.empty()) {
    co_return absl::InvalidArgumentError(StrCat("no matching manifest for platform ", request.platform.ToString()));
  }
  co_return resolved;
}

}  // namespace dragonfly::oci
