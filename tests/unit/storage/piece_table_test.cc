// SPDX-License-Identifier: Apache-2.0
#include "storage/piece_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace dragonfly::storage {
namespace {

constexpr uint64_t kPiece = 100;

PieceRecord RecordOf(uint32_t number, uint32_t salt) {
  PieceRecord record;
  record.number = PieceNumber(number);
  record.range = {number * kPiece, 1 + salt % kPiece};
  record.crc32 = salt * 2654435761u;
  record.parent_id = "parent-" + std::to_string(salt % 7);
  record.traffic_type = static_cast<TrafficType>(salt % 3);
  record.cost = absl::Microseconds(salt);
  record.created_at = absl::FromUnixMicros(1'700'000'000'000'000 + salt);
  return record;
}

void ExpectSame(const PieceRecord& a, const PieceRecord& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.range, b.range);
  EXPECT_EQ(a.crc32, b.crc32);
  EXPECT_EQ(a.parent_id, b.parent_id);
  EXPECT_EQ(a.traffic_type, b.traffic_type);
  EXPECT_EQ(a.cost, b.cost);
  EXPECT_EQ(a.created_at, b.created_at);
}

TEST(PieceTable, AnswersLikeAMapOfRecords) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    PieceTable table(kPiece);
    std::map<uint32_t, PieceRecord> model;
    std::set<uint32_t> untrusted;
    for (int step = 0; step < 2'000; ++step) {
      const uint32_t number = random() % 150;
      const auto it = model.find(number);
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
          if (it == model.end()) {
            const bool trusted = random() % 2 == 0;
            model[number] = RecordOf(number, random() % 100'000);
            table.Insert(model[number], trusted);
            if (!trusted) untrusted.insert(number);
          }
          break;
        case 3:
          ASSERT_EQ(table.Drop(PieceNumber(number)), it != model.end());
          model.erase(number);
          untrusted.erase(number);
          break;
        case 4:
          table.Trust(PieceNumber(number));
          untrusted.erase(number);
          break;
        case 5:
          if (random() % 100 == 0) {
            table.DistrustAll();
            for (const auto& [n, record] : model) untrusted.insert(n);
          } else if (random() % 100 == 0) {
            table.DropAll();
            model.clear();
            untrusted.clear();
          }
          break;
        default: {
          const size_t limit = random() % 20;
          const std::vector<PieceRecord> some = table.Ascending(PieceNumber(number), limit);
          auto expected = model.lower_bound(number);
          for (const PieceRecord& record : some) {
            ASSERT_NE(expected, model.end());
            ExpectSame(record, expected->second);
            ++expected;
          }
          if (some.size() < limit) ASSERT_EQ(expected, model.end());
        }
      }
      uint64_t bytes = 0;
      for (const auto& [n, record] : model) bytes += record.range.length;
      ASSERT_EQ(table.count(), model.size());
      ASSERT_EQ(table.bytes(), bytes);
      ASSERT_EQ(table.untrusted_count(), untrusted.size());
      ASSERT_EQ(table.Has(PieceNumber(number)), model.contains(number));
      ASSERT_EQ(table.trusted(PieceNumber(number)), model.contains(number) && !untrusted.contains(number));
    }
  }
}

TEST(PieceTable, TellsASubscriberEveryPieceAlsoWhenOthersAreDropped) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    PieceTable table(kPiece);
    std::set<uint32_t> finished;
    std::set<uint32_t> told;
    size_t from = 0;
    for (int step = 0; step < 300; ++step) {
      const uint32_t number = random() % 30;
      if (random() % 3 != 0) {
        if (finished.insert(number).second) table.Insert(RecordOf(number, 1), true);
      } else if (finished.erase(number) != 0) {
        table.Drop(PieceNumber(number));
        told.erase(number);
      }
      if (random() % 4 == 0) {
        const std::vector<PieceRecord> news = table.Since(from);
        from += news.size();
        for (const PieceRecord& record : news) {
          ASSERT_TRUE(finished.contains(record.number.value()));
          told.insert(record.number.value());
        }
        ASSERT_EQ(told, finished) << "seed " << seed << " step " << step;
      }
    }
  }
}

TEST(PieceTable, KeepsTheOrderOfFinishing) {
  PieceTable table(kPiece);
  for (const uint32_t number : {5u, 1u, 9u}) table.Insert(RecordOf(number, 3), true);
  const std::vector<PieceRecord> news = table.Since(1);
  ASSERT_EQ(news.size(), 2u);
  EXPECT_EQ(news[0].number, PieceNumber(1));
  EXPECT_EQ(news[1].number, PieceNumber(9));
  EXPECT_TRUE(table.Since(3).empty());
  EXPECT_TRUE(table.Since(SIZE_MAX).empty());
}

}  // namespace
}  // namespace dragonfly::storage
