// SPDX-License-Identifier: Apache-2.0
// What a child asks of one parent: news of its pieces, and their bytes. Whatever the parent says is checked against
// what the piece number implies before it is believed.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/byte_sink.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/piece.h"
#include "rpc/channel.h"
#include "runtime/clock.h"
#include "runtime/token_bucket.h"
#include "vortex/client.h"
#include "vortex/quic_client.h"

namespace dragonfly::daemon {

// One message of a SyncPieces stream: news of a piece that the parent has, unless one of the last two fields is set.
struct PieceNews {
  PieceNumber number;
  ByteRange range;                           // as the parent says
  std::optional<vortex::Endpoint> endpoint;  // of its piece server
  std::optional<vortex::Endpoint> quic;      // of its piece server over QUIC
  bool all_told = false;                     // no more news of pieces will come
  std::vector<PieceNumber> given;            // pieces that the parent has given to somebody (rpc/given_pieces.h)
};

// An open SyncPieces stream; destroying it cancels the call.
class PieceNewsStream {
 public:
  virtual ~PieceNewsStream() = default;
  // The next message; nullopt at the good end. Errors: the parent's status; DEADLINE_EXCEEDED.
  virtual boost::asio::awaitable<absl::StatusOr<std::optional<PieceNews>>> Next(TimePoint deadline) = 0;
  // The tag of the object that the pieces are of (daemon/object_tag.h); empty when the parent does not tell. Only after
  // a message.
  virtual std::string object_tag() const = 0;
};

// Asks the parent at `address` (its upload service) which of `numbers` it has and gets, of a standard or a persistent
// cache task. `numbers` is not empty. `follow`: to be told what it gives as well, if it can (standard tasks only).
std::unique_ptr<PieceNewsStream> OpenPieceNews(rpc::ChannelPool& channels, const std::string& address,
                                               const std::string& host_id, const TaskId& task,
                                               const std::vector<PieceNumber>& numbers,
                                               const telemetry::SpanContext& trace = {},
                                               TaskType type = TaskType::kStandard, bool follow = false);

// What a parent says about the whole of a task.
struct TaskAtParent {
  TaskAtParent() = default;
  std::optional<uint64_t> content_length;  // bytes; nullopt while it does not know
  uint64_t piece_length = 0;
  bool complete = false;
  std::map<std::string, std::string> response_header;
  std::optional<TimePoint> confirmed_at;  // when the origin was seen to have this object, at the latest
};

// StatLocalTask at the upload service of `address` (client v1.1.8 and later). Errors: the parent's status, also
// UNIMPLEMENTED; DEADLINE_EXCEEDED after `timeout`.
boost::asio::awaitable<absl::StatusOr<TaskAtParent>> AskParentAboutTask(rpc::ChannelPool& channels, std::string address,
                                                                        TaskId task, Clock::duration timeout);

// How pieces come from a parent: the piece protocol over TCP or QUIC, or the unary call.
enum class PieceWay { kTcp, kQuic, kGrpc };

// By which way an address has answered when the way that is preferred did not: learnt by failures, forgotten after a
// while, since a firewall or a parent may change. Bounded. Thread rule: one thread.
class ParentMemory {
 public:
  std::optional<PieceWay> Find(const std::string& address, TimePoint now) const;
  void Learn(const std::string& address, PieceWay way, TimePoint now);

 private:
  struct Learnt {
    PieceWay way;
    TimePoint until;
  };
  absl::flat_hash_map<std::string, Learnt> learnt_;
};

// Where a parent can be asked for pieces.
struct ParentAddress {
  ParentAddress() = default;
  std::string grpc;                          // "ip:port" of the upload service
  TaskType type = TaskType::kStandard;       // standard or persistent cache: which calls and tags name the pieces
  std::optional<vortex::Endpoint> endpoint;  // of the piece server, when it has told one
  std::optional<vortex::Endpoint> quic;      // of the piece server over QUIC, when it has told one
};

// Fetches single pieces by whatever way the parent offers, the preferred first. One per io thread.
class PieceFetcher {
 public:
  struct Options {
    Options() = default;
    std::string host_id;                              // own
    PieceWay prefer = PieceWay::kTcp;                 // download.protocol
    Clock::duration piece_timeout{};                  // of one piece
    std::chrono::milliseconds stall_timeout{10'000};  // without a byte
  };
  // All must outlive it; `limiter` is the download bandwidth, the one that `tcp` and `quic` have, too.
  PieceFetcher(vortex::Client& tcp, vortex::QuicClient& quic, rpc::ChannelPool& channels, runtime::TokenBucket& limiter,
               Options options);

  // Streams the piece into `sink` (exactly range.length bytes) and returns the digest that the parent names for it; the
  // caller compares. Another way is tried only when those before have brought no byte.
  // `limiter`: instead of the usual one.
  // Errors: as vortex::Client::Fetch; DATA_LOSS for wrong numbers, lengths or digests; what the sink returned.
  boost::asio::awaitable<absl::StatusOr<std::optional<Digest>>> Fetch(ParentAddress parent, TaskId task,
                                                                      PieceNumber number, ByteRange range,
                                                                      ByteSink& sink,
                                                                      runtime::TokenBucket* limiter = nullptr);

 private:
  // The ways that the parent offers, in the order in which they are tried.
  std::vector<PieceWay> WaysTo(const ParentAddress& parent, const TaskId& task) const;
  boost::asio::awaitable<absl::StatusOr<std::optional<Digest>>> By(PieceWay way, const ParentAddress& parent,
                                                                   const TaskId& task, PieceNumber number,
                                                                   ByteRange range, ByteSink& sink,
                                                                   runtime::TokenBucket& limiter);
  boost::asio::awaitable<absl::StatusOr<std::optional<Digest>>> ByVortex(PieceWay way, const ParentAddress& parent,
                                                                         TaskId task, PieceNumber number,
                                                                         ByteRange range, ByteSink& sink,
                                                                         runtime::TokenBucket& limiter);
  boost::asio::awaitable<absl::StatusOr<std::optional<Digest>>> ByGrpc(const ParentAddress& parent, TaskId task,
                                                                       PieceNumber number, ByteRange range,
                                                                       ByteSink& sink, runtime::TokenBucket& limiter);

  vortex::Client& tcp_;
  vortex::QuicClient& quic_;
  rpc::ChannelPool& channels_;
  runtime::TokenBucket& limiter_;
  const Options options_;
  ParentMemory memory_;
};

}  // namespace dragonfly::daemon
