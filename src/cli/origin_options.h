// SPDX-License-Identifier: Apache-2.0
// Options that tell how an origin is reached: credentials, endpoints, revisions. Source: client v1.5.1,
// dragonfly-client/src/bin/dfget/main.rs; docs/origins.md tells what origins make of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace CLI {
class App;
}
namespace common::v2 {
class Download;
}
namespace dfdaemon::v2 {
class ListTaskEntriesRequest;
}
namespace scheduler::v2 {
class PreheatFileRequest;
}

namespace dragonfly::cli {

struct OriginOptions {
  OriginOptions() = default;

  struct ObjectStorage {
    ObjectStorage() = default;
    std::optional<std::string> region;
    std::optional<std::string> endpoint;
    std::optional<std::string> access_key_id;
    std::optional<std::string> access_key_secret;
    std::optional<std::string> session_token;
    std::optional<std::string> security_token;
    std::optional<std::string> credential_path;  // on dfdaemon's host
    std::string predefined_acl = "publicRead";
    std::optional<bool> insecure_skip_verify;
  };
  struct Hub {
    Hub() = default;
    explicit Hub(std::string default_revision) : revision(std::move(default_revision)) {}
    std::optional<std::string> token;
    std::string revision;
    std::optional<std::string> base_url;
  };

  ObjectStorage object_storage;
  std::optional<std::string> hdfs_delegation_token;
  Hub hugging_face{"main"};
  Hub model_scope{"master"};
};

// Adds --storage-* and --hdfs-delegation-token with their environment variables, which begin with `prefix`
// ("DFCTL_TASK_PREHEAT_"). `options` must outlive the parsing.
void AddStorageOptions(CLI::App& app, const std::string& prefix, OriginOptions& options);

// The same, and --hf-* and --ms-*.
void AddOriginOptions(CLI::App& app, const std::string& prefix, OriginOptions& options);

// True for the schemes of object storage: s3, gs, abs, oss, obs, cos.
bool IsObjectStorageScheme(std::string_view scheme);

// Puts into the request what origins of `scheme` need and nothing else, so that no credential reaches an origin that it
// is not for.
void SetOrigin(const OriginOptions& options, std::string_view scheme, common::v2::Download& download);
void SetOrigin(const OriginOptions& options, std::string_view scheme, dfdaemon::v2::ListTaskEntriesRequest& request);
// A preheat cannot name a hub.
void SetOrigin(const OriginOptions& options, std::string_view scheme, scheduler::v2::PreheatFileRequest& request);

}  // namespace dragonfly::cli
