// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <string>

#include "tests/unit/source/http_source_fixture.h"

namespace dragonfly::source {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using testing::HeaderOf;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::ScriptedServer;
using ::testing::SizeIs;

// ---- lying origins ----

TEST_F(HttpSourceTest, RefusesAnotherRangeThanAsked) {
  const std::string answers[] = {
      "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/100\r\nContent-Length: 10\r\n\r\n0123456789",
      "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-18/100\r\nContent-Length: 9\r\n\r\n012345678",
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123456789",
      Ok(Pattern(100)),
  };
  for (const std::string& answer : answers) {
    ScriptedServer server({answer});
    const absl::Status read = Read(Ask(server.Url()), {10, 10});
    EXPECT_TRUE(absl::IsFailedPrecondition(read)) << read;
    EXPECT_THAT(sink_.text, IsEmpty());
    EXPECT_THAT(server.requests(), SizeIs(1)) << "asking again would not help";
  }
}

TEST_F(HttpSourceTest, RefusesABodyThatIsLongerThanItsRange) {
  ScriptedServer server({"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/100\r\n\r\n0123456789and more"});
  const absl::Status read = Read(Ask(server.Url()), {10, 10});
  EXPECT_TRUE(absl::IsFailedPrecondition(read)) << read;
  EXPECT_EQ(sink_.text, "0123456789");
}

TEST_F(HttpSourceTest, TakesTheBeginningOfAWholeBodyAndEndsIt) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n0123456789");
    const std::string more(10'000, 'x');
    while (connection.Send(more)) {
    }
    connection.Close();
  });
  const absl::Status read = Read(Ask(server.Url()), {0, 8});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_EQ(sink_.text, "01234567");
}

TEST_F(HttpSourceTest, TellsAnObjectThatHasChanged) {
  const std::string content = Pattern(100);
  ObjectVersion version;
  version.etag = "\"1\"";
  version.content_length = 100;
  ScriptedServer other_tag([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "ETag: \"2\"\r\n"));
  });
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(other_tag.Url()), {10, 10}, version)));
  EXPECT_THAT(sink_.text, IsEmpty());
  ScriptedServer longer([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content + "x", "ETag: \"1\"\r\n"));
  });
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(longer.Url()), {10, 10}, version)));
  ScriptedServer shorter({Status("416 Range Not Satisfiable", "Content-Range: bytes */5\r\n")});
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(shorter.Url()), {10, 10}, version)));
  ScriptedServer whole({Ok("four")});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(whole.Url()), version).status()));
  ScriptedServer chunked({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(chunked.Url()), version).status()));
}

TEST_F(HttpSourceTest, DoesNotMixTwoVersionsWhenItResumes) {
  const std::string content = Pattern(100);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    const std::string tag = StrCat("ETag: \"", number, "\"\r\n");
    connection.Send(Partial(request, content, tag, number == 0 ? 30 : 100));
    connection.Close();
  });
  // The caller knows no version: the first answer's counts.
  const absl::Status read = Read(Ask(server.Url()), {0, 100});
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr("object has changed"));
}

TEST_F(HttpSourceTest, PassesOnWhatTheSinkSays) {
  ScriptedServer server({Ok(Pattern(1000))});
  sink_.room = 10;
  EXPECT_EQ(Read(Ask(server.Url()), {0, 1000}), absl::OutOfRangeError("no room"));
  EXPECT_EQ(ReadAll(Ask(server.Url())).status(), absl::OutOfRangeError("no room"));
  EXPECT_THAT(server.requests(), SizeIs(2)) << "the sink's error is final";
}

// ---- retries ----

TEST_F(HttpSourceTest, ResumesABrokenBodyWhereItBroke) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(Partial(request, content, "ETag: \"1\"\r\n", number < 2 ? 100 : 1000));
    if (number == 0) connection.Close();
    if (number == 1) connection.AwaitClientGone();
  });
  options_.retries = 2;
  options_.stall_timeout = milliseconds(100);
  const absl::Status read = Read(Ask(server.Url()), {200, 500});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content.substr(200, 500));
  ASSERT_THAT(server.requests(), SizeIs(3));
  EXPECT_EQ(HeaderOf(server.requests()[0], "Range"), "bytes=200-699");
  EXPECT_EQ(HeaderOf(server.requests()[1], "Range"), "bytes=300-699");
  EXPECT_EQ(HeaderOf(server.requests()[2], "Range"), "bytes=400-699");
}

TEST_F(HttpSourceTest, ResumesAfterAReset) {
  const std::string content = Pattern(2'000'000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int number) {
    connection.Send(Partial(request, content, "", number == 0 ? 1'000'000 : std::string::npos));
    if (number == 0) connection.Reset();
  });
  const absl::Status read = Read(Ask(server.Url()), {0, 2'000'000});
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == content);
}

TEST_F(HttpSourceTest, GivesABodyUpThatBreaksForGood) {
  const std::string content = Pattern(1000);
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send(Partial(request, content, "", 10));
    connection.Close();
  });
  options_.retries = 3;
  const absl::Status read = Read(Ask(server.Url()), {0, 1000});
  EXPECT_TRUE(absl::IsDataLoss(read)) << read;
  EXPECT_THAT(std::string(read.message()), HasSubstr("after 40 of 1000 bytes"));
  EXPECT_THAT(server.requests(), SizeIs(4));
}

TEST_F(HttpSourceTest, TakesAChunkedRangeThatEndsEarlyForBroken) {
  ScriptedServer server(
      {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/10\r\nTransfer-Encoding: chunked\r\n\r\n"
       "3\r\nabc\r\n0\r\n\r\n"});
  options_.retries = 0;
  EXPECT_TRUE(absl::IsDataLoss(Read(Ask(server.Url()), {0, 10})));
}

TEST_F(HttpSourceTest, AsksAgainWhileTheOriginIsBusy) {
  for (const char* line :
       {"500 Internal Server Error", "503 Service Unavailable", "408 Request Timeout", "429 Too Many Requests"}) {
    ScriptedServer server({Status(line), Ok("content")});
    const absl::StatusOr<OriginStat> stat = Stat(Ask(server.Url()));
    EXPECT_TRUE(stat.ok()) << line << stat.status();
    ScriptedServer for_all({Status(line), Ok("content")});
    EXPECT_TRUE(ReadAll(Ask(for_all.Url())).ok());
    ScriptedServer for_range({Status(line), Ok("content")});
    EXPECT_TRUE(Read(Ask(for_range.Url()), {0, 7}).ok());
    ScriptedServer always({Status(line)});
    EXPECT_EQ(CodeOf(Stat(Ask(always.Url())).status()), ParseDecimal<int>(std::string(line, 3)));
    EXPECT_THAT(always.requests(), SizeIs(2));
  }
}

TEST_F(HttpSourceTest, WaitsAsLongAsTheOriginAsks) {
  TimePoint first;
  TimePoint second;
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string&, int number) {
    (number == 0 ? first : second) = Clock::now();
    connection.Send(number == 0 ? Status("429 Too Many Requests", "Retry-After: 1\r\n") : Ok("content"));
  });
  EXPECT_TRUE(Stat(Ask(server.Url())).ok());
  EXPECT_GE(second - first, milliseconds(990));
}

TEST_F(HttpSourceTest, DoesNotWaitLongerThanAllowed) {
  options_.retry_after_max = milliseconds(2000);
  ScriptedServer server({Status("503 Service Unavailable", "Retry-After: 3600\r\n")});
  EXPECT_EQ(CodeOf(Stat(Ask(server.Url())).status()), 503);
  EXPECT_THAT(server.requests(), SizeIs(1));
  ScriptedServer soon({Status("503 Service Unavailable", "Retry-After: 2\r\n")});
  OriginRequest hurried = Ask(soon.Url());
  hurried.deadline = Clock::now() + milliseconds(500);
  EXPECT_EQ(CodeOf(Stat(hurried).status()), 503) << "the deadline comes first";
}

TEST_F(HttpSourceTest, TellsAnUnreachableOrigin) {
  uint16_t port = 0;
  {
    port = ScriptedServer({""}).port();
  }
  const absl::Status stat = Stat(Ask(StrCat("http://127.0.0.1:", port, "/"))).status();
  EXPECT_TRUE(absl::IsInternal(stat)) << stat;
  const std::optional<BackendError> error = GetBackendError(stat);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, std::nullopt);
  EXPECT_FALSE(error->message.empty());
}

TEST_F(HttpSourceTest, KeepsTheDeadline) {
  ScriptedServer silent(
      [](ScriptedServer::Connection& connection, const std::string&, int) { connection.AwaitClientGone(); });
  OriginRequest request = Ask(silent.Url());
  request.deadline = Clock::now() + milliseconds(50);
  EXPECT_TRUE(absl::IsDeadlineExceeded(Stat(request).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(Read(request, {0, 1})));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ReadAll(request).status()));
}

TEST_F(HttpSourceTest, DoesNotRepeatAWholeBodyOnceAByteWasTaken) {
  ScriptedServer server({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Ok("0123456789")});
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(Ask(server.Url())).status()));
  EXPECT_EQ(sink_.text, "abc");
  EXPECT_THAT(server.requests(), SizeIs(1));
  ScriptedServer before({"", Ok("0123456789")});
  EXPECT_TRUE(ReadAll(Ask(before.Url())).ok());
  EXPECT_EQ(sink_.text, "0123456789");
}

TEST_F(HttpSourceTest, CancellationClosesTheTransfer) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    connection.AwaitClientGone();
  });
  asio::cancellation_signal signal;
  sink_.on_append = [&] { asio::post(io_, [&] { signal.emit(asio::cancellation_type::terminal); }); };
  absl::Status outcome = absl::UnknownError("did not end");
  std::exception_ptr thrown;
  asio::co_spawn(io_, Keep(source().Read(Ask(server.Url()), {0, 10}, ObjectVersion(), sink_, limiter_), outcome),
                 asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& error) { thrown = error; }));
  io_.run();
  EXPECT_TRUE(thrown);
  EXPECT_EQ(sink_.text, "abc");
}

}  // namespace
}  // namespace dragonfly::source
