// SPDX-License-Identifier: Apache-2.0
// The scheduler's objects as messages of scheduler.v2 and common.v2, and back. Only .cc files include this.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "scheduler/cluster_config.h"
#include "scheduler/shard.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {

struct UploadLimits {
  int32_t normal = 200;  // parent-child edges of a host at once
  int32_t seed = 2000;
};

// The facts of an announcement that was validated.
std::shared_ptr<const HostFacts> ToFacts(const ::scheduler::v2::AnnounceHostRequest& request,
                                         const UploadLimits& limits);

// A seed that the manager lists and that has not announced itself; it never expires by itself.
std::shared_ptr<const HostFacts> ToFacts(const ListedSeed& seed, const UploadLimits& limits);

// The registration without its stream; keeps `download` for a seed.
Registration ToRegistration(std::shared_ptr<const common::v2::Download> download);

// The request to a seed that is to read the origin: the peer's, without what concerns only the peer.
common::v2::Download ToSeedDownload(const common::v2::Download& download);

PieceReport ToPieceReport(const common::v2::Piece& piece);

// The range that a download asks for, if any.
std::optional<RequestedRange> ToRange(const common::v2::Download& download);

// Lengths as facts: absent, and the value that Go schedulers send for "unknown", are nullopt.
std::optional<uint64_t> ToLength(uint64_t content_length);

// Request headers are never told: they carry credentials.
void Fill(const Task& task, common::v2::Task* out);
void Fill(const Peer& peer, common::v2::Peer* out);

// The answer with candidate parents. The hosts and the task are taken as serialised before.
::scheduler::v2::AnnouncePeerResponse ToResponse(std::span<Peer* const> parents);

}  // namespace dragonfly::scheduler
