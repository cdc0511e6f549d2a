// SPDX-License-Identifier: Apache-2.0
#include "daemon/parent_client.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <span>
#include <type_traits>
#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/capability.h"
#include "rpc/client_call.h"
#include "rpc/given_pieces.h"
#include "rpc/trace_metadata.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;
namespace wire = dfdaemon::v2;

namespace {

// Addresses that ParentMemory keeps; beyond that it starts anew.
constexpr size_t kMemoryMax = 4096;
constexpr std::chrono::minutes kMemoryLife{10};

std::optional<vortex::Endpoint> EndpointAt(const std::string& ip, int32_t port) {
  if (port <= 0 || port > 65535 || !IsIpLiteral(ip)) return std::nullopt;
  return vortex::Endpoint{ip, static_cast<uint16_t>(port)};
}

// `Response` is that of SyncPieces or of SyncPersistentCachePieces, whose fields are the same.
template <typename Response>
class GrpcPieceNewsStream final : public PieceNewsStream {
 public:
  explicit GrpcPieceNewsStream(std::shared_ptr<rpc::ServerStream<Response>> stream) : stream_(std::move(stream)) {}
  ~GrpcPieceNewsStream() override { stream_->Cancel(); }

  asio::awaitable<absl::StatusOr<std::optional<PieceNews>>> Next(TimePoint deadline) override {
    absl::StatusOr<std::optional<Response>> message = co_await stream_->Read(deadline);
    if (!message.ok()) co_return message.status();
    if (!message->has_value()) co_return std::nullopt;
    const Response& response = **message;
    PieceNews news;
    if constexpr (std::is_same_v<Response, wire::SyncPiecesResponse>) {
      news.all_told = rpc::IsAllTold(response);
      news.given = rpc::GivenIn(response);
    }
    news.number = PieceNumber(response.number());
    news.range = ByteRange{response.offset(), response.length()};
    if (response.has_tcp_port()) news.endpoint = EndpointAt(response.ip(), response.tcp_port());
    if (response.has_quic_port()) news.quic = EndpointAt(response.ip(), response.quic_port());
    co_return news;
  }

  std::string object_tag() const override { return stream_->Metadata(rpc::kObjectMetadata).value_or(""); }

 private:
  const std::shared_ptr<rpc::ServerStream<Response>> stream_;
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

namespace {

// `request` is complete but for what every such call tells; `open(stub, context, request, reactor)` begins the call.
template <typename Request, typename Response, typename Open>
std::unique_ptr<PieceNewsStream> StartPieceNews(rpc::ChannelPool& channels, const std::string& address,
                                                const std::string& host_id, const TaskId& task,
                                                const std::vector<PieceNumber>& numbers,
                                                const telemetry::SpanContext& trace, Request request, Open open) {
  request.set_host_id(host_id);
  request.set_task_id(task.str());
  request.mutable_interested_piece_numbers()->Reserve(static_cast<int>(numbers.size()));
  for (const PieceNumber number : numbers) request.add_interested_piece_numbers(number.value());
  // The stub lives in the closure for as long as the call may use it.
  std::shared_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channels.Get(address));
  auto start = [stub, &trace, open](grpc::ClientContext* context, const Request* message,
                                    grpc::ClientReadReactor<Response>* reactor) {
    rpc::SendTrace(trace, context);
    open(*stub, context, message, reactor);
  };
  return std::make_unique<GrpcPieceNewsStream<Response>>(
      rpc::StartServerStream<Response>(std::move(start), std::move(request)));
}

}  // namespace

std::unique_ptr<PieceNewsStream> OpenPieceNews(rpc::ChannelPool& channels, const std::string& address,
                                               const std::string& host_id, const TaskId& task,
                                               const std::vector<PieceNumber>& numbers,
                                               const telemetry::SpanContext& trace, TaskType type, bool follow) {
  using Stub = wire::DfdaemonUpload::Stub;
  if (type == TaskType::kPersistentCache) {
    return StartPieceNews<wire::SyncPersistentCachePiecesRequest, wire::SyncPersistentCachePiecesResponse>(
        channels, address, host_id, task, numbers, trace, {},
        [](Stub& stub, auto* context, auto* message, auto* reactor) {
          stub.async()->SyncPersistentCachePieces(context, message, reactor);
        });
  }
  wire::SyncPiecesRequest request;
  if (follow) rpc::SetFollowsGiven(request);
  return StartPieceNews<wire::SyncPiecesRequest, wire::SyncPiecesResponse>(
      channels, address, host_id, task, numbers, trace, std::move(request),
      [](Stub& stub, auto* context, auto* message, auto* reactor) {
        stub.async()->SyncPieces(context, message, reactor);
      });
}

asio::awaitable<absl::StatusOr<TaskAtParent>> AskParentAboutTask(rpc::ChannelPool& channels, std::string address,
                                                                 TaskId task, Clock::duration timeout) {
  wire::StatLocalTaskRequest request;
  request.set_task_id(task.str());
  const std::unique_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channels.Get(address));
  const auto confirmed_ms = std::make_shared<std::optional<uint64_t>>();
  auto start = [&stub, confirmed_ms](grpc::ClientContext* context, const wire::StatLocalTaskRequest* message,
                                     wire::StatLocalTaskResponse* response, std::function<void(grpc::Status)> done) {
    // The metadata is there when the call is done, and gone with it.
    auto take = [context, confirmed_ms, done = std::move(done)](grpc::Status status) {
      const auto& metadata = context->GetServerInitialMetadata();
      const auto found = metadata.find(rpc::kConfirmedMetadata);
      if (found != metadata.end()) {
        *confirmed_ms = ParseDecimal<uint64_t>(std::string_view(found->second.data(), found->second.size()));
      }
      done(std::move(status));
    };
    stub->async()->StatLocalTask(context, message, response, std::move(take));
  };
  const TimePoint asked_at = Clock::now();
  absl::StatusOr<wire::StatLocalTaskResponse> response =
      co_await rpc::Unary<wire::StatLocalTaskResponse>(std::move(start), std::move(request), timeout);
  if (!response.ok()) co_return response.status();
  TaskAtParent about;
  if (response->has_content_length()) about.content_length = response->content_length();
  about.piece_length = response->piece_length();
  about.complete = response->has_finished_at();
  about.response_header.insert(response->response_header().begin(), response->response_header().end());
  constexpr uint64_t kAgeMax = 1000ull * 3600 * 24 * 365;
  if (*confirmed_ms) about.confirmed_at = asked_at - std::chrono::milliseconds(std::min(**confirmed_ms, kAgeMax));
  co_return about;
}

std::optional<PieceWay> ParentMemory::Find(const std::string& address, TimePoint now) const {
  const auto found = learnt_.find(address);
  if (found == learnt_.end() || found->second.until <= now) return std::nullopt;
  return found->second.way;
}

void ParentMemory::Learn(const std::string& address, PieceWay way, TimePoint now) {
  if (learnt_.size() >= kMemoryMax && !learnt_.contains(address)) learnt_.clear();
  learnt_[address] = {way, now + kMemoryLife};
}

PieceFetcher::PieceFetcher(vortex::Client& tcp, vortex::QuicClient& quic, rpc::ChannelPool& channels,
                           runtime::TokenBucket& limiter, Options options)
    : tcp_(tcp), quic_(quic), channels_(channels), limiter_(limiter), options_(std::move(options)) {}

namespace {

// The digest that a parent names. Original daemons of v1.5.1 keep none of the pieces of what they have imported into
// the persistent cache: of those only the length can be checked.
absl::StatusOr<std::optional<Digest>> DigestOf(const std::string& text, TaskType type) {
  if (text.empty() && type == TaskType::kPersistentCache) return std::optional<Digest>();
  absl::StatusOr<Digest> digest = Digest::Parse(text);
  if (!digest.ok()) return absl::DataLossError(StrCat("bad digest of the piece: ", MessageOf(digest.status())));
  return std::optional<Digest>(*std::move(digest));
}

}  // namespace

asio::awaitable<absl::StatusOr<std::optional<Digest>>> PieceFetcher::ByVortex(PieceWay way, const ParentAddress& parent,
                                                                              TaskId task, PieceNumber number,
                                                                              ByteRange range, ByteSink& sink,
                                                                              runtime::TokenBucket& limiter) {
  vortex::FetchRequest request;
  request.piece = vortex::Request{std::move(task), number};
  request.expected = range;
  if (parent.type == TaskType::kPersistentCache) request.tag = vortex::Tag::kDownloadPersistentCachePiece;
  request.deadline = Clock::now() + options_.piece_timeout;
  request.stall_timeout = options_.stall_timeout;
  request.limiter = &limiter;
  absl::StatusOr<vortex::ContentMetadata> metadata = absl::UnknownError("");
  if (way == PieceWay::kQuic) {
    metadata = co_await quic_.Fetch(*parent.quic, std::move(request), sink);
  } else {
    metadata = co_await tcp_.Fetch(*parent.endpoint, std::move(request), sink);
  }
  if (!metadata.ok()) co_return metadata.status();
  co_return DigestOf(metadata->digest, parent.type);
}

namespace {

// What a parent answers to DownloadPiece, and alike for the other kinds of tasks.
struct PieceAnswer {
  PieceAnswer() = default;
  common::v2::Piece piece;
  std::optional<std::string> digest;  // of the metadata
};

// `call(stub, context, request, response, done)` begins the call.
template <typename Request, typename Response, typename Begin>
asio::awaitable<absl::StatusOr<PieceAnswer>> AskForPiece(std::shared_ptr<grpc::Channel> channel, std::string host_id,
                                                         TaskId task, PieceNumber number, Clock::duration timeout,
                                                         Begin begin) {
  Request request;
  request.set_host_id(std::move(host_id));
  request.set_task_id(task.str());
  request.set_piece_number(number.value());
  const std::unique_ptr<wire::DfdaemonUpload::Stub> stub = wire::DfdaemonUpload::NewStub(channel);
  auto start = [&stub, begin](grpc::ClientContext* context, const Request* message, Response* response,
                              std::function<void(grpc::Status)> done) {
    begin(*stub, context, message, response, std::move(done));
  };
  absl::StatusOr<Response> response = co_await rpc::Unary<Response>(std::move(start), std::move(request), timeout);
  if (!response.ok()) co_return response.status();
  PieceAnswer answer;
  answer.piece = std::move(*response->mutable_piece());
  if (response->has_digest()) answer.digest = response->digest();
  co_return answer;
}

}  // namespace

asio::awaitable<absl::StatusOr<std::optional<Digest>>> PieceFetcher::ByGrpc(const ParentAddress& parent, TaskId task,
                                                                            PieceNumber number, ByteRange range,
                                                                            ByteSink& sink,
                                                                            runtime::TokenBucket& limiter) {
  using Stub = wire::DfdaemonUpload::Stub;
  const bool cached = parent.type == TaskType::kPersistentCache;
  std::shared_ptr<grpc::Channel> channel = channels_.Get(parent.grpc);
  co_await limiter.TakeInChunks(range.length);
  absl::StatusOr<PieceAnswer> response = absl::UnknownError("");
  if (cached) {
    response =
        co_await AskForPiece<wire::DownloadPersistentCachePieceRequest, wire::DownloadPersistentCachePieceResponse>(
            std::move(channel), options_.host_id, std::move(task), number, options_.piece_timeout,
            [](Stub& stub, auto* context, auto* message, auto* answer, auto done) {
              stub.async()->DownloadPersistentCachePiece(context, message, answer, std::move(done));
            });
  } else {
    response = co_await AskForPiece<wire::DownloadPieceRequest, wire::DownloadPieceResponse>(
        std::move(channel), options_.host_id, std::move(task), number, options_.piece_timeout,
        [](Stub& stub, auto* context, auto* message, auto* answer, auto done) {
          stub.async()->DownloadPiece(context, message, answer, std::move(done));
        });
  }
  if (!response.ok()) co_return response.status();

  const common::v2::Piece& piece = response->piece;
  if (piece.number() != number.value() || piece.offset() != range.offset || piece.length() != range.length ||
      piece.content().size() != range.length) {
    co_return absl::DataLossError(StrCat(
        "the parent sent piece ", piece.number(), " at ", piece.offset(), " of ", piece.length(), " bytes with ",
        piece.content().size(), " of content, expected ", number.value(), " at ", range.offset, " of ", range.length));
  }
  if (response->digest) {
    const std::string expected = PieceMetadataDigest(number, range, piece.digest());
    if (*response->digest != expected) {
      co_return absl::DataLossError(
          StrCat("digest mismatch expected: ", expected, ", actual: ", Quoted(*response->digest)));
    }
  }
  absl::StatusOr<std::optional<Digest>> digest = DigestOf(piece.digest(), parent.type);
  if (!digest.ok()) co_return digest.status();
  DF_CO_RETURN_IF_ERROR(sink.Append(std::as_bytes(std::span(piece.content()))));
  co_return *std::move(digest);
}

std::vector<PieceWay> PieceFetcher::WaysTo(const ParentAddress& parent, const TaskId& task) const {
  // Ids of another form cannot be asked for by the piece protocol.
  if (!task.is_sha256()) return {PieceWay::kGrpc};
  std::vector<PieceWay> ways;
  const auto add = [&](PieceWay way) {
    const bool offered = way == PieceWay::kTcp    ? parent.endpoint.has_value()
                         : way == PieceWay::kQuic ? parent.quic.has_value()
                                                  : true;
    if (offered && std::find(ways.begin(), ways.end(), way) == ways.end()) ways.push_back(way);
  };
  if (const std::optional<PieceWay> learnt = memory_.Find(parent.grpc, Clock::now())) add(*learnt);
  add(options_.prefer);
  add(PieceWay::kTcp);
  add(PieceWay::kGrpc);
  return ways;
}

asio::awaitable<absl::StatusOr<std::optional<Digest>>> PieceFetcher::By(PieceWay way, const ParentAddress& parent,
                                                                        const TaskId& task, PieceNumber number,
                                                                        ByteRange range, ByteSink& sink,
                                                                        runtime::TokenBucket& limiter) {
  if (way == PieceWay::kGrpc) co_return co_await ByGrpc(parent, task, number, range, sink, limiter);
  co_return co_await ByVortex(way, parent, task, number, range, sink, limiter);
}

asio::awaitable<absl::StatusOr<std::optional<Digest>>> PieceFetcher::Fetch(ParentAddress parent, TaskId task,
                                                                           PieceNumber number, ByteRange range,
                                                                           ByteSink& sink,
                                                                           runtime::TokenBucket* limiter) {
  runtime::TokenBucket& bucket = limiter != nullptr ? *limiter : limiter_;
  const std::vector<PieceWay> ways = WaysTo(parent, task);
  CountingSink counting(sink);
  absl::StatusOr<std::optional<Digest>> result = absl::UnknownError("");
  for (size_t i = 0; i < ways.size(); ++i) {
    // A firewall before the one port, or a parent of a generation that serves another way only.
    absl::StatusOr<std::optional<Digest>> digest = co_await By(ways[i], parent, task, number, range, counting, bucket);
    if (digest.ok() && i > 0) memory_.Learn(parent.grpc, ways[i], Clock::now());
    const bool served = digest.ok() || !NotServed(digest.status()) || counting.count() > 0;
    // Of several ways that are not served the first one's reason tells most.
    if (served || i == 0) result = std::move(digest);
    if (served) break;
  }
  co_return result;
}

}  // namespace dragonfly::daemon
