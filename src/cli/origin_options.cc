// SPDX-License-Identifier: Apache-2.0
#include "cli/origin_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>

#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::cli {
namespace {

constexpr std::array<std::string_view, 6> kObjectStorageSchemes = {"s3", "gs", "abs", "oss", "obs", "cos"};

// Adds options of one kind of origin, each with its variable: "--storage-region" has DFGET_STORAGE_REGION.
class Adder {
 public:
  Adder(CLI::App& app, std::string prefix, std::string group)
      : app_(app), prefix_(std::move(prefix)), group_(std::move(group)) {}

  void Text(const std::string& name, std::optional<std::string>& out, const std::string& help) {
    Finish(name,
           app_.add_option_function<std::string>("--" + name, [&out](const std::string& text) { out = text; }, help));
  }
  void Text(const std::string& name, std::string& out, const std::string& help) {
    Finish(name, app_.add_option("--" + name, out, help)->capture_default_str());
  }
  // A value that must be exactly "true" or "false".
  void Choice(const std::string& name, std::optional<bool>& out, const std::string& help) {
    Finish(name, app_.add_option_function<std::string>(
                     "--" + name,
                     [&out, name](const std::string& text) {
                       if (text != "true" && text != "false") {
                         throw CLI::ValidationError(StrCat("invalid value '", text, "' for '--", name, "'"),
                                                    "must be true or false");
                       }
                       out = text == "true";
                     },
                     help));
  }

 private:
  void Finish(const std::string& name, CLI::Option* option) {
    std::string variable = prefix_ + name;
    for (char& c : variable) c = c == '-' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    option->envname(variable)->group(group_);
  }

  CLI::App& app_;
  const std::string prefix_;
  const std::string group_;
};

template <typename Setter>
void SetIfGiven(const std::optional<std::string>& value, Setter set) {
  if (value) set(*value);
}

void Fill(const OriginOptions::ObjectStorage& options, common::v2::ObjectStorage& out) {
  SetIfGiven(options.region, [&](const std::string& v) { out.set_region(v); });
  SetIfGiven(options.endpoint, [&](const std::string& v) { out.set_endpoint(v); });
  SetIfGiven(options.access_key_id, [&](const std::string& v) { out.set_access_key_id(v); });
  SetIfGiven(options.access_key_secret, [&](const std::string& v) { out.set_access_key_secret(v); });
  SetIfGiven(options.session_token, [&](const std::string& v) { out.set_session_token(v); });
  SetIfGiven(options.security_token, [&](const std::string& v) { out.set_security_token(v); });
  SetIfGiven(options.credential_path, [&](const std::string& v) { out.set_credential_path(v); });
  out.set_predefined_acl(options.predefined_acl);
  if (options.insecure_skip_verify) out.set_insecure_skip_verify(*options.insecure_skip_verify);
}

template <typename Message>
void Fill(const OriginOptions::Hub& options, Message& out) {
  SetIfGiven(options.token, [&](const std::string& v) { out.set_token(v); });
  out.set_revision(options.revision);
  SetIfGiven(options.base_url, [&](const std::string& v) { out.set_base_url(v); });
}

template <typename Request>
void SetStorageOf(const OriginOptions& options, std::string_view scheme, Request& request) {
  if (IsObjectStorageScheme(scheme)) {
    Fill(options.object_storage, *request.mutable_object_storage());
  } else if (scheme == "hdfs" || scheme == "webhdfs" || scheme == "swebhdfs") {
    if (options.hdfs_delegation_token) request.mutable_hdfs()->set_delegation_token(*options.hdfs_delegation_token);
  }
}

template <typename Request>
void SetOriginOf(const OriginOptions& options, std::string_view scheme, Request& request) {
  SetStorageOf(options, scheme, request);
  if (scheme == "hf") {
    Fill(options.hugging_face, *request.mutable_hugging_face());
  } else if (scheme == "modelscope") {
    Fill(options.model_scope, *request.mutable_model_scope());
  }
}

}  // namespace

void AddStorageOptions(CLI::App& app, const std::string& prefix, OriginOptions& options) {
  Adder storage(app, prefix, "Object storage (s3, gs, abs, oss, obs, cos)");
  OriginOptions::ObjectStorage& o = options.object_storage;
  storage.Text("storage-region", o.region, "Region of the bucket");
  storage.Text("storage-endpoint", o.endpoint, "URL or host of the service; needed for abs, oss, obs and cos");
  storage.Text("storage-access-key-id", o.access_key_id, "Id of the access key; for abs the account");
  storage.Text("storage-access-key-secret", o.access_key_secret,
               "Secret of the access key. Other users of this host see command lines: better give the variable");
  storage.Text("storage-session-token", o.session_token, "Token of a temporary access key");
  storage.Text("storage-security-token", o.security_token, "Another name of the session token");
  storage.Text("storage-credential-path", o.credential_path, "JSON key file for gs, on dfdaemon's host");
  storage.Text("storage-predefined-acl", o.predefined_acl, "Access rights of objects that are written");
  storage.Choice("storage-insecure-skip-verify", o.insecure_skip_verify,
                 "true: take any certificate of the service; true or false");

  Adder hdfs(app, prefix, "HDFS");
  hdfs.Text("hdfs-delegation-token", options.hdfs_delegation_token, "Delegation token, where Kerberos is on");
}

void AddOriginOptions(CLI::App& app, const std::string& prefix, OriginOptions& options) {
  AddStorageOptions(app, prefix, options);

  Adder hugging_face(app, prefix, "Hugging Face (hf)");
  hugging_face.Text("hf-token", options.hugging_face.token, "Access token, for private and gated repositories");
  hugging_face.Text("hf-revision", options.hugging_face.revision, "Branch, tag or commit; part of the task id");
  hugging_face.Text("hf-base-url", options.hugging_face.base_url, "URL of the hub or of a mirror");

  Adder model_scope(app, prefix, "ModelScope (modelscope)");
  model_scope.Text("ms-token", options.model_scope.token, "Access token, for private repositories");
  model_scope.Text("ms-revision", options.model_scope.revision, "Branch, tag or commit; part of the task id");
  model_scope.Text("ms-base-url", options.model_scope.base_url, "URL of the hub or of a mirror");
}

bool IsObjectStorageScheme(std::string_view scheme) {
  return std::find(kObjectStorageSchemes.begin(), kObjectStorageSchemes.end(), scheme) != kObjectStorageSchemes.end();
}

void SetOrigin(const OriginOptions& options, std::string_view scheme, common::v2::Download& download) {
  SetOriginOf(options, scheme, download);
}

void SetOrigin(const OriginOptions& options, std::string_view scheme, dfdaemon::v2::ListTaskEntriesRequest& request) {
  SetOriginOf(options, scheme, request);
}

void SetOrigin(const OriginOptions& options, std::string_view scheme, scheduler::v2::PreheatFileRequest& request) {
  SetStorageOf(options, scheme, request);
}

}  // namespace dragonfly::cli
