// SPDX-License-Identifier: Apache-2.0
// What our own servers can do beyond the protocol, told as names in their health service (grpc.health.v1): a server
// that has never heard of a name answers NOT_FOUND, so nobody is misled.
#pragma once

namespace dragonfly::rpc {

// A scheduler that takes a registration without the task's length for what it is. Those of API 2.2.32 take it for an
// empty file, for good.
inline constexpr char kUnknownLengthCapability[] = "dragonfly.ext.v1.UnknownLength";

// Initial metadata of our upload service's StatLocalTask: how long ago, in milliseconds, the origin was seen to have
// just this object. Absent: not since the host has started.
inline constexpr char kConfirmedMetadata[] = "dragonfly-confirmed-ms";

// Initial metadata of our SyncPieces: which version of the object the pieces are of, so that a child does not mix two
// (daemon/object_tag.h). Absent: not known.
inline constexpr char kObjectMetadata[] = "dragonfly-object";

}  // namespace dragonfly::rpc
