// SPDX-License-Identifier: Apache-2.0
#include "scheduler_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/text.h"
#include "rpc/more_parents.h"
#include "runtime/clock.h"
#include "scheduler/v2/scheduler.grpc.pb.h"

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

constexpr int kConnections = 8;
constexpr uint64_t kPieceLength = 4 << 20;

std::string HostId(size_t number) { return StrCat("host-", number); }

api::AnnounceHostRequest Announcement(size_t number, bool with_bandwidth) {
  api::AnnounceHostRequest request;
  common::v2::Host& host = *request.mutable_host();
  host.set_id(HostId(number));
  host.set_hostname(StrCat("worker-", number));
  host.set_ip("10.0.0.1");
  host.set_port(4000);
  host.set_download_port(4000);
  host.set_os("linux");
  host.set_platform("linux");
  host.set_platform_family("unix");
  host.mutable_cpu()->set_logical_count(16);
  host.mutable_memory()->set_total(uint64_t{64} << 30);
  host.mutable_network()->set_idc(StrCat("idc-", number % 4));
  host.mutable_network()->set_location(StrCat("eu|de|rack-", number % 100));
  if (with_bandwidth) host.mutable_network()->set_max_tx_bandwidth(10'000'000'000);
  host.mutable_disk()->set_total(uint64_t{1} << 40);
  host.mutable_build()->set_git_version("2.3.0");
  request.mutable_interval()->set_seconds(300);
  return request;
}

// One AnnouncePeer stream. Its events come one at a time for each direction.
class Conversation final : public grpc::ClientBidiReactor<api::AnnouncePeerRequest, api::AnnouncePeerResponse> {
 public:
  // `answered(this, latency, as_expected)` is called once.
  using Answered = std::function<void(Conversation*, PeerRole, Clock::duration, bool)>;

  Conversation(api::Scheduler::Stub& stub, const SchedulerClient::Options& options, size_t number, PeerRole role,
               Answered answered);
  // Reports pieces [0, count). Once, after the conversation has its answer.
  void Report(uint32_t count) {
    pieces_ = count;
    SendPiece();
  }

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status&) override { delete this; }
  void Next();
  void SendPiece();

  const PeerRole role_;
  const Answered answered_;
  const TimePoint begin_ = Clock::now();
  grpc::ClientContext context_;
  api::AnnouncePeerRequest request_;
  api::AnnouncePeerResponse response_;
  std::atomic<int> first_steps_{0};  // the registration was sent, and answered
  bool talking_ = false;             // both have happened
  bool is_answered_ = false;
  uint32_t piece_ = 0;
  uint32_t pieces_ = 0;
};

Conversation::Conversation(api::Scheduler::Stub& stub, const SchedulerClient::Options& options, size_t number,
                           PeerRole role, Answered answered)
    : role_(role), answered_(std::move(answered)) {
  request_.set_host_id(HostId(number % options.hosts));
  request_.set_task_id(StrCat("task-", number % options.tasks));
  request_.set_peer_id(StrCat("10.0.0.1-worker-", number, "-8a5cbd0e-0f3c-4a56-9a6e-123456789012"));
  if (options.takes_more_parents) rpc::SetTakesMoreParents(*request_.mutable_register_peer_request());
  common::v2::Download& download = *request_.mutable_register_peer_request()->mutable_download();
  download.set_url("http://origin/file");
  download.set_need_back_to_source(role == PeerRole::kSource);
  download.set_actual_content_length(SchedulerClient::kPieces * kPieceLength);
  download.set_actual_piece_length(kPieceLength);
  download.set_actual_piece_count(SchedulerClient::kPieces);
  stub.async()->AnnouncePeer(&context_, this);
  StartWrite(&request_);
  StartRead(&response_);
  // Reports begin outside of reactions.
  AddHold();
  StartCall();
}

void Conversation::OnReadDone(bool ok) {
  if (!ok) {
    RemoveHold();
    return;
  }
  const bool first = !is_answered_;
  is_answered_ = true;
  const bool as_expected = response_.has_need_back_to_source_response() == (role_ == PeerRole::kSource);
  StartRead(&response_);
  // Later ones bring more parents.
  if (!first) return;
  Next();
  answered_(this, role_, Clock::now() - begin_, as_expected);
}

// The answer may be here before the word that the registration was sent.
void Conversation::Next() {
  if (first_steps_.fetch_add(1) != 1) return;
  switch (role_) {
    case PeerRole::kSource:
      request_.mutable_download_peer_back_to_source_started_request();
      break;
    case PeerRole::kStays:
      request_.mutable_download_peer_started_request();
      break;
    case PeerRole::kFinishes:
      request_.mutable_download_peer_finished_request();
      break;
  }
  talking_ = true;
  StartWrite(&request_);
}

void Conversation::OnWriteDone(bool ok) {
  if (!ok) return;
  if (!talking_) {
    Next();
  } else if (piece_ < pieces_) {
    SendPiece();
  }
}

void Conversation::SendPiece() {
  common::v2::Piece& piece = *request_.mutable_download_piece_finished_request()->mutable_piece();
  piece.set_number(piece_);
  piece.set_offset(piece_ * kPieceLength);
  piece.set_length(kPieceLength);
  piece.set_digest("crc32:1475635037");
  piece.set_traffic_type(common::v2::REMOTE_PEER);
  piece.mutable_cost()->set_nanos(10'000'000);
  piece.mutable_created_at()->set_seconds(1'700'000'000);
  ++piece_;
  StartWrite(&request_);
}

}  // namespace

double Latencies::At(double share) const {
  if (milliseconds.empty()) return 0;
  return milliseconds[static_cast<size_t>(share * static_cast<double>(milliseconds.size() - 1))];
}

struct SchedulerClient::Load {
  explicit Load(const Options& from) : options(from) {
    for (int i = 0; i < kConnections; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      stubs.push_back(api::Scheduler::NewStub(
          grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments)));
    }
  }

  void StartNext() {
    size_t number = 0;
    PeerRole role{};
    {
      absl::MutexLock lock(&mutex);
      if (to_start == 0) return;
      --to_start;
      number = next++;
      role = starting;
    }
    new Conversation(*stubs[number % stubs.size()], options, number, role,
                     [this](Conversation* conversation, PeerRole of, Clock::duration took, bool as_expected) {
                       Answered(conversation, of, took, as_expected);
                     });
  }

  void Answered(Conversation* conversation, PeerRole role, Clock::duration took, bool as_expected) {
    {
      absl::MutexLock lock(&mutex);
      milliseconds.push_back(std::chrono::duration<double, std::milli>(took).count());
      if (!as_expected) ++unexpected;
      if (role == PeerRole::kStays) open.push_back(conversation);
    }
    StartNext();
  }

  const Options options;
  std::vector<std::unique_ptr<api::Scheduler::Stub>> stubs;
  absl::Mutex mutex;
  PeerRole starting ABSL_GUARDED_BY(mutex) = PeerRole::kSource;
  std::vector<double> milliseconds ABSL_GUARDED_BY(mutex);  // of those that have their answer
  std::vector<Conversation*> open ABSL_GUARDED_BY(mutex);
  size_t to_start ABSL_GUARDED_BY(mutex) = 0;
  size_t next ABSL_GUARDED_BY(mutex) = 0;
  size_t unexpected ABSL_GUARDED_BY(mutex) = 0;
};

SchedulerClient::SchedulerClient(const Options& options) : load_(std::make_unique<Load>(options)) {}

void SchedulerClient::AnnounceHosts() {
  for (size_t i = 0; i < load_->options.hosts; ++i) {
    google::protobuf::Empty empty;
    grpc::ClientContext context;
    load_->stubs[i % load_->stubs.size()]->AnnounceHost(&context, Announcement(i, load_->options.announces_bandwidth),
                                                        &empty);
  }
}

Latencies SchedulerClient::Register(size_t count, size_t in_flight, PeerRole role) {
  const TimePoint begin = Clock::now();
  {
    absl::MutexLock lock(&load_->mutex);
    load_->milliseconds.clear();
    load_->to_start = count;
    load_->starting = role;
  }
  for (size_t i = 0; i < std::min(count, in_flight); ++i) load_->StartNext();
  absl::MutexLock lock(&load_->mutex);
  const auto all = [&] {
    load_->mutex.AssertHeld();
    return load_->milliseconds.size() == count;
  };
  load_->mutex.Await(absl::Condition(&all));
  Latencies latencies{load_->milliseconds, std::chrono::duration<double>(Clock::now() - begin).count()};
  std::sort(latencies.milliseconds.begin(), latencies.milliseconds.end());
  return latencies;
}

size_t SchedulerClient::ReportPieces(uint32_t pieces) {
  absl::MutexLock lock(&load_->mutex);
  for (Conversation* conversation : load_->open) conversation->Report(pieces);
  return load_->open.size() * pieces;
}

size_t SchedulerClient::unexpected_answers() const {
  absl::MutexLock lock(&load_->mutex);
  return load_->unexpected;
}

}  // namespace dragonfly::scheduler
