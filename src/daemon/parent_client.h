// SPDX-License-Identifier: Apache-2.0
// What a child asks of one parent: news of its pieces, and their bytes. Whatever the parent says is checked against
// what the piece number implies before it is believed.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "base/byte_sink.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/piece.h"
#include "rpc/channel.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"
#include "vortex/client.h"

namespace dragonfly::daemon {

// One message of a SyncPieces stream.
struct PieceNews {
  PieceNumber number;
  ByteRange range;                           // as the parent says
  std::optional<vortex::Endpoint> endpoint;  // of its piece server
};

// An open SyncPieces stream; destroying it cancels the call.
class PieceNewsStream {
 public:
  virtual ~PieceNewsStream() = default;
  // The next message; nullopt at the good end. Errors: the parent's status; DEADLINE_EXCEEDED.
  virtual boost::asio::awaitable<absl::StatusOr<std::optional<PieceNews>>> Next(TimePoint deadline) = 0;
};

// Asks the parent at `address` (its upload service) which of `numbers` it has and gets. `numbers` is not empty.
std::unique_ptr<PieceNewsStream> OpenPieceNews(rpc::ChannelPool& channels, const std::string& address,
                                               const std::string& host_id, const TaskId& task,
                                               const std::vector<PieceNumber>& numbers);

// Which addresses answer the unary DownloadPiece only, and which the piece protocol only: learnt by failures. Bounded.
// Thread rule: one thread.
class ParentMemory {
 public:
  enum class Way { kVortex, kGrpc };
  std::optional<Way> Find(const std::string& address) const;
  void Learn(const std::string& address, Way way);

 private:
  absl::flat_hash_set<std::string> grpc_only_;
  absl::flat_hash_set<std::string> vortex_only_;
};

// Where a parent can be asked for pieces.
struct ParentAddress {
  ParentAddress() = default;
  std::string grpc;                          // "ip:port" of the upload service
  std::optional<vortex::Endpoint> endpoint;  // of the piece server, when it has told one
};

// Fetches single pieces over the piece protocol or the unary call, whatever the parent offers. One per io thread.
class PieceFetcher {
 public:
  struct Options {
    Options() = default;
    std::string host_id;                              // own
    bool prefer_grpc = false;                         // download.protocol: grpc
    Clock::duration piece_timeout{};                  // of one piece
    std::chrono::milliseconds stall_timeout{10'000};  // without a byte
  };
  // All must outlive it; `limiter` is the download bandwidth, the one that `vortex` has, too.
  PieceFetcher(vortex::Client& vortex, rpc::ChannelPool& channels, runtime::TokenBucket& limiter, Options options);

  // Streams the piece into `sink` (exactly range.length bytes) and returns the digest that the parent names for it; the
  // caller compares. The other way is tried only when the first brought no byte.
  // Errors: as vortex::Client::Fetch; DATA_LOSS for wrong numbers, lengths or digests; what the sink returned.
  boost::asio::awaitable<absl::StatusOr<Digest>> Fetch(ParentAddress parent, TaskId task, PieceNumber number,
                                                       ByteRange range, ByteSink& sink);

 private:
  boost::asio::awaitable<absl::StatusOr<Digest>> ByVortex(vortex::Endpoint endpoint, TaskId task, PieceNumber number,
                                                          ByteRange range, ByteSink& sink);
  boost::asio::awaitable<absl::StatusOr<Digest>> ByGrpc(std::string address, TaskId task, PieceNumber number,
                                                        ByteRange range, ByteSink& sink);

  vortex::Client& vortex_;
  rpc::ChannelPool& channels_;
  runtime::TokenBucket& limiter_;
  const Options options_;
  ParentMemory memory_;
};

}  // namespace dragonfly::daemon
