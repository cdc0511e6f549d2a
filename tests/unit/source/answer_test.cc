// SPDX-License-Identifier: Apache-2.0
#include "source/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "absl/time/civil_time.h"

namespace dragonfly::source {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

http::CurlResponse Response(int status, std::vector<std::pair<std::string, std::string>> header) {
  http::CurlResponse response;
  response.status = status;
  response.status_text = std::to_string(status) + " Text";
  response.header = std::move(header);
  return response;
}

// RFC 9110 §14.4.
TEST(ContentRange, ReadsEachForm) {
  struct Row {
    const char* text;
    std::optional<ByteRange> range;
    std::optional<uint64_t> total;
  };
  const Row table[] = {
      {"bytes 0-0/1234", ByteRange{0, 1}, 1234},
      {"bytes 42-1233/1234", ByteRange{42, 1192}, 1234},
      {"bytes 42-1233/*", ByteRange{42, 1192}, std::nullopt},
      {"bytes */1234", std::nullopt, 1234},
      {"bytes */0", std::nullopt, 0},
      {"Bytes  0-9/10", ByteRange{0, 10}, 10},
      {"bytes 9223372036854775807-9223372036854775807/*", ByteRange{9223372036854775807u, 1}, std::nullopt},
  };
  for (const Row& row : table) {
    const std::optional<ContentRange> read = ParseContentRange(row.text);
    ASSERT_TRUE(read.has_value()) << row.text;
    EXPECT_EQ(read->range, row.range) << row.text;
    EXPECT_EQ(read->total, row.total) << row.text;
  }
}

TEST(ContentRange, RefusesContradictionsAndGarbage) {
  for (const char* text :
       {"", "bytes", "bytes ", "bytes 0-0", "bytes 5-4/10", "bytes 0-10/10", "bytes 0-0/0", "items 0-0/1", "bytes0-0/1",
        "bytes -5/10", "bytes 5-/10", "bytes 0-0/ten", "bytes 0-0/-1", "bytes 0 - 0/1", "bytes 0-0/1/2", "bytes=0-0/1",
        "bytes 0-18446744073709551615/*", "bytes 0-18446744073709551616/*", "bytes 0-0/99999999999999999999"}) {
    EXPECT_FALSE(ParseContentRange(text).has_value()) << text;
  }
}

TEST(CheckRangeAnswer, TakesExactlyTheAskedRange) {
  ObjectVersion version;
  const http::CurlResponse good =
      Response(206, {{"content-range", "bytes 10-19/100"}, {"content-length", "10"}, {"etag", "\"a\""}});
  EXPECT_TRUE(CheckRangeAnswer(good, {10, 10}, version).ok());
  EXPECT_EQ(version.etag, "\"a\"");
  EXPECT_EQ(version.content_length, 100u);
  const http::CurlResponse no_total = Response(206, {{"content-range", "bytes 10-19/*"}});
  EXPECT_TRUE(CheckRangeAnswer(no_total, {10, 10}, version).ok());
}

TEST(CheckRangeAnswer, RefusesOtherRanges) {
  const std::vector<http::CurlResponse> table = {
      Response(206, {}),
      Response(206, {{"content-range", "nonsense"}}),
      Response(206, {{"content-range", "bytes */100"}}),
      Response(206, {{"content-range", "bytes 0-9/100"}}),
      Response(206, {{"content-range", "bytes 10-18/100"}}),
      Response(206, {{"content-range", "bytes 10-20/100"}}),
      Response(206, {{"content-range", "bytes 10-19/100"}, {"content-length", "9"}}),
      Response(200, {{"content-length", "100"}}),
      Response(204, {}),
  };
  for (const http::CurlResponse& response : table) {
    ObjectVersion version;
    const absl::Status status = CheckRangeAnswer(response, {10, 10}, version);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
}

TEST(CheckRangeAnswer, SaysThatRangesAreIgnored) {
  ObjectVersion version;
  EXPECT_THAT(std::string(CheckRangeAnswer(Response(200, {}), {10, 10}, version).message()),
              HasSubstr("origin ignores ranges"));
}

TEST(CheckRangeAnswer, TakesAWholeObjectForARangeFromItsStart) {
  ObjectVersion version;
  EXPECT_TRUE(CheckRangeAnswer(Response(200, {{"content-length", "100"}}), {0, 10}, version).ok());
  ObjectVersion unknown;
  EXPECT_TRUE(CheckRangeAnswer(Response(200, {}), {0, 10}, unknown).ok());
  ObjectVersion short_object;
  EXPECT_TRUE(absl::IsDataLoss(CheckRangeAnswer(Response(200, {{"content-length", "9"}}), {0, 10}, short_object)));
}

TEST(CheckVersion, TellsAChangedObject) {
  ObjectVersion known;
  known.etag = "\"a\"";
  known.last_modified = "Tue, 01 Jan 2030 00:00:00 GMT";
  known.content_length = 100;
  struct Row {
    std::vector<std::pair<std::string, std::string>> header;
    std::optional<uint64_t> total;
    bool same;
  };
  const Row table[] = {
      {{{"etag", "\"a\""}}, 100, true},
      {{{"etag", "\"b\""}}, 100, false},
      {{{"etag", "W/\"a\""}}, 100, false},  // strong comparison, RFC 9110 §8.8.3.2
      {{{"etag", "\"a\""}}, 101, false},
      {{{"etag", "\"a\""}}, std::nullopt, true},
      // Servers of one site may disagree about the time of the same bytes.
      {{{"etag", "\"a\""}, {"last-modified", "Wed, 02 Jan 2030 00:00:00 GMT"}}, 100, true},
      {{{"last-modified", "Tue, 01 Jan 2030 00:00:00 GMT"}}, 100, true},
      {{{"last-modified", "Wed, 02 Jan 2030 00:00:00 GMT"}}, 100, false},
      {{}, 100, true},
  };
  for (const Row& row : table) {
    const absl::Status status = CheckVersion(known, Response(206, row.header), row.total);
    EXPECT_EQ(status.ok(), row.same) << status;
    if (!row.same) EXPECT_TRUE(absl::IsDataLoss(status));
  }
  EXPECT_TRUE(CheckVersion(ObjectVersion(), Response(206, {{"etag", "\"x\""}}), 7).ok());
}

TEST(DescribeHeader, LeavesOutSecretsAndWhatBelongsToTheConnection) {
  const auto header = DescribeHeader(Response(200, {{"content-type", "text/plain"},
                                                    {"set-cookie", "session=1"},
                                                    {"connection", "keep-alive"},
                                                    {"transfer-encoding", "chunked"},
                                                    {"x-name", "caf\xc3\xa9"},
                                                    {"vary", "a"},
                                                    {"vary", "b"}}));
  EXPECT_THAT(header, UnorderedElementsAre(Pair("content-type", "text/plain"), Pair("vary", "a, b")));
}

TEST(StatOf, DescribesTheWholeObject) {
  const std::optional<OriginStat> ranged = StatOf(
      Response(206, {{"content-range", "bytes 0-0/1234"}, {"content-length", "1"}, {"content-type", "text/plain"}}));
  ASSERT_TRUE(ranged.has_value());
  EXPECT_EQ(ranged->content_length, 1234u);
  EXPECT_TRUE(ranged->accepts_ranges);
  EXPECT_THAT(ranged->header, UnorderedElementsAre(Pair("content-length", "1234"), Pair("content-type", "text/plain")));

  const std::optional<OriginStat> whole = StatOf(Response(200, {{"content-length", "5"}}));
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->content_length, 5u);
  EXPECT_FALSE(whole->accepts_ranges);
  EXPECT_EQ(StatOf(Response(200, {}))->content_length, std::nullopt);
  for (const char* useless : {"bytes 0-0/*", "bytes 1-1/10", "bytes 0-1/10", "bytes */10", "x"}) {
    EXPECT_FALSE(StatOf(Response(206, {{"content-range", useless}})).has_value()) << useless;
  }
  EXPECT_FALSE(StatOf(Response(206, {})).has_value());
}

TEST(VersionOf, LeavesWeakTagsOut) {
  OriginStat stat;
  stat.header = {{"etag", "W/\"1\""}, {"last-modified", "then"}};
  stat.content_length = 9;
  EXPECT_EQ(VersionOf(stat).etag, "");
  EXPECT_EQ(VersionOf(stat).last_modified, "then");
  EXPECT_EQ(VersionOf(stat).content_length, 9u);
  stat.header["etag"] = "\"1\"";
  EXPECT_EQ(VersionOf(stat).etag, "\"1\"");
}

TEST(RetryAfter, ReadsSecondsAndDates) {
  // RFC 9110 §5.6.7: Sun, 06 Nov 1994 08:49:37 GMT.
  const absl::Time now = absl::FromCivil(absl::CivilSecond(1994, 11, 6, 8, 49, 30), absl::UTCTimeZone());
  EXPECT_EQ(RetryAfter(Response(429, {{"retry-after", "120"}}), now), milliseconds(120'000));
  EXPECT_EQ(RetryAfter(Response(429, {{"retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"}}), now), milliseconds(7000));
  EXPECT_EQ(RetryAfter(Response(429, {{"retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"}}), now), milliseconds(0));
  for (const char* wrong : {"", "soon", "-1", "99999999999999999999"}) {
    EXPECT_EQ(RetryAfter(Response(429, {{"retry-after", wrong}}), now), std::nullopt) << wrong;
  }
  EXPECT_EQ(RetryAfter(Response(429, {}), now), std::nullopt);
}

TEST(RefusalOf, FitsIntoGrpcTrailers) {
  std::vector<std::pair<std::string, std::string>> header = {{"content-type", "text/html"}};
  for (int i = 0; i < 50; ++i) header.emplace_back("x-" + std::to_string(i), std::string(1000, 'x'));
  const std::optional<BackendError> error = GetBackendError(RefusalOf(Response(403, header)));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, 403);
  EXPECT_EQ(error->header.count("content-type"), 1u);
  EXPECT_LT(error->ToJson().size(), 6000u);
}

}  // namespace
}  // namespace dragonfly::source
