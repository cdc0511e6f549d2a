// SPDX-License-Identifier: Apache-2.0
// The origin plugins of a directory (include/dragonfly/origin_plugin.h), loaded.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dragonfly/origin_plugin.h"
#include "runtime/blocking_pool.h"

namespace dragonfly::source {

// One loaded library. Thread-safe, as far as the plugin is.
class OriginPlugin {
 public:
  // Errors: what is wrong with the file, by its name.
  static absl::StatusOr<std::shared_ptr<const OriginPlugin>> Load(const std::string& path, const std::string& scheme);
  // Calls the plugin's destroy. The library stays in memory: threads and thread-local data of it may be left.
  ~OriginPlugin();
  OriginPlugin(const OriginPlugin&) = delete;
  OriginPlugin& operator=(const OriginPlugin&) = delete;

  const df_origin_plugin& table() const { return *table_; }
  bool has_list() const;
  bool has_open() const;
  const std::string& scheme() const { return scheme_; }

 private:
  OriginPlugin(const df_origin_plugin* table, std::string scheme) : table_(table), scheme_(std::move(scheme)) {}

  const df_origin_plugin* const table_;
  const std::string scheme_;
};

// Thread-safe.
class PluginSet {
 public:
  // Calls that run at once, and that wait.
  static constexpr size_t kThreads = 16;
  static constexpr size_t kQueueMax = 1024;

  // Loads every lib<scheme>.so of `directory`, which need not exist. What cannot be loaded is logged with the reason,
  // and so is a plugin for a scheme that the program reads itself; neither keeps the others from being loaded.
  static std::shared_ptr<PluginSet> Load(const std::string& directory);
  // Waits for the calls that still run.
  ~PluginSet();

  // Errors: NOT_FOUND when there is no file for `scheme`; INVALID_ARGUMENT "unsupported scheme ..." with the reason
  // when it could not be loaded.
  absl::StatusOr<std::shared_ptr<const OriginPlugin>> Find(std::string_view scheme) const;
  size_t size() const { return plugins_.size(); }

  // The threads that plugins run on. Only when there is a plugin.
  runtime::BlockingPool& pool() { return *pool_; }

 private:
  PluginSet() = default;

  std::map<std::string, std::shared_ptr<const OriginPlugin>, std::less<>> plugins_;
  std::map<std::string, absl::Status, std::less<>> failures_;
  std::unique_ptr<runtime::BlockingPool> pool_;  // goes first: its threads use the plugins
};

}  // namespace dragonfly::source
