// SPDX-License-Identifier: Apache-2.0
#include "storage/task_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <concepts>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/digest.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::storage {
namespace {

using std::literals::string_view_literals::operator""sv;

constexpr std::string_view kMagic = "DFTASK\0\1"sv;  // the last byte is the version

enum class RecordType : uint8_t {
  kHeader = 1,
  kPieceFinished = 2,
  kPieceDropped = 3,
  kContentReset = 4,
  kContentLength = 5,
  kBoot = 6,
  kExposed = 7,
  kSynced = 8,
};

// crc32 u32 (of all that follows), payload length u32, type u8
constexpr size_t kFrameBytes = 9;
constexpr uint64_t kUnknownLength = UINT64_MAX;
// The header is the longest: names and values, four bytes for the length of each, and what has a fixed size.
constexpr size_t kPayloadBytesMax = kResponseHeaderBytesMax + 8 * kResponseHeaderCountMax + 256;

class Encoder {
 public:
  explicit Encoder(RecordType type, std::string_view before = {}) : bytes_(before), start_(before.size()) {
    Put(uint32_t{0});
    Put(uint32_t{0});
    Put(static_cast<uint8_t>(type));
  }

  // Little-endian.
  template <std::unsigned_integral T>
  Encoder& Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<char>((uint64_t{value} >> (8 * i)) & 0xff));
    return *this;
  }
  Encoder& Put(int64_t value) { return Put(static_cast<uint64_t>(value)); }
  Encoder& PutText(std::string_view text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_.append(text);
    return *this;
  }
  Encoder& PutBytes(const BootId& bytes) {
    for (const uint8_t byte : bytes) Put(byte);
    return *this;
  }

  std::string Finish() && {
    Patch(start_ + 4, static_cast<uint32_t>(bytes_.size() - start_ - kFrameBytes));
    Patch(start_, Crc32(std::string_view(bytes_).substr(start_ + 4)));
    return std::move(bytes_);
  }

 private:
  void Patch(size_t at, uint32_t value) {
    for (size_t i = 0; i < sizeof(value); ++i) bytes_[at + i] = static_cast<char>((value >> (8 * i)) & 0xff);
  }

  std::string bytes_;
  size_t start_;
};

// Takes values off the front; after the first value that is not there everything is zero and ok() false.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && bytes_.empty(); }

  template <std::unsigned_integral T>
  T Get() {
    const std::string_view raw = Cut(sizeof(T));
    uint64_t value = 0;
    for (size_t i = raw.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(raw[i]);
    return static_cast<T>(value);
  }
  int64_t GetSigned() { return static_cast<int64_t>(Get<uint64_t>()); }
  std::string_view GetText() { return Cut(Get<uint32_t>()); }
  BootId GetBootId() {
    BootId id;
    for (uint8_t& byte : id) byte = Get<uint8_t>();
    return id;
  }

 private:
  std::string_view Cut(size_t size) {
    if (!ok_ || size > bytes_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view cut = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return cut;
  }

  std::string_view bytes_;
  bool ok_ = true;
};

struct Record {
  RecordType type;
  std::string_view payload;
  size_t size;  // with its frame
};

// The record at the front of `bytes`; nullopt when it is torn or damaged.
std::optional<Record> NextRecord(std::string_view bytes) {
  Decoder frame(bytes.substr(0, kFrameBytes));
  const auto crc = frame.Get<uint32_t>();
  const auto length = frame.Get<uint32_t>();
  const auto type = frame.Get<uint8_t>();
  if (!frame.ok() || length > kPayloadBytesMax || length > bytes.size() - kFrameBytes) return std::nullopt;
  if (Crc32(bytes.substr(4, kFrameBytes - 4 + length)) != crc) return std::nullopt;
  return Record{static_cast<RecordType>(type), bytes.substr(kFrameBytes, length), kFrameBytes + length};
}

// Reads the records of one log one after the other; false means that a record contradicts what was before.
class Replay {
 public:
  Replay(const TaskId& id, const std::optional<BootId>& boot_id) : id_(id), boot_id_(boot_id) {}

  bool Header(std::string_view payload) {
    Decoder in(payload);
    TaskLogHeader& header = log_.header;
    if (in.GetText() != id_.str()) return false;
    const auto content_length = in.Get<uint64_t>();
    if (content_length != kUnknownLength) header.content_length = content_length;
    header.piece_length = in.Get<uint64_t>();
    header.created_at = absl::FromUnixMicros(in.GetSigned());
    header.boot_id = in.GetBootId();
    const auto pairs = in.Get<uint32_t>();
    if (pairs > kResponseHeaderCountMax) return false;
    for (uint32_t i = 0; i < pairs && in.ok(); ++i) {
      const std::string_view name = in.GetText();
      header.response_header.emplace(name, in.GetText());
    }
    if (!in.done()) return false;
    Boot(header.boot_id);
    // Checks the piece length also when the content's is not known yet.
    absl::StatusOr<PieceLayout> layout = PieceLayout::Make(content_length_or_zero(), header.piece_length);
    if (!layout.ok()) return false;
    log_.layout = *layout;
    return true;
  }

  bool Apply(const Record& record, uint64_t offset) {
    Decoder in(record.payload);
    switch (record.type) {
      case RecordType::kHeader:
        return false;
      case RecordType::kPieceFinished:
        return PieceFinished(in, offset);
      case RecordType::kPieceDropped: {
        const PieceNumber number(in.Get<uint32_t>());
        if (!in.done()) return false;
        alive_.erase(number.value());
        return true;
      }
      case RecordType::kContentReset:
        if (!in.done()) return false;
        alive_.clear();
        log_.exposed = false;
        log_.synced_ns.reset();
        synced_bytes_ = 0;
        return true;
      case RecordType::kContentLength: {
        const auto content_length = in.Get<uint64_t>();
        if (!in.done() || log_.header.content_length) return false;
        absl::StatusOr<PieceLayout> layout = PieceLayout::Make(content_length, log_.header.piece_length);
        if (!layout.ok()) return false;
        log_.header.content_length = content_length;
        log_.layout = *layout;
        return true;
      }
      case RecordType::kBoot: {
        const BootId boot_id = in.GetBootId();
        if (!in.done()) return false;
        Boot(boot_id);
        return true;
      }
      case RecordType::kExposed:
        log_.exposed = true;
        return in.done();
      case RecordType::kSynced: {
        const auto log_bytes = in.Get<uint64_t>();
        const int64_t modified_ns = in.GetSigned();
        if (!in.done() || log_bytes > offset) return false;
        synced_bytes_ = log_bytes;
        log_.synced_ns = modified_ns;
        log_.synced_end = offset + record.size;
        return true;
      }
    }
    return false;  // a type of a later version
  }

  TaskLog Finish(uint64_t valid_bytes) && {
    log_.valid_bytes = valid_bytes;
    log_.current_boot = current_boot_;
    for (size_t i = 0; i < found_.size(); ++i) {
      Found& found = found_[i];
      const auto it = alive_.find(found.record.number.value());
      if (it == alive_.end() || it->second != i || !Fits(found.record)) continue;
      log_.pieces.push_back({std::move(found.record), found.current_boot, found.offset < synced_bytes_});
    }
    return std::move(log_);
  }

 private:
  struct Found {
    PieceRecord record;
    uint64_t offset;
    bool current_boot;
  };

  uint64_t content_length_or_zero() const { return log_.header.content_length.value_or(0); }

  void Boot(const BootId& boot_id) { current_boot_ = boot_id_ && boot_id == *boot_id_; }

  bool PieceFinished(Decoder& in, uint64_t offset) {
    Found found;
    PieceRecord& record = found.record;
    record.number = PieceNumber(in.Get<uint32_t>());
    record.range.length = in.Get<uint64_t>();
    record.crc32 = in.Get<uint32_t>();
    const auto traffic_type = in.Get<uint8_t>();
    record.cost = absl::Microseconds(in.GetSigned());
    record.created_at = absl::FromUnixMicros(in.GetSigned());
    record.parent_id = std::string(in.GetText());
    if (!in.done() || record.number.value() >= kPieceCountMax || record.range.length == 0 ||
        record.range.length > log_.header.piece_length || traffic_type > static_cast<int>(TrafficType::kLocalPeer) ||
        record.parent_id.size() > kParentIdBytesMax) {
      return false;
    }
    record.traffic_type = static_cast<TrafficType>(traffic_type);
    // The layout answers for the pieces of a content of known length only.
    if (record.number.value() > (UINT64_MAX - log_.header.piece_length) / log_.header.piece_length) return false;
    record.range.offset = record.number.value() * log_.header.piece_length;
    found.offset = offset;
    found.current_boot = current_boot_;
    alive_[record.number.value()] = found_.size();
    found_.push_back(std::move(found));
    return true;
  }

  // Whether the piece is one of the content, now that its length is as known as it will be.
  bool Fits(const PieceRecord& record) const {
    if (!log_.header.content_length) return true;
    return log_.layout.Contains(record.number) && log_.layout.RangeOf(record.number) == record.range;
  }

  const TaskId& id_;
  const std::optional<BootId>& boot_id_;
  TaskLog log_;
  std::vector<Found> found_;
  absl::flat_hash_map<uint32_t, size_t> alive_;  // piece number to index in found_
  bool current_boot_ = false;
  uint64_t synced_bytes_ = 0;
};

}  // namespace

std::optional<BootId> CurrentBootId() {
  const UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  char text[37] = {};
  if (!fd.valid() || ::read(fd.get(), text, sizeof(text)) < 36) return std::nullopt;
  BootId id{};
  size_t digits = 0;
  for (const char c : std::string_view(text, 36)) {
    if (c == '-') continue;
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0 || digits == 32) return std::nullopt;
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | value);
    ++digits;
  }
  if (digits != 32) return std::nullopt;
  return id;
}

std::string EncodeTaskLogHeader(const TaskId& id, const TaskLogHeader& header) {
  Encoder out(RecordType::kHeader, kMagic);
  out.PutText(id.str());
  out.Put(header.content_length.value_or(kUnknownLength));
  out.Put(header.piece_length);
  out.Put(absl::ToUnixMicros(header.created_at));
  out.PutBytes(header.boot_id);
  out.Put(static_cast<uint32_t>(header.response_header.size()));
  for (const auto& [name, value] : header.response_header) out.PutText(name).PutText(value);
  return std::move(out).Finish();
}

std::string EncodePieceFinished(const PieceRecord& record) {
  Encoder out(RecordType::kPieceFinished);
  out.Put(record.number.value());
  out.Put(record.range.length);
  out.Put(record.crc32);
  out.Put(static_cast<uint8_t>(record.traffic_type));
  out.Put(absl::ToInt64Microseconds(record.cost));
  out.Put(absl::ToUnixMicros(record.created_at));
  out.PutText(record.parent_id);
  return std::move(out).Finish();
}

std::string EncodePieceDropped(PieceNumber number) {
  Encoder out(RecordType::kPieceDropped);
  out.Put(number.value());
  return std::move(out).Finish();
}

std::string EncodeContentReset() { return Encoder(RecordType::kContentReset).Finish(); }

std::string EncodeContentLength(uint64_t content_length) {
  Encoder out(RecordType::kContentLength);
  out.Put(content_length);
  return std::move(out).Finish();
}

std::string EncodeBoot(const BootId& boot_id) {
  Encoder out(RecordType::kBoot);
  out.PutBytes(boot_id);
  return std::move(out).Finish();
}

std::string EncodeExposed() { return Encoder(RecordType::kExposed).Finish(); }

std::string EncodeSynced(uint64_t log_bytes, int64_t content_modified_ns) {
  Encoder out(RecordType::kSynced);
  out.Put(log_bytes);
  out.Put(content_modified_ns);
  return std::move(out).Finish();
}

absl::StatusOr<TaskLog> ParseTaskLog(std::string_view bytes, const TaskId& id, const std::optional<BootId>& boot_id) {
  if (!bytes.starts_with(kMagic)) return absl::DataLossError("metadata: not a task log of this version");
  uint64_t at = kMagic.size();
  std::optional<Record> record = NextRecord(bytes.substr(at));
  Replay replay(id, boot_id);
  if (!record || record->type != RecordType::kHeader || !replay.Header(record->payload)) {
    return absl::DataLossError("metadata: damaged header");
  }
  do {
    at += record->size;
    record = NextRecord(bytes.substr(at));
  } while (record && replay.Apply(*record, at));
  return std::move(replay).Finish(at);
}

}  // namespace dragonfly::storage
