// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/basic_auth.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "absl/strings/escaping.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

std::string Sha256(std::string_view text) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  ::SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
           reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

// The decoded credentials of a "Basic <base64>" value; nullopt for another scheme. Errors: HttpError 400.
absl::StatusOr<std::optional<std::string>> Decode(std::string_view value) {
  value = TrimSpace(value);
  const size_t space = value.find(' ');
  const std::optional<std::string> none;
  if (!EqualsIgnoreCase(value.substr(0, space), "basic")) return none;
  if (space == std::string_view::npos) return HttpError(400, "credentials without a value");
  std::string decoded;
  const std::string_view encoded = TrimSpace(value.substr(space));
  if (!absl::Base64Unescape(ToAbsl(encoded), &decoded) || decoded.find(':') == std::string::npos) {
    return HttpError(400, "credentials that are no user and password in base64");
  }
  return std::optional<std::string>(std::move(decoded));
}

}  // namespace

BasicAuth::BasicAuth(const std::optional<DaemonConfig::BasicAuth>& pair) {
  if (pair) expected_ = Sha256(StrCat(pair->username, ":", pair->password));
}

bool BasicAuth::Matches(std::string_view credentials) const {
  // Digests have one length, so that nothing is learnt from the time.
  const std::string have = Sha256(credentials);
  return ::CRYPTO_memcmp(have.data(), expected_.data(), expected_.size()) == 0;
}

absl::Status BasicAuth::Check(RequestHead& request, bool mirror) const {
  if (!required()) return absl::OkStatus();
  absl::Status bad;
  for (const char* name : {"proxy-authorization", "authorization"}) {
    const auto value = request.fields.Find(name);
    if (!value) continue;
    const absl::StatusOr<std::optional<std::string>> credentials = Decode(*value);
    if (!credentials.ok()) {
      bad = credentials.status();
      continue;
    }
    if (!*credentials || !Matches(**credentials)) continue;
    request.fields.Remove(name);
    return absl::OkStatus();
  }
  if (!bad.ok()) return bad;
  return mirror ? HttpError(401, "this mirror wants a user and a password")
                : HttpError(407, "this proxy wants a user and a password");
}

Fields::Entry BasicAuth::Challenge(int http_status) {
  const char* const value = "Basic realm=\"dfdaemon\", charset=\"UTF-8\"";
  if (http_status == 407) return {"Proxy-Authenticate", value};
  if (http_status == 401) return {"WWW-Authenticate", value};
  return {};
}

}  // namespace dragonfly::daemon::proxy
