// SPDX-License-Identifier: Apache-2.0
#include "storage/piece_table.h"

#include <algorithm>

namespace dragonfly::storage {

void PieceTable::Insert(const PieceRecord& record, bool trusted) {
  const uint32_t number = record.number.value();
  if (number >= entry_index_.size()) entry_index_.resize(size_t{number} + 1);
  entry_index_[number] = static_cast<uint32_t>(entries_.size());
  Entry entry;
  entry.number = number;
  entry.crc32 = record.crc32;
  entry.length = record.range.length;
  entry.created_us = absl::ToUnixMicros(record.created_at);
  entry.cost_us = absl::ToInt64Microseconds(record.cost);
  entry.parent = InternParent(record.parent_id);
  entry.traffic_type = static_cast<uint8_t>(record.traffic_type);
  entry.finished = true;
  entry.trusted = trusted;
  entries_.push_back(entry);
  finished_.Set(record.number);
  ++count_;
  bytes_ += record.range.length;
  if (!trusted) ++untrusted_;
}

bool PieceTable::Drop(PieceNumber number) {
  if (!Has(number)) return false;
  Entry& entry = entries_[entry_index_[number.value()]];
  entry.finished = false;
  if (!entry.trusted) --untrusted_;
  finished_.Clear(number);
  --count_;
  bytes_ -= entry.length;
  return true;
}

void PieceTable::DropAll() {
  for (Entry& entry : entries_) entry.finished = false;
  finished_.ClearAll();
  count_ = 0;
  bytes_ = 0;
  untrusted_ = 0;
}

std::optional<PieceRecord> PieceTable::Find(PieceNumber number) const {
  const Entry* entry = EntryOf(number);
  if (entry == nullptr) return std::nullopt;
  return RecordOf(*entry);
}

std::vector<PieceRecord> PieceTable::Ascending(PieceNumber first, size_t limit) const {
  std::vector<PieceRecord> records;
  records.reserve(std::min<size_t>(limit, count_));
  for (auto number = finished_.NextFrom(first); number && records.size() < limit;
       number = finished_.NextFrom(number->next())) {
    records.push_back(RecordOf(*EntryOf(*number)));
  }
  return records;
}

std::vector<PieceRecord> PieceTable::Since(size_t from) const {
  std::vector<PieceRecord> records;
  if (from >= entries_.size() || count_ == 0) return records;
  records.reserve(entries_.size() - from);
  for (size_t i = from; i < entries_.size(); ++i) {
    const Entry* entry = &entries_[i];
    if (!entry->finished) entry = EntryOf(*finished_.NextFrom(PieceNumber(0)));
    records.push_back(RecordOf(*entry));
  }
  return records;
}

bool PieceTable::trusted(PieceNumber number) const {
  const Entry* entry = EntryOf(number);
  return entry != nullptr && entry->trusted;
}

void PieceTable::Trust(PieceNumber number) {
  if (!Has(number)) return;
  Entry& entry = entries_[entry_index_[number.value()]];
  if (!entry.trusted) --untrusted_;
  entry.trusted = true;
}

void PieceTable::DistrustAll() {
  for (Entry& entry : entries_) entry.trusted = false;
  untrusted_ = count_;
}

const PieceTable::Entry* PieceTable::EntryOf(PieceNumber number) const {
  return Has(number) ? &entries_[entry_index_[number.value()]] : nullptr;
}

PieceRecord PieceTable::RecordOf(const Entry& entry) const {
  PieceRecord record;
  record.number = PieceNumber(entry.number);
  record.range = {entry.number * piece_length_, entry.length};
  record.crc32 = entry.crc32;
  record.parent_id = parents_[entry.parent];
  record.traffic_type = static_cast<TrafficType>(entry.traffic_type);
  record.cost = absl::Microseconds(entry.cost_us);
  record.created_at = absl::FromUnixMicros(entry.created_us);
  return record;
}

uint32_t PieceTable::InternParent(const std::string& parent_id) {
  // From the back: a parent that gave one piece probably gave the one before.
  for (size_t i = parents_.size(); i-- > 0;) {
    if (parents_[i] == parent_id) return static_cast<uint32_t>(i);
  }
  parents_.push_back(parent_id);
  return static_cast<uint32_t>(parents_.size() - 1);
}

}  // namespace dragonfly::storage
