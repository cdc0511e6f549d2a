// SPDX-License-Identifier: Apache-2.0
#include "scheduler/manager_answer.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::scheduler {
namespace {

using nlohmann::json;

// No cluster has more; each costs a point on the ring.
constexpr int kSeedsMax = 4096;

json ToJson(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) return json::object();
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

absl::Status FromJson(const json& root, const char* key, google::protobuf::Message* message) {
  const auto found = root.find(key);
  if (found == root.end()) return absl::InvalidArgumentError(StrCat("there is no ", key));
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(found->dump(), message, options);
  if (!parsed.ok()) return absl::InvalidArgumentError(StrCat(key, ": ", std::string(parsed.message())));
  return absl::OkStatus();
}

}  // namespace

LoadedClusterConfig ToClusterConfig(const ManagerAnswer& answer, const ClusterConfig& defaults) {
  LoadedClusterConfig loaded;
  loaded.config = defaults;
  const auto note = [&](const absl::Status& status) {
    if (!status.ok()) loaded.warnings.emplace_back(MessageOf(status));
  };
  const manager::v2::SchedulerCluster& cluster = answer.scheduler.scheduler_cluster();
  note(ApplySchedulerClusterConfig(cluster.config(), "scheduler_cluster.config", &loaded.config));
  note(ApplyClientConfig(cluster.client_config(), "scheduler_cluster.client_config", &loaded.config));
  bool first = true;
  for (const manager::v2::SeedPeer& seed : answer.scheduler.seed_peers()) {
    if (loaded.config.seeds.size() == kSeedsMax) break;
    if (!IsIpLiteral(seed.ip()) || seed.port() <= 0 || seed.port() > 65535 || seed.hostname().empty()) {
      loaded.warnings.push_back(
          StrCat("seed peer ", Quoted(seed.hostname()), " has no usable address: ", Quoted(seed.ip())));
      continue;
    }
    // The limit of the first seed's cluster holds for all, as in the original.
    if (std::exchange(first, false)) {
      note(ApplySeedClusterConfig(seed.seed_peer_cluster().config(), "seed_peer_cluster.config", &loaded.config));
    }
    loaded.config.seeds.push_back(ListedSeed{.hostname = seed.hostname(),
                                             .ip = seed.ip(),
                                             .port = seed.port(),
                                             .download_port = seed.download_port(),
                                             .type = seed.type(),
                                             .idc = seed.idc(),
                                             .location = seed.location()});
  }
  std::vector<ApplicationPriorities::Application> applications;
  for (const manager::v2::Application& listed : answer.applications.applications()) {
    ApplicationPriorities::Application application;
    application.name = listed.name();
    if (listed.has_priority()) {
      application.value = listed.priority().value();
      for (const manager::v2::URLPriority& rule : listed.priority().urls()) {
        application.urls.push_back({rule.regex(), rule.value()});
      }
    }
    applications.push_back(std::move(application));
  }
  loaded.config.priorities = std::make_shared<const ApplicationPriorities>(applications, &loaded.warnings);
  return loaded;
}

std::string ToFileText(const ManagerAnswer& answer, const std::string& manager, uint64_t cluster_id) {
  const json root = {{"manager", manager},
                     {"scheduler_cluster_id", cluster_id},
                     {"scheduler", ToJson(answer.scheduler)},
                     {"applications", ToJson(answer.applications)}};
  return root.dump(2) + "\n";
}

absl::StatusOr<ManagerAnswer> FromFileText(const std::string& text, const std::string& manager, uint64_t cluster_id) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) return absl::InvalidArgumentError("no JSON object");
  if (root.value("manager", json()) != manager || root.value("scheduler_cluster_id", json()) != cluster_id) {
    return absl::FailedPreconditionError("of another manager or cluster");
  }
  ManagerAnswer answer;
  DF_RETURN_IF_ERROR(FromJson(root, "scheduler", &answer.scheduler));
  DF_RETURN_IF_ERROR(FromJson(root, "applications", &answer.applications));
  return answer;
}

absl::Status WriteFileWhole(const std::string& path, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) return ErrnoStatus(error.value(), StrCat("make the directory of ", path));
  const std::string temporary = StrCat(path, ".new");
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", temporary));
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(file.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, StrCat("write ", temporary));
    rest.remove_prefix(static_cast<size_t>(written));
  }
  // A crash of the machine must not leave an empty file under the name.
  if (::fsync(file.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", temporary));
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return ErrnoStatus(errno, StrCat("rename ", temporary));
  return absl::OkStatus();
}

}  // namespace dragonfly::scheduler
