// SPDX-License-Identifier: Apache-2.0
#include "daemon/parent_client.h"

#include <grpcpp/channel.h>

#include <functional>
#include <span>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/host_port.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/client_call.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

// Addresses that ParentMemory keeps of each kind; beyond that it starts anew.
constexpr size_t kMemoryMax = 4096;

class GrpcPieceNewsStream final : public PieceNewsStream {
 public:
  explicit GrpcPieceNewsStream(std::shared_ptr<rpc::ServerStream<wire::SyncPiecesResponse>> stream)
      : stream_(std::move(stream)) {}
  ~GrpcPieceNewsStream() override { stream_->Cancel(); }

  asio::awaitable<absl::StatusOr<std::optional<PieceNews>>> Next(TimePoint deadline) override {
    absl::StatusOr<std::optional<wire::SyncPiecesResponse>> message = co_await stream_->Read(deadline);
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) co_return std::nullopt;
    const wire::SyncPiecesResponse& response = **message;
    PieceNews news;
    news.number = PieceNumber(response.number());
    news.range = ByteRange{response.offset(), response.length()};
    if (response.has_tcp_port() && response.tcp_port() > 0 && response.tcp_port() <= 65535 &&
        IsIpLiteral(response.ip())) {
      news.endpoint = vortex::Endpoint{response.ip(), static_cast<uint16_t>(response.tcp_port())};
    }
    co_return news;
  }

 private:
  const std::shared_ptr<rpc::ServerStream<wire::SyncPiecesResponse>> stream_;
};

// Counts what passes, to know whether a failed attempt has left anything behind.
class CountingSink final : public ByteSink {
 public:
  explicit CountingSink(ByteSink& next) : next_(next) {}
  absl::Status Append(std::span<const std::byte> bytes) override {
    count_ += bytes.size();
    return next_.Append(bytes);
  }
  uint64_t count() const { return count_; }

 private:
  ByteSink& next_;
  uint64_t count_ = 0;
};

// True for a failure that says that nobody serves this way at the address, not that the piece is bad.
bool NotServed(const absl::Status& status) { return absl::IsUnavailable(status) || absl::IsUnimplemented(status); }

}  // namespace

std::unique_ptr<PieceNewsStream> OpenPieceNews(rpc::ChannelPool& channels, const std::string& address,
                                               const std::string& host_id, const TaskId& task,
                                               const std::vector<PieceNumber>& numbers) {
  wire::SyncPiecesRequest request;
  request.set_host_id(host_id);
  request.set_task_id(task.str());
  request.mutable_interested_piece_numbers()->Reserve(static_cast<int>(numbers.size()));
  for (const PieceNumber number : numbers) request.add_interested_piece_numbers(number.value());
  // The stub lives in the closure for as long as the call may use it.
  std::shared_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channels.Get(address));
  auto start = [stub](grpc::ClientContext* context, const wire::SyncPiecesRequest* message,
                      grpc::ClientReadReactor<wire::SyncPiecesResponse>* reactor) {
    stub->async()->SyncPieces(context, message, reactor);
  };
  return std::make_unique<GrpcPieceNewsStream>(
      rpc::StartServerStream<wire::SyncPiecesResponse>(std::move(start), std::move(request)));
}

std::optional<ParentMemory::Way> ParentMemory::Find(const std::string& address) const {
  if (grpc_only_.contains(address)) return Way::kGrpc;
  if (vortex_only_.contains(address)) return Way::kVortex;
  return std::nullopt;
}

void ParentMemory::Learn(const std::string& address, Way way) {
  auto& learnt = way == Way::kGrpc ? grpc_only_ : vortex_only_;
  auto& other = way == Way::kGrpc ? vortex_only_ : grpc_only_;
  other.erase(address);
  if (learnt.size() >= kMemoryMax) learnt.clear();
  learnt.insert(address);
}

PieceFetcher::PieceFetcher(vortex::Client& vortex, rpc::ChannelPool& channels, runtime::TokenBucket& limiter,
                           Options options)
    : vortex_(vortex), channels_(channels), limiter_(limiter), options_(std::move(options)) {}

asio::awaitable<absl::StatusOr<Digest>> PieceFetcher::ByVortex(vortex::Endpoint endpoint, TaskId task,
                                                               PieceNumber number, ByteRange range, ByteSink& sink) {
  vortex::FetchRequest request;
  request.piece = vortex::Request{std::move(task), number};
  request.expected = range;
  request.deadline = Clock::now() + options_.piece_timeout;
  request.stall_timeout = options_.stall_timeout;
  absl::StatusOr<vortex::ContentMetadata> metadata =
      co_await vortex_.Fetch(std::move(endpoint), std::move(request), sink);
  if (!metadata.ok()) co_return metadata.status();
  absl::StatusOr<Digest> digest = Digest::Parse(metadata->digest);
  if (!digest.ok()) co_return absl::DataLossError(StrCat("bad digest of the piece: ", MessageOf(digest.status())));
  co_return *std::move(digest);
}

asio::awaitable<absl::StatusOr<Digest>> PieceFetcher::ByGrpc(std::string address, TaskId task, PieceNumber number,
                                                             ByteRange range, ByteSink& sink) {
  wire::DownloadPieceRequest request;
  request.set_host_id(options_.host_id);
  request.set_task_id(task.str());
  request.set_piece_number(number.value());
  const std::unique_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channels_.Get(address));
  auto start = [&stub](grpc::ClientContext* context, const wire::DownloadPieceRequest* message,
                       wire::DownloadPieceResponse* response, std::function<void(grpc::Status)> done) {
    stub->async()->DownloadPiece(context, message, response, std::move(done));
  };
  co_await limiter_.Take(range.length);
  const absl::StatusOr<wire::DownloadPieceResponse> response =
      co_await rpc::Unary<wire::DownloadPieceResponse>(std::move(start), std::move(request), options_.piece_timeout);
  if (!response.ok()) co_return response.status();

  const common::v2::Piece& piece = response->piece();
  if (piece.number() != number.value() || piece.offset() != range.offset || piece.length() != range.length ||
      piece.content().size() != range.length) {
    co_return absl::DataLossError(StrCat(
        "the parent sent piece ", piece.number(), " at ", piece.offset(), " of ", piece.length(), " bytes with ",
        piece.content().size(), " of content, expected ", number.value(), " at ", range.offset, " of ", range.length));
  }
  if (response->has_digest()) {
    const std::string expected = PieceMetadataDigest(number, range, piece.digest());
    if (response->digest() != expected) {
      co_return absl::DataLossError(
          StrCat("digest mismatch expected: ", expected, ", actual: ", Quoted(response->digest())));
    }
  }
  absl::StatusOr<Digest> digest = Digest::Parse(piece.digest());
  if (!digest.ok()) co_return absl::DataLossError(StrCat("bad digest of the piece: ", MessageOf(digest.status())));
  DF_CO_RETURN_IF_ERROR(sink.Append(std::as_bytes(std::span(piece.content()))));
  co_return *std::move(digest);
}

asio::awaitable<absl::StatusOr<Digest>> PieceFetcher::Fetch(ParentAddress parent, TaskId task, PieceNumber number,
                                                            ByteRange range, ByteSink& sink) {
  using Way = ParentMemory::Way;
  if (!parent.endpoint || !task.is_sha256()) {
    co_return co_await ByGrpc(parent.grpc, std::move(task), number, range, sink);
  }
  const Way first = memory_.Find(parent.grpc).value_or(options_.prefer_grpc ? Way::kGrpc : Way::kVortex);
  CountingSink counting(sink);
  absl::StatusOr<Digest> digest = absl::UnknownError("");
  if (first == Way::kVortex) {
    digest = co_await ByVortex(*parent.endpoint, task, number, range, counting);
  } else {
    digest = co_await ByGrpc(parent.grpc, task, number, range, counting);
  }
  if (digest.ok() || !NotServed(digest.status()) || counting.count() > 0) co_return digest;

  // A firewall before the one port, or a parent of a generation that serves the other way only.
  absl::StatusOr<Digest> second = absl::UnknownError("");
  if (first == Way::kVortex) {
    second = co_await ByGrpc(parent.grpc, std::move(task), number, range, sink);
  } else {
    second = co_await ByVortex(*parent.endpoint, std::move(task), number, range, sink);
  }
  if (second.ok()) {
    memory_.Learn(parent.grpc, first == Way::kVortex ? Way::kGrpc : Way::kVortex);
    co_return second;
  }
  co_return NotServed(second.status()) ? digest : second;
}

}  // namespace dragonfly::daemon
