// SPDX-License-Identifier: Apache-2.0
#include "rpc/given_pieces.h"

#include <cstdint>

#include "rpc/extension_field.h"

namespace dragonfly::rpc {
namespace {

constexpr int kFollows = kFirstExtension;    // of the request
constexpr int kAllTold = kFirstExtension;    // of the response ...
constexpr int kGiven = kFirstExtension + 1;  // ... and this one

}  // namespace

void SetFollowsGiven(::dfdaemon::v2::SyncPiecesRequest& request) { AddExtension(request, kFollows, 1); }
bool FollowsGiven(const ::dfdaemon::v2::SyncPiecesRequest& request) { return HasExtension(request, kFollows); }

void SetAllTold(::dfdaemon::v2::SyncPiecesResponse& response) { AddExtension(response, kAllTold, 1); }
bool IsAllTold(const ::dfdaemon::v2::SyncPiecesResponse& response) { return HasExtension(response, kAllTold); }

void SetGiven(const std::vector<PieceNumber>& numbers, ::dfdaemon::v2::SyncPiecesResponse& response) {
  for (const PieceNumber number : numbers) AddExtension(response, kGiven, number.value());
}

std::vector<PieceNumber> GivenIn(const ::dfdaemon::v2::SyncPiecesResponse& response) {
  std::vector<PieceNumber> numbers;
  for (const uint64_t number : ExtensionOf(response, kGiven)) {
    if (number <= UINT32_MAX) numbers.emplace_back(static_cast<uint32_t>(number));
  }
  return numbers;
}

}  // namespace dragonfly::rpc
