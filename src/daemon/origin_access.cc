// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_access.h"

#include <map>
#include <utility>

#include "base/text.h"
#include "base/url.h"
#include "daemon/credential_header.h"

namespace dragonfly::daemon {
namespace {

template <typename Wire>
source::OriginAccess::Hub HubAccess(const Wire& wire) {
  source::OriginAccess::Hub hub;
  hub.token = wire.token();
  hub.revision = wire.revision();
  hub.base_url = wire.base_url();
  return hub;
}

// Names in lower case.
std::map<std::string, std::string> CredentialHeaders(const common::v2::Download& wire) {
  std::map<std::string, std::string> headers;
  for (const auto& [name, value] : wire.request_header()) {
    std::string lower = ToLowerAscii(name);
    if (MayBeCredential(lower)) headers.emplace(std::move(lower), value);
  }
  return headers;
}

template <typename Message>
bool Same(const Message& a, const Message& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// Only object storages may be shown keys of this host.
bool UsesOwnKeys(const common::v2::Download& wire, const OriginTerms& terms) {
  return terms.own_keys && !wire.url().starts_with("http://") && !wire.url().starts_with("https://");
}

}  // namespace

source::OriginAccess::ObjectStorage ObjectStorageAccess(const common::v2::ObjectStorage& wire) {
  source::OriginAccess::ObjectStorage storage;
  storage.region = wire.region();
  storage.endpoint = wire.endpoint();
  storage.access_key_id = wire.access_key_id();
  storage.access_key_secret = wire.access_key_secret();
  storage.session_token = wire.session_token();
  storage.security_token = wire.security_token();
  storage.credential_path = wire.credential_path();
  storage.insecure_skip_verify = wire.insecure_skip_verify();
  return storage;
}

source::OriginAccess::Hub HuggingFaceAccess(const common::v2::HuggingFace& wire) { return HubAccess(wire); }
source::OriginAccess::Hub ModelScopeAccess(const common::v2::ModelScope& wire) { return HubAccess(wire); }

source::OriginRequest MakeOriginRequest(const common::v2::Download& wire, const OriginTerms& terms) {
  source::OriginRequest request;
  request.url = wire.url();
  for (const auto& [name, value] : wire.request_header()) request.header.emplace_back(name, value);
  SetOriginAccess(wire, terms.own_keys, request);
  request.guarded = terms.guarded;
  request.insecure_skip_verify = terms.insecure_skip_verify;
  return request;
}

bool DifferentAccess(const common::v2::Download& a, const OriginTerms& a_terms, const common::v2::Download& b,
                     const OriginTerms& b_terms) {
  return a.url() != b.url() || CredentialHeaders(a) != CredentialHeaders(b) ||
         !Same(a.object_storage(), b.object_storage()) || !Same(a.hdfs(), b.hdfs()) ||
         !Same(a.hugging_face(), b.hugging_face()) || !Same(a.model_scope(), b.model_scope()) ||
         UsesOwnKeys(a, a_terms) != UsesOwnKeys(b, b_terms);
}

bool BringsCredentials(const common::v2::Download& wire, const OriginTerms& terms) {
  const common::v2::ObjectStorage& storage = wire.object_storage();
  if (UsesOwnKeys(wire, terms) || !CredentialHeaders(wire).empty()) return true;
  if (!storage.access_key_id().empty() || !storage.credential_path().empty()) return true;
  if (!wire.hdfs().delegation_token().empty() || !wire.hugging_face().token().empty() ||
      !wire.model_scope().token().empty()) {
    return true;
  }
  const absl::StatusOr<Url> url = Url::Parse(wire.url());
  // A part of the query that is no part of the task's name is a signature more often than not.
  return !url.ok() || !url->username.empty() || !url->password.empty() ||
         (url->has_query && wire.filtered_query_params_size() > 0);
}

}  // namespace dragonfly::daemon
