// SPDX-License-Identifier: Apache-2.0
#include "db/statement_text.h"

#include "gtest/gtest.h"

namespace dragonfly::db {
namespace {

TEST(NameParameters, NumbersTheMarksOutsideOfQuotes) {
  EXPECT_EQ(NameParameters("SELECT a FROM \"user?\" WHERE b = ? AND c = 'why?' AND d = ?"),
            "SELECT a FROM \"user?\" WHERE b = :p1 AND c = 'why?' AND d = :p2");
  EXPECT_EQ(NameParameters(""), "");
}

}  // namespace
}  // namespace dragonfly::db
