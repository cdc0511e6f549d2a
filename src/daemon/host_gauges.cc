// SPDX-License-Identifier: Apache-2.0
#include "daemon/host_gauges.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <sys/statvfs.h>

#include <utility>

#include "base/version.h"

namespace dragonfly::daemon {
namespace {

prometheus::Gauge& AddGauge(telemetry::Metrics& metrics, const std::string& name, const std::string& help,
                            const prometheus::Labels& labels = {}) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(metrics.registry()).Add(labels);
}

}  // namespace

struct HostGauges::State {
  State(telemetry::Metrics& metrics, std::string directory)
      : dir(std::move(directory)),
        total(
            AddGauge(metrics, "dragonfly_client_disk_space_total", "Bytes of the file system that holds the content.")),
        used(AddGauge(metrics, "dragonfly_client_disk_usage_space_total", "Bytes in use of that file system.")) {
    AddGauge(metrics, "dragonfly_client_version", "The program that runs; always 1.",
             {{"git_version", std::string(kVersion)},
              {"git_commit", std::string(GitCommit())},
              {"platform", "linux"},
              {"build_time", std::string(BuildDate())}})
        .Set(1);
  }

  const std::string dir;
  prometheus::Gauge& total;
  prometheus::Gauge& used;
};

HostGauges::HostGauges(telemetry::Metrics& metrics, std::string storage_dir)
    : state_(std::make_unique<State>(metrics, std::move(storage_dir))) {}

HostGauges::~HostGauges() = default;

void HostGauges::Refresh() {
  struct statvfs fs{};
  if (statvfs(state_->dir.c_str(), &fs) != 0) return;
  state_->total.Set(static_cast<double>(fs.f_blocks * fs.f_frsize));
  state_->used.Set(static_cast<double>((fs.f_blocks - fs.f_bfree) * fs.f_frsize));
}

}  // namespace dragonfly::daemon
