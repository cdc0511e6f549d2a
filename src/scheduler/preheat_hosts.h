// SPDX-License-Identifier: Apache-2.0
// Which hosts a preheat means, and how one of them is made to download. Only .cc files include this (it pulls in
// grpc++).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/v2/common.pb.h"
#include "rpc/channel.h"
#include "scheduler/host_table.h"

namespace dragonfly::scheduler {

// Of all hosts, or of the seeds alone, these: by address, else so many, else a share (rounded down, at least one), else
// all.
struct HostChoice {
  HostChoice() = default;
  bool seeds_only = false;
  std::set<std::string> ips;
  std::optional<uint64_t> count;
  std::optional<uint64_t> percentage;
};

// In the order of their ids, so that the same choice names the same hosts. Empty when there is none.
std::vector<std::shared_ptr<const HostFacts>> ChooseHosts(const HostTable& hosts, const HostChoice& choice);

// The id of the task that a standard download makes. Errors: INVALID_ARGUMENT.
absl::StatusOr<std::string> TaskIdOf(const common::v2::Download& download);

// Lets the host download, and waits until it has. What is left of the time until `deadline` is the download's own
// timeout.
boost::asio::awaitable<absl::Status> DownloadTo(rpc::ChannelPool& channels, std::string ip, int32_t port,
                                                common::v2::Download download, TimePoint deadline);

}  // namespace dragonfly::scheduler
