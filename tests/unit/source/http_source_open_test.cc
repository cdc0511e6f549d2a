// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/nginx.h"
#include "tests/unit/source/http_source_fixture.h"

namespace dragonfly::source {
namespace {

using ::testing::Contains;
using testing::HeaderOf;
using ::testing::IsEmpty;
using testing::Nginx;
using ::testing::Not;
using ::testing::Pair;
using testing::ScriptedServer;
using ::testing::SizeIs;

TEST_F(HttpSourceTest, OpensASmallFileWithOneRequest) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "ETag: \"1\"\r\n"));
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(opening->bytes, 1000u);
  EXPECT_EQ(opening->stat.content_length, 1000u);
  EXPECT_TRUE(opening->stat.accepts_ranges);
  EXPECT_THAT(opened_->header, Contains(Pair("content-length", "1000")));
  EXPECT_THAT(opened_->header, Contains(Pair("etag", "\"1\"")));
  EXPECT_EQ(sink_.text, content);
  ASSERT_THAT(server.requests(), SizeIs(1));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Range"), "bytes=0-4095");
}

TEST_F(HttpSourceTest, OpensALargeFileWithItsFirstBytes) {
  Nginx nginx({{""}});
  nginx.Put("file", Pattern(100'000));
  const absl::StatusOr<Opening> opening = Open(Ask(nginx.Url("/file")), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(opening->stat.content_length, 100'000u);
  EXPECT_EQ(sink_.text, Pattern(100'000).substr(0, 4096));
}

TEST_F(HttpSourceTest, AnOpenThatIsAnsweredWithTheWholeTakesTheWhole) {
  Nginx nginx({{"max_ranges 0;"}});
  nginx.Put("file", Pattern(100'000));
  const absl::StatusOr<Opening> opening = Open(Ask(nginx.Url("/file")), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_FALSE(opening->stat.accepts_ranges);
  EXPECT_EQ(opening->bytes, 100'000u);
  EXPECT_EQ(sink_.text, Pattern(100'000));
}

TEST_F(HttpSourceTest, AnOpenWhoseBytesAreNotWantedIsCut) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
    const std::string more(10'000, 'x');
    while (connection.Send(more)) {
    }
    connection.Close();
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096, /*wanted=*/false);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok());
  EXPECT_EQ(opening->bytes, 0u);
  EXPECT_EQ(opening->stat.content_length, 100'000'000u);
  EXPECT_THAT(sink_.text, IsEmpty());
}

TEST_F(HttpSourceTest, OpensAnEmptyFile) {
  ScriptedServer server({Status("416 Range Not Satisfiable", "Content-Range: bytes */0\r\nETag: \"0\"\r\n")});
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_EQ(opened_->content_length, 0u);
  EXPECT_EQ(opening->bytes, 0u);
  EXPECT_THAT(server.requests(), SizeIs(1));
}

TEST_F(HttpSourceTest, AnOpenThatBreaksTellsWhatItGot) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "", 600));
    connection.Close();
  });
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_FALSE(opening->body.ok());
  EXPECT_EQ(opening->bytes, 600u);
  EXPECT_EQ(opening->stat.content_length, 1000u);
}

TEST_F(HttpSourceTest, AnOpenTriesABusyOriginAgainAndTellsARefusal) {
  const std::string content = Pattern(10);
  options_.retries = 1;
  ScriptedServer busy([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(number == 0 ? Status("503 Service Unavailable") : Partial(request, content));
  });
  EXPECT_TRUE(Open(Ask(busy.Url()), 4096).ok());
  EXPECT_EQ(sink_.text, content);
  ScriptedServer refusing({Status("404 Not Found")});
  EXPECT_EQ(CodeOf(Open(Ask(refusing.Url()), 4096).status()), 404);
  EXPECT_FALSE(opened_);
}

TEST_F(HttpSourceTest, AnOpenAsksAsAStatWhereTheFirstAnswerSaysTooLittle) {
  const std::string content = Pattern(10);
  ScriptedServer server(
      {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/*\r\nContent-Length: 10\r\n\r\n" + content,
       "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/*\r\nContent-Length: 1\r\n\r\nx", Ok(content),
       Ok(content)});
  const absl::StatusOr<Opening> opening = Open(Ask(server.Url()), 4096);
  ASSERT_TRUE(opening.ok()) << opening.status();
  EXPECT_TRUE(opening->body.ok()) << opening->body;
  EXPECT_EQ(sink_.text, content);
}

}  // namespace
}  // namespace dragonfly::source
