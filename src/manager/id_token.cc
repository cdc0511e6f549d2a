// SPDX-License-Identifier: Apache-2.0
#include "manager/id_token.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;

constexpr size_t kTokenMax = 32 << 10;
constexpr size_t kKeysMax = 64;
constexpr size_t kSubjectMax = 255;
constexpr size_t kTextMax = 256;
constexpr int kRsaBitsMin = 2048;
// Between the provider's clock and ours.
constexpr absl::Duration kSkew = absl::Seconds(60);

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  void operator()(OSSL_PARAM_BLD* builder) const { OSSL_PARAM_BLD_free(builder); }
  void operator()(OSSL_PARAM* params) const { OSSL_PARAM_free(params); }
  void operator()(BIGNUM* number) const { BN_free(number); }
  void operator()(ECDSA_SIG* signature) const { ECDSA_SIG_free(signature); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

absl::Status Refused(std::string_view why) { return absl::UnauthenticatedError(StrCat("the ID token ", why)); }

struct Algorithm {
  const char* name;
  const char* key_type;
  const char* curve;  // as JWK names it; empty for RSA
  const char* group;  // as OpenSSL names it
  size_t number_bytes;
  const EVP_MD* (*digest)();
};

const Algorithm* FindAlgorithm(const std::string& name) {
  static constexpr Algorithm kAlgorithms[] = {{"RS256", "RSA", "", "", 0, EVP_sha256},
                                              {"RS384", "RSA", "", "", 0, EVP_sha384},
                                              {"RS512", "RSA", "", "", 0, EVP_sha512},
                                              {"ES256", "EC", "P-256", "P-256", 32, EVP_sha256},
                                              {"ES384", "EC", "P-384", "P-384", 48, EVP_sha384}};
  for (const Algorithm& algorithm : kAlgorithms) {
    if (name == algorithm.name) return &algorithm;
  }
  return nullptr;
}

std::string TextAt(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Owned<BIGNUM> Number(const std::string& bytes) {
  return Owned<BIGNUM>(
      BN_bin2bn(reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()), nullptr));
}

Owned<EVP_PKEY> KeyFrom(const char* type, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM> params(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (params == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
    return nullptr;
  }
  return Owned<EVP_PKEY>(key);
}

// Null for what cannot be used.
Owned<EVP_PKEY> ReadKey(const json& jwk, const Algorithm& algorithm) {
  if (TextAt(jwk, "kty") != algorithm.key_type) return nullptr;
  if (jwk.contains("use") && TextAt(jwk, "use") != "sig") return nullptr;
  if (jwk.contains("alg") && TextAt(jwk, "alg") != algorithm.name) return nullptr;
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (*algorithm.curve == '\0') {
    const Owned<BIGNUM> modulus = Number(Base64UrlDecode(TextAt(jwk, "n")));
    const Owned<BIGNUM> exponent = Number(Base64UrlDecode(TextAt(jwk, "e")));
    if (BN_num_bits(modulus.get()) < kRsaBitsMin || BN_is_zero(exponent.get())) return nullptr;
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
    return KeyFrom("RSA", builder.get());
  }
  const std::string x = Base64UrlDecode(TextAt(jwk, "x"));
  const std::string y = Base64UrlDecode(TextAt(jwk, "y"));
  if (TextAt(jwk, "crv") != algorithm.curve || x.size() != algorithm.number_bytes || y.size() != algorithm.number_bytes)
    return nullptr;
  const std::string point = StrCat(std::string(1, '\x04'), x, y);
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, algorithm.group, 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
  return KeyFrom("EC", builder.get());
}

// Signatures of ECDSA are two numbers in JWS, and ASN.1 in OpenSSL.
std::string ForOpenSsl(const std::string& signature, const Algorithm& algorithm) {
  if (*algorithm.curve == '\0') return signature;
  if (signature.size() != 2 * algorithm.number_bytes) return "";
  const Owned<ECDSA_SIG> parts(ECDSA_SIG_new());
  ECDSA_SIG_set0(parts.get(), Number(signature.substr(0, algorithm.number_bytes)).release(),
                 Number(signature.substr(algorithm.number_bytes)).release());
  unsigned char* bytes = nullptr;
  const int length = i2d_ECDSA_SIG(parts.get(), &bytes);
  if (length <= 0) return "";
  std::string text(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
  OPENSSL_free(bytes);
  return text;
}

bool Verifies(EVP_PKEY* key, const Algorithm& algorithm, std::string_view text, const std::string& signature) {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, algorithm.digest(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
                          reinterpret_cast<const unsigned char*>(text.data()), text.size()) == 1;
}

absl::Status CheckSignature(const json& header, std::string_view signed_part, const std::string& raw,
                            const std::string& keys) {
  const Algorithm* const algorithm = FindAlgorithm(TextAt(header, "alg"));
  // "none" and HS256, which a public key would seem to verify, are not among them.
  if (algorithm == nullptr) return Refused("is signed by an algorithm that is not taken");
  // Extensions that must be understood, and are not.
  if (header.contains("crit")) return Refused("has a critical extension");
  const std::string signature = ForOpenSsl(raw, *algorithm);
  if (signature.empty()) return Refused("has no signature");
  const json set = json::parse(keys, nullptr, /*allow_exceptions=*/false);
  const auto list = set.is_object() ? set.find("keys") : set.end();
  if (!set.is_object() || list == set.end() || !list->is_array())
    return Refused("cannot be checked: there are no keys");
  const std::string wanted = TextAt(header, "kid");
  size_t tried = 0;
  for (const json& jwk : *list) {
    if (!jwk.is_object() || (!wanted.empty() && TextAt(jwk, "kid") != wanted)) continue;
    if (++tried > kKeysMax) break;
    const Owned<EVP_PKEY> key = ReadKey(jwk, *algorithm);
    if (key != nullptr && Verifies(key.get(), *algorithm, signed_part, signature)) return absl::OkStatus();
  }
  return Refused("is not signed by its issuer");
}

std::optional<absl::Time> TimeAt(const json& claims, const char* name) {
  const auto found = claims.find(name);
  if (found == claims.end() || !found->is_number()) return std::nullopt;
  const double seconds = found->get<double>();
  if (!(seconds > 0 && seconds < 1e12)) return std::nullopt;
  return absl::FromUnixSeconds(static_cast<int64_t>(seconds));
}

bool IsFor(const json& claims, const std::string& client_id) {
  const auto audience = claims.find("aud");
  if (audience == claims.end()) return false;
  if (audience->is_string()) return *audience == client_id;
  if (!audience->is_array()) return false;
  bool named = false;
  for (const json& one : *audience) named |= one == client_id;
  // Of several audiences, the one that it was made for is us.
  return named && (audience->size() == 1 || TextAt(claims, "azp") == client_id);
}

absl::Status CheckClaims(const json& claims, const IdTokenRules& rules) {
  if (TextAt(claims, "iss") != rules.issuer) return Refused("is of another issuer");
  if (!IsFor(claims, rules.client_id)) return Refused("is for another client");
  const auto expires = TimeAt(claims, "exp");
  if (!expires.has_value() || *expires + kSkew <= rules.now) return Refused("has expired");
  const auto made = TimeAt(claims, "iat");
  if (!made.has_value() || *made - kSkew > rules.now) return Refused("is from the future");
  if (!EqualInConstantTime(TextAt(claims, "nonce"), rules.nonce)) return Refused("is of another sign-in");
  const std::string subject = TextAt(claims, "sub");
  if (subject.empty() || subject.size() > kSubjectMax) return Refused("names nobody");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Identity> ReadIdToken(std::string_view token, const std::string& keys, const IdTokenRules& rules) {
  const size_t first = token.find('.');
  const size_t last = token.rfind('.');
  if (token.size() > kTokenMax || first == std::string_view::npos || first == last) return Refused("is none");
  const json header = json::parse(Base64UrlDecode(token.substr(0, first)), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return Refused("is none");
  DF_RETURN_IF_ERROR(CheckSignature(header, token.substr(0, last), Base64UrlDecode(token.substr(last + 1)), keys));
  const json claims =
      json::parse(Base64UrlDecode(token.substr(first + 1, last - first - 1)), nullptr, /*allow_exceptions=*/false);
  if (!claims.is_object()) return Refused("has no claims");
  DF_RETURN_IF_ERROR(CheckClaims(claims, rules));
  Identity identity;
  identity.subject = TextAt(claims, "sub");
  identity.name = TextAt(claims, "preferred_username");
  if (identity.name.empty()) identity.name = TextAt(claims, "name");
  const auto verified = claims.find("email_verified");
  if (verified != claims.end() && (*verified == true || *verified == "true")) identity.email = TextAt(claims, "email");
  identity.avatar = TextAt(claims, "picture");
  for (std::string* const text : {&identity.name, &identity.email, &identity.avatar}) {
    if (text->size() > kTextMax) text->clear();
  }
  return identity;
}

}  // namespace dragonfly::manager
