// SPDX-License-Identifier: Apache-2.0
#include "scheduler/persistent_model.h"

#include <array>
#include <bit>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::scheduler {
namespace {

constexpr std::array<std::string_view, 4> kTaskStates = {"Pending", "Uploading", "Succeeded", "Failed"};
constexpr std::array<std::string_view, 7> kPeerStates = {"Pending", "Uploading", "ReceivedEmpty", "ReceivedNormal",
                                                         "Running", "Succeeded", "Failed"};
// Of Host.type.
constexpr std::array<std::string_view, 4> kHostTypes = {"normal", "super", "strong", "weak"};

// RFC 3339 in whole seconds; Go reads "+00:00" as it reads "Z".
std::string ToText(absl::Time time) { return absl::FormatTime(absl::RFC3339_sec, time, absl::LocalTimeZone()); }
std::string ToText(absl::Duration duration) { return StrCat(absl::ToInt64Nanoseconds(duration)); }
std::string ToText(bool value) { return value ? "1" : "0"; }
std::string ToText(double value) { return StrCat(value); }

// The fields of one record by name, with errors that name them.
class Reader {
 public:
  Reader(const Fields& fields, std::string_view what) : what_(what) {
    for (const auto& [name, value] : fields) values_.emplace(name, value);
  }

  std::string Text(const std::string& name) {
    const auto found = values_.find(name);
    return found == values_.end() ? "" : found->second;
  }
  template <typename T>
  T Number(const std::string& name) {
    const auto value = ParseDecimal<T>(Text(name));
    if (!value) Bad(name, "is no number");
    return value.value_or(T{});
  }
  double Real(const std::string& name) {
    double value = 0;
    if (!absl::SimpleAtod(Text(name), &value)) Bad(name, "is no number");
    return value;
  }
  bool Bool(const std::string& name) {
    const std::string text = Text(name);
    const bool yes = text == "1" || text == "true";
    if (!yes && text != "0" && text != "false") Bad(name, "is neither 1 nor 0");
    return yes;
  }
  absl::Duration Duration(const std::string& name) { return absl::Nanoseconds(Number<int64_t>(name)); }
  absl::Time Time(const std::string& name) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, Text(name), &time, &error)) Bad(name, "is no time of RFC 3339");
    return time;
  }
  template <typename State, size_t N>
  State OneOf(const std::string& name, const std::array<std::string_view, N>& texts) {
    const std::string text = Text(name);
    for (size_t i = 0; i < N; ++i) {
      if (texts[i] == text) return static_cast<State>(i);
    }
    Bad(name, "is unknown");
    return State{};
  }
  void Bad(const std::string& name, std::string_view why) {
    if (!status_.ok()) return;
    status_ = absl::InternalError(StrCat("persistent cache ", what_, ": ", name, " ", Quoted(Text(name)), " ", why));
  }
  const absl::Status& status() const { return status_; }

 private:
  const std::string_view what_;
  std::map<std::string, std::string> values_;
  absl::Status status_;
};

void AppendBigEndian(uint64_t value, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

uint64_t ReadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

FinishedPieces FinishedPieces::All(uint32_t count) {
  FinishedPieces pieces;
  pieces.length_ = std::min(count, kPieceCountMax);
  pieces.words_.assign((pieces.length_ + 63) / 64, ~uint64_t{0});
  if (pieces.length_ % 64 != 0) pieces.words_.back() = (uint64_t{1} << (pieces.length_ % 64)) - 1;
  return pieces;
}

bool FinishedPieces::Set(uint32_t number) {
  if (number >= kPieceCountMax) return false;
  if (number >= length_) {
    length_ = uint64_t{number} + 1;
    words_.resize((length_ + 63) / 64);
  }
  words_[number / 64] |= uint64_t{1} << (number % 64);
  return true;
}

bool FinishedPieces::Has(uint32_t number) const {
  return number < length_ && (words_[number / 64] >> (number % 64) & 1) != 0;
}

uint32_t FinishedPieces::count() const {
  uint32_t sum = 0;
  for (const uint64_t word : words_) sum += static_cast<uint32_t>(std::popcount(word));
  return sum;
}

std::string FinishedPieces::Encode() const {
  std::string bytes;
  bytes.reserve(8 + 8 * words_.size());
  AppendBigEndian(length_, bytes);
  for (const uint64_t word : words_) AppendBigEndian(word, bytes);
  return bytes;
}

absl::StatusOr<FinishedPieces> FinishedPieces::Decode(std::string_view bytes) {
  FinishedPieces pieces;
  if (bytes.empty()) return pieces;
  if (bytes.size() < 8) return absl::InvalidArgumentError("a set of pieces ends inside its length");
  pieces.length_ = ReadBigEndian(bytes);
  if (pieces.length_ > kPieceCountMax || bytes.size() - 8 != (pieces.length_ + 63) / 64 * 8) {
    return absl::InvalidArgumentError(
        StrCat("a set of ", pieces.length_, " pieces does not take ", bytes.size(), " bytes"));
  }
  for (size_t at = 8; at < bytes.size(); at += 8) pieces.words_.push_back(ReadBigEndian(bytes.substr(at)));
  return pieces;
}

std::string_view TextOf(PersistentTaskState state) { return kTaskStates[static_cast<size_t>(state)]; }
std::string_view TextOf(PersistentPeerState state) { return kPeerStates[static_cast<size_t>(state)]; }

Fields ToFields(const PersistentTask& task) {
  return {{"id", task.id},
          {"persistent_replica_count", StrCat(task.persistent_replica_count)},
          {"tag", task.tag},
          {"application", task.application},
          {"piece_length", StrCat(task.piece_length)},
          {"content_length", StrCat(task.content_length)},
          {"total_piece_count", StrCat(task.piece_count)},
          {"state", std::string(TextOf(task.state))},
          {"ttl", ToText(task.ttl)},
          {"created_at", ToText(task.created_at)},
          {"updated_at", ToText(task.updated_at)}};
}

absl::StatusOr<PersistentTask> TaskOf(const Fields& fields) {
  Reader reader(fields, "task");
  PersistentTask task;
  task.id = reader.Text("id");
  task.persistent_replica_count = reader.Number<uint64_t>("persistent_replica_count");
  task.tag = reader.Text("tag");
  task.application = reader.Text("application");
  task.piece_length = reader.Number<uint64_t>("piece_length");
  task.content_length = reader.Number<uint64_t>("content_length");
  task.piece_count = reader.Number<uint32_t>("total_piece_count");
  task.state = reader.OneOf<PersistentTaskState>("state", kTaskStates);
  task.ttl = reader.Duration("ttl");
  task.created_at = reader.Time("created_at");
  task.updated_at = reader.Time("updated_at");
  DF_RETURN_IF_ERROR(reader.status());
  return task;
}

Fields ToFields(const PersistentPeer& peer) {
  return {{"id", peer.id},
          {"persistent", ToText(peer.persistent)},
          {"finished_pieces", peer.pieces.Encode()},
          {"state", std::string(TextOf(peer.state))},
          {"block_parents",
           nlohmann::json(peer.block_parents).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)},
          {"task_id", peer.task_id},
          {"host_id", peer.host_id},
          {"cost", ToText(peer.cost)},
          {"created_at", ToText(peer.created_at)},
          {"updated_at", ToText(peer.updated_at)}};
}

absl::StatusOr<PersistentPeer> PeerOf(const Fields& fields) {
  Reader reader(fields, "peer");
  PersistentPeer peer;
  peer.id = reader.Text("id");
  peer.persistent = reader.Bool("persistent");
  absl::StatusOr<FinishedPieces> pieces = FinishedPieces::Decode(reader.Text("finished_pieces"));
  if (pieces.ok()) {
    peer.pieces = *std::move(pieces);
  } else {
    reader.Bad("finished_pieces", MessageOf(pieces.status()));
  }
  peer.state = reader.OneOf<PersistentPeerState>("state", kPeerStates);
  const auto blocked = nlohmann::json::parse(reader.Text("block_parents"), nullptr, /*allow_exceptions=*/false);
  if (blocked.is_array()) {
    for (const auto& id : blocked) {
      if (id.is_string()) peer.block_parents.push_back(id.get<std::string>());
    }
  } else if (!blocked.is_null()) {
    reader.Bad("block_parents", "is no list");
  }
  peer.task_id = reader.Text("task_id");
  peer.host_id = reader.Text("host_id");
  peer.cost = reader.Duration("cost");
  peer.created_at = reader.Time("created_at");
  peer.updated_at = reader.Time("updated_at");
  DF_RETURN_IF_ERROR(reader.status());
  return peer;
}

Fields ToFields(const PersistentHost& host) {
  const common::v2::Host& wire = host.wire;
  const auto& cpu = wire.cpu();
  const auto& times = cpu.times();
  const auto& memory = wire.memory();
  const auto& network = wire.network();
  const auto& disk = wire.disk();
  const auto& build = wire.build();
  const size_t type = std::min<size_t>(wire.type(), kHostTypes.size() - 1);
  return {{"id", wire.id()},
          {"type", std::string(kHostTypes[type])},
          {"hostname", wire.hostname()},
          {"ip", wire.ip()},
          {"port", StrCat(wire.port())},
          {"download_port", StrCat(wire.download_port())},
          {"disable_shared", ToText(wire.disable_shared())},
          {"os", wire.os()},
          {"platform", wire.platform()},
          {"platform_family", wire.platform_family()},
          {"platform_version", wire.platform_version()},
          {"kernel_version", wire.kernel_version()},
          {"cpu_logical_count", StrCat(cpu.logical_count())},
          {"cpu_physical_count", StrCat(cpu.physical_count())},
          {"cpu_percent", ToText(cpu.percent())},
          {"cpu_processe_percent", ToText(cpu.process_percent())},
          {"cpu_times_user", ToText(times.user())},
          {"cpu_times_system", ToText(times.system())},
          {"cpu_times_idle", ToText(times.idle())},
          {"cpu_times_nice", ToText(times.nice())},
          {"cpu_times_iowait", ToText(times.iowait())},
          {"cpu_times_irq", ToText(times.irq())},
          {"cpu_times_softirq", ToText(times.softirq())},
          {"cpu_times_steal", ToText(times.steal())},
          {"cpu_times_guest", ToText(times.guest())},
          {"cpu_times_guest_nice", ToText(times.guest_nice())},
          {"memory_total", StrCat(memory.total())},
          {"memory_available", StrCat(memory.available())},
          {"memory_used", StrCat(memory.used())},
          {"memory_used_percent", ToText(memory.used_percent())},
          {"memory_processe_used_percent", ToText(memory.process_used_percent())},
          {"memory_free", StrCat(memory.free())},
          {"network_tcp_connection_count", StrCat(network.tcp_connection_count())},
          {"network_upload_tcp_connection_count", StrCat(network.upload_tcp_connection_count())},
          {"network_location", network.location()},
          {"network_idc", network.idc()},
          {"network_download_rate", StrCat(network.download_rate())},
          {"network_download_rate_limit", StrCat(network.download_rate_limit())},
          {"network_upload_rate", StrCat(network.upload_rate())},
          {"network_upload_rate_limit", StrCat(network.upload_rate_limit())},
          {"disk_total", StrCat(disk.total())},
          {"disk_free", StrCat(disk.free())},
          {"disk_used", StrCat(disk.used())},
          {"disk_used_percent", ToText(disk.used_percent())},
          {"disk_inodes_total", StrCat(disk.inodes_total())},
          {"disk_inodes_used", StrCat(disk.inodes_used())},
          {"disk_inodes_free", StrCat(disk.inodes_free())},
          {"disk_inodes_used_percent", ToText(disk.inodes_used_percent())},
          {"disk_write_bandwidth", StrCat(disk.write_bandwidth())},
          {"disk_read_bandwidth", StrCat(disk.read_bandwidth())},
          {"build_git_version", build.git_version()},
          {"build_git_commit", build.git_commit()},
          {"build_go_version", build.go_version()},
          {"build_platform", build.platform()},
          {"scheduler_cluster_id", StrCat(wire.scheduler_cluster_id())},
          {"announce_interval", ToText(host.announce_interval)},
          {"created_at", ToText(host.created_at)},
          {"updated_at", ToText(host.updated_at)}};
}

absl::StatusOr<PersistentHost> HostOf(const Fields& fields) {
  Reader reader(fields, "host");
  PersistentHost host;
  common::v2::Host& wire = host.wire;
  wire.set_id(reader.Text("id"));
  wire.set_type(static_cast<uint32_t>(reader.OneOf<int>("type", kHostTypes)));
  wire.set_hostname(reader.Text("hostname"));
  wire.set_ip(reader.Text("ip"));
  wire.set_port(reader.Number<int32_t>("port"));
  wire.set_download_port(reader.Number<int32_t>("download_port"));
  wire.set_disable_shared(reader.Bool("disable_shared"));
  wire.set_os(reader.Text("os"));
  wire.set_platform(reader.Text("platform"));
  wire.set_platform_family(reader.Text("platform_family"));
  wire.set_platform_version(reader.Text("platform_version"));
  wire.set_kernel_version(reader.Text("kernel_version"));
  auto& cpu = *wire.mutable_cpu();
  cpu.set_logical_count(reader.Number<uint32_t>("cpu_logical_count"));
  cpu.set_physical_count(reader.Number<uint32_t>("cpu_physical_count"));
  cpu.set_percent(reader.Real("cpu_percent"));
  auto& memory = *wire.mutable_memory();
  memory.set_total(reader.Number<uint64_t>("memory_total"));
  memory.set_available(reader.Number<uint64_t>("memory_available"));
  memory.set_used(reader.Number<uint64_t>("memory_used"));
  memory.set_used_percent(reader.Real("memory_used_percent"));
  memory.set_free(reader.Number<uint64_t>("memory_free"));
  auto& network = *wire.mutable_network();
  network.set_tcp_connection_count(reader.Number<uint32_t>("network_tcp_connection_count"));
  network.set_upload_tcp_connection_count(reader.Number<uint32_t>("network_upload_tcp_connection_count"));
  network.set_location(reader.Text("network_location"));
  network.set_idc(reader.Text("network_idc"));
  auto& disk = *wire.mutable_disk();
  disk.set_total(reader.Number<uint64_t>("disk_total"));
  disk.set_free(reader.Number<uint64_t>("disk_free"));
  disk.set_used(reader.Number<uint64_t>("disk_used"));
  disk.set_used_percent(reader.Real("disk_used_percent"));
  disk.set_inodes_total(reader.Number<uint64_t>("disk_inodes_total"));
  disk.set_inodes_used(reader.Number<uint64_t>("disk_inodes_used"));
  disk.set_inodes_free(reader.Number<uint64_t>("disk_inodes_free"));
  disk.set_inodes_used_percent(reader.Real("disk_inodes_used_percent"));
  auto& build = *wire.mutable_build();
  build.set_git_version(reader.Text("build_git_version"));
  build.set_git_commit(reader.Text("build_git_commit"));
  build.set_go_version(reader.Text("build_go_version"));
  build.set_platform(reader.Text("build_platform"));
  wire.set_scheduler_cluster_id(reader.Number<uint64_t>("scheduler_cluster_id"));
  host.announce_interval = reader.Duration("announce_interval");
  host.created_at = reader.Time("created_at");
  host.updated_at = reader.Time("updated_at");
  DF_RETURN_IF_ERROR(reader.status());
  return host;
}

}  // namespace dragonfly::scheduler
