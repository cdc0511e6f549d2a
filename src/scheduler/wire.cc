// SPDX-License-Identifier: Apache-2.0
#include "scheduler/wire.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace dragonfly::scheduler {
namespace {

namespace api = ::scheduler::v2;

constexpr uint64_t kUnknownLength = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kTinyMax = 128;                // bytes
constexpr int64_t kIntervalMax = 30 * 24 * 3600;  // seconds

// The calendar time of a moment of the monotonic clock, by one difference taken at the start.
google::protobuf::Timestamp ToTimestamp(TimePoint when) {
  static const std::chrono::nanoseconds kDifference =
      std::chrono::system_clock::now().time_since_epoch() - Clock::now().time_since_epoch();
  const int64_t nanos = (when.time_since_epoch() + kDifference).count();
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(nanos / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return timestamp;
}

google::protobuf::Duration ToDuration(Clock::duration duration) {
  const int64_t nanos = std::chrono::nanoseconds(duration).count();
  google::protobuf::Duration out;
  out.set_seconds(nanos / 1'000'000'000);
  out.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return out;
}

Clock::duration ToClock(const google::protobuf::Duration& duration) {
  const int64_t seconds = std::clamp<int64_t>(duration.seconds(), 0, kIntervalMax);
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(std::clamp(duration.nanos(), 0, 999'999'999));
}

common::v2::SizeScope ScopeOf(const Task& task) {
  const std::optional<uint64_t> length = task.content_length();
  if (!length.has_value()) return common::v2::UNKNOW;
  if (*length == 0) return common::v2::EMPTY;
  if (*length <= kTinyMax) return common::v2::TINY;
  return task.piece_count() == 1 ? common::v2::SMALL : common::v2::NORMAL;
}

// All but task and host.
void FillOwn(const Peer& peer, common::v2::Peer* out) {
  out->set_id(peer.id());
  if (peer.range.has_value()) {
    out->mutable_range()->set_start(peer.range->start);
    out->mutable_range()->set_length(peer.range->length);
  }
  out->set_priority(static_cast<common::v2::Priority>(peer.priority));
  *out->mutable_cost() = ToDuration(peer.cost);
  out->set_state(std::string(Name(peer.state())));
  out->set_need_back_to_source(peer.need_back_to_source);
  *out->mutable_created_at() = ToTimestamp(peer.created_at);
  *out->mutable_updated_at() = ToTimestamp(peer.updated_at);
}

// Appends a message that was serialised before as field `number` of `out`. On the wire an unknown field looks like a
// known one, and this spares parsing, copying and serialising sixty fields per parent.
void AddSerialised(int number, const std::string& bytes, common::v2::Peer* out) {
  out->GetReflection()->MutableUnknownFields(out)->AddLengthDelimited(number, bytes);
}

const std::string& SerialisedTask(Task& task) {
  if (task.wire_version != task.version()) {
    common::v2::Task message;
    Fill(task, &message);
    task.wire = message.SerializeAsString();
    task.wire_version = task.version();
  }
  return task.wire;
}

}  // namespace

std::shared_ptr<const HostFacts> ToFacts(const api::AnnounceHostRequest& request, const UploadLimits& limits) {
  const common::v2::Host& host = request.host();
  auto facts = std::make_shared<HostFacts>();
  facts->id = host.id();
  facts->hostname = host.hostname();
  facts->ip = host.ip();
  facts->port = host.port();
  facts->type = host.type();
  facts->disable_shared = host.disable_shared();
  facts->idc = host.network().idc();
  facts->location = host.network().location();
  facts->upload_limit = facts->seed() ? limits.seed : limits.normal;
  facts->announce_interval = ToClock(request.interval());
  facts->knows_length = !host.build().rust_version().empty();
  facts->max_tx_rate = static_cast<double>(host.network().max_tx_bandwidth()) / 8;
  facts->max_rx_rate = static_cast<double>(host.network().max_rx_bandwidth()) / 8;
  common::v2::Host shown = host;
  shown.clear_scheduler_cluster_id();
  shown.clear_disable_shared();
  facts->wire = shown.SerializeAsString();
  facts->announced = std::make_shared<const common::v2::Host>(host);
  return facts;
}

std::shared_ptr<const HostFacts> ToFacts(const ListedSeed& seed, const UploadLimits& limits) {
  // Types that the manager knows, by their numbers in announcements.
  uint32_t type = 1;
  if (seed.type == "strong") type = 2;
  if (seed.type == "weak") type = 3;
  api::AnnounceHostRequest request;
  common::v2::Host& host = *request.mutable_host();
  host.set_id(seed.ip + "-" + seed.hostname + "-seed");
  host.set_type(type);
  host.set_hostname(seed.hostname);
  host.set_ip(seed.ip);
  host.set_port(seed.port);
  host.set_download_port(seed.download_port);
  host.mutable_network()->set_idc(seed.idc);
  host.mutable_network()->set_location(seed.location);
  return ToFacts(request, limits);
}

Registration ToRegistration(std::shared_ptr<const common::v2::Download> download) {
  Registration registration;
  registration.about.type = static_cast<TaskType>(download->type());
  registration.about.url = download->url();
  registration.about.digest = download->digest();
  registration.about.tag = download->tag();
  registration.about.application = download->application();
  registration.about.filtered_query_params.assign(download->filtered_query_params().begin(),
                                                  download->filtered_query_params().end());
  registration.priority = download->priority();
  registration.range = ToRange(*download);
  registration.need_back_to_source = download->need_back_to_source();
  registration.metadata_only = download->metadata_only();
  if (download->has_actual_content_length()) registration.content_length = ToLength(download->actual_content_length());
  if (download->has_actual_piece_length()) {
    registration.piece_length = download->actual_piece_length();
  } else if (download->has_piece_length()) {
    registration.piece_length = download->piece_length();
  }
  if (download->has_actual_piece_count()) registration.piece_count = download->actual_piece_count();
  registration.download = std::move(download);
  return registration;
}

common::v2::Download ToSeedDownload(const common::v2::Download& download) {
  common::v2::Download seed = download;
  seed.set_need_back_to_source(true);
  seed.clear_output_path();
  seed.clear_need_piece_content();  // nobody here wants the bytes
  seed.clear_metadata_only();
  return seed;
}

PieceReport ToPieceReport(const common::v2::Piece& piece) {
  PieceReport report;
  report.number = PieceNumber(piece.number());
  report.offset = piece.offset();
  report.length = piece.length();
  report.parent_id = piece.parent_id();
  report.cost = ToClock(piece.cost());
  return report;
}

std::optional<RequestedRange> ToRange(const common::v2::Download& download) {
  if (!download.has_range()) return std::nullopt;
  return RequestedRange{download.range().start(), download.range().length()};
}

std::optional<uint64_t> ToLength(uint64_t content_length) {
  if (content_length == kUnknownLength) return std::nullopt;
  return content_length;
}

void Fill(const Task& task, common::v2::Task* out) {
  out->set_id(task.id());
  out->set_type(static_cast<common::v2::TaskType>(task.about().type));
  out->set_url(task.about().url);
  if (!task.about().digest.empty()) out->set_digest(task.about().digest);
  out->set_tag(task.about().tag);
  out->set_application(task.about().application);
  for (const std::string& name : task.about().filtered_query_params) out->add_filtered_query_params(name);
  out->set_content_length(task.content_length().value_or(kUnknownLength));
  out->set_piece_count(task.piece_count());
  out->set_size_scope(ScopeOf(task));
  out->set_state(std::string(Name(task.state())));
  out->set_peer_count(static_cast<uint32_t>(task.peers().size()));
  out->set_has_available_peer(task.parent_count() > 0);
  *out->mutable_created_at() = ToTimestamp(task.created_at);
  *out->mutable_updated_at() = ToTimestamp(task.updated_at);
}

void Fill(const Peer& peer, common::v2::Peer* out) {
  FillOwn(peer, out);
  Fill(peer.task(), out->mutable_task());
  common::v2::Host* const host = out->mutable_host();
  *host = *peer.host_facts().announced;
  host->clear_scheduler_cluster_id();
  host->clear_disable_shared();
}

api::AnnouncePeerResponse ToResponse(std::span<Peer* const> parents) {
  api::AnnouncePeerResponse response;
  api::NormalTaskResponse* const normal = response.mutable_normal_task_response();
  normal->mutable_candidate_parents()->Reserve(static_cast<int>(parents.size()));
  for (const Peer* parent : parents) {
    common::v2::Peer* const out = normal->add_candidate_parents();
    FillOwn(*parent, out);
    AddSerialised(common::v2::Peer::kTaskFieldNumber, SerialisedTask(parent->task()), out);
    AddSerialised(common::v2::Peer::kHostFieldNumber, parent->host_facts().wire, out);
  }
  return response;
}

}  // namespace dragonfly::scheduler
