// SPDX-License-Identifier: Apache-2.0
// What peers of this project tell one another on SyncPieces streams beyond the original's API: which pieces a parent
// that has what nobody else has (it is complete, or reads the origin) has given to somebody for the first time. A child
// leaves these to the swarm and takes others from that parent, so that all pieces are out sooner. See
// docs/scheduling.md.
//
// Only who has said that it follows is sent such messages; it passes an ordinary stream of others on as it is.
#pragma once

#include <vector>

#include "base/piece.h"
#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::rpc {

// The child wants to know what is given: the stream goes on when all pieces are told.
void SetFollowsGiven(::dfdaemon::v2::SyncPiecesRequest& request);
bool FollowsGiven(const ::dfdaemon::v2::SyncPiecesRequest& request);

// The message names no piece: every piece that the child has asked for is told, or no more will come.
void SetAllTold(::dfdaemon::v2::SyncPiecesResponse& response);
bool IsAllTold(const ::dfdaemon::v2::SyncPiecesResponse& response);

// The message names no piece that is here, but those that were given. `numbers` is not empty.
void SetGiven(const std::vector<PieceNumber>& numbers, ::dfdaemon::v2::SyncPiecesResponse& response);
// Empty for any other message. The numbers may be any.
std::vector<PieceNumber> GivenIn(const ::dfdaemon::v2::SyncPiecesResponse& response);

}  // namespace dragonfly::rpc
