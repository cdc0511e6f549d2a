// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <gtest/gtest.h>

namespace dragonfly::cli {
namespace {

TEST(Table, PadsEachColumnToItsWidestCell) {
  Table table({"ID", "STATE", "TTL"});
  table.AddRow({"2229733261", "Succeeded", "1h"});
  table.AddRow({"7", "Größe"});
  EXPECT_EQ(table.ToString(),
            " ID           STATE       TTL \n"
            " 2229733261   Succeeded   1h  \n"
            " 7            Größe           \n");
}

TEST(Table, HasItsHeaderWithoutRowsToo) { EXPECT_EQ(Table({"ID", "TTL"}).ToString(), " ID   TTL \n"); }

TEST(Table, WritesBytesWithOneDecimal) {
  EXPECT_EQ(ByteText(0), "0 B");
  EXPECT_EQ(ByteText(1023), "1023 B");
  EXPECT_EQ(ByteText(1024), "1.0 KiB");
  EXPECT_EQ(ByteText(4 << 20), "4.0 MiB");
  EXPECT_EQ(ByteText((uint64_t{5} << 30) + (uint64_t{1} << 29)), "5.5 GiB");
  EXPECT_EQ(ByteText(~uint64_t{0}), "16.0 EiB");
}

}  // namespace
}  // namespace dragonfly::cli
