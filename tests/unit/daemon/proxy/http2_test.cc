// SPDX-License-Identifier: Apache-2.0
// HTTP/2 in opened tunnels, by exact frames: who breaks the rules of RFC 9113 and RFC 7541, or wants more than its
// share, is stopped, and nobody else notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "daemon/daemon.h"
#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/support/scripted_server.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/proxy/http2_client.h"

namespace dragonfly::daemon::proxy {
namespace {

using ::dragonfly::testing::Certificates;
using ::dragonfly::testing::Nginx;
using ::dragonfly::testing::ScriptedServer;
using test::Frame;
using test::FrameBytes;
using test::FrameType;
using test::GetFields;
using test::HeaderBlock;
using test::HeaderFields;
using test::Http2Client;
using test::Http2Error;
using test::kAck;
using test::kEndHeaders;
using test::kEndStream;
using test::kPadded;
using test::Settings;
using test::Uint32;
using ::testing::AnyOf;

constexpr uint16_t kMaxConcurrentStreams = 3, kInitialWindowSize = 4, kMaxFrameSize = 5, kEnablePush = 2;
constexpr uint8_t kWhole = kEndStream | kEndHeaders;

class Http2Test : public daemon::test::DaemonFixture {
 protected:
  Http2Test() : big_(daemon::test::RandomBytes(300'000)) {
    origin_.Put("plain", "plain");
    origin_.Put("big", big_);
    DaemonConfig config = Config("peer");
    DaemonConfig::Proxy::Rule rule;
    rule.regex = "/p2p/";
    config.proxy.rules = {rule};
    config.backend.ca_file = certificates_.ca_file();
    daemon_ = Start(config);
  }

  std::unique_ptr<Http2Client> Client(bool preface = true) {
    return std::make_unique<Http2Client>(daemon_->proxy_port(), origin_.port(), preface);
  }
  static std::string Request(uint32_t stream, const std::string& path = "/plain") {
    return FrameBytes(FrameType::kHeaders, kWhole, stream, HeaderBlock(GetFields(path)));
  }
  // Whether a request is answered as ever.
  static void ExpectServes(Http2Client& client, uint32_t stream) {
    client.SendHeaders(stream, GetFields("/plain"));
    EXPECT_EQ(client.AwaitAnswer(stream), "plain");
  }

  const std::string big_;
  ScriptedServer stuck_{
      [](ScriptedServer::Connection& connection, const std::string&, int) { connection.AwaitClientGone(); }};
  Certificates certificates_{"IP:127.0.0.1"};
  Nginx origin_{{{certificates_.NginxLines() +
                      " location /stuck { client_max_body_size 0; proxy_request_buffering off; "
                      "proxy_http_version 1.1; proxy_pass " +
                      stuck_.Url("") + "; }",
                  true}}};
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(Http2Test, AnswersRequestsAndPings) {
  const auto client = Client();
  ExpectServes(*client, 1);
  client->SendFrame(FrameType::kPing, 0, 0, "12345678");
  const auto pong = client->Await([](const Frame& frame) { return frame.type == FrameType::kPing; });
  ASSERT_TRUE(pong);
  EXPECT_EQ(pong->flags, kAck);
  EXPECT_EQ(pong->payload, "12345678");
  // Frames that nobody knows are nobody's business, and gaps between the numbers of streams are none.
  client->SendFrame(static_cast<FrameType>(0x77), 0xff, 0, "whatever");
  client->SendHeaders(9, GetFields("/big"));
  EXPECT_TRUE(client->AwaitAnswer(9) == big_);
  // A head in pieces, with padding, and Host in place of :authority.
  HeaderFields fields = GetFields("/plain");
  fields[2] = {"x-field", std::string(1000, 'x')};
  fields.emplace_back("host", "127.0.0.1");
  std::swap(fields[2], fields[3]);
  const std::string block = HeaderBlock(fields);
  client->SendFrame(FrameType::kHeaders, kEndStream | kPadded, 11, StrCat("\x02", block.substr(0, 30), "pp"));
  client->SendFrame(FrameType::kContinuation, 0, 11, block.substr(30, 20));
  client->SendFrame(FrameType::kContinuation, kEndHeaders, 11, block.substr(50));
  EXPECT_EQ(client->AwaitAnswer(11), "plain");
}

TEST_F(Http2Test, EndsTheConnectionOfWhoBreaksItsRules) {
  using enum FrameType;
  using enum Http2Error;
  const std::string zero(1, '\0');
  const auto head = [](const std::string& block) { return FrameBytes(kHeaders, kWhole, 1, block); };
  const struct {
    const char* what;
    std::string bytes;
    std::vector<Http2Error> errors;
  } cases[] = {
      {"a frame above the limit", FrameBytes(kData, 0, 1, std::string(16'385, 'x')), {kFrameSize}},
      {"a frame that claims 16 MiB", FrameBytes(kHeaders, kWhole, 1, "", 0xffffff), {kFrameSize}},
      {"SETTINGS of 5 bytes", FrameBytes(kSettings, 0, 0, "12345"), {kFrameSize}},
      {"an acknowledgement with content", FrameBytes(kSettings, kAck, 0, "123456"), {kFrameSize}},
      {"SETTINGS of a stream", FrameBytes(kSettings, 0, 1, ""), {kProtocol}},
      {"a push setting of 2", FrameBytes(kSettings, 0, 0, Settings({{kEnablePush, 2}})), {kProtocol}},
      {"a window of 2 GiB", FrameBytes(kSettings, 0, 0, Settings({{kInitialWindowSize, 1u << 31}})), {kFlowControl}},
      {"frames of 16383 bytes", FrameBytes(kSettings, 0, 0, Settings({{kMaxFrameSize, 16'383}})), {kProtocol}},
      {"frames of 16 MiB", FrameBytes(kSettings, 0, 0, Settings({{kMaxFrameSize, 1 << 24}})), {kProtocol}},
      {"a PING of 7 bytes", FrameBytes(kPing, 0, 0, "1234567"), {kFrameSize}},
      {"a PING of a stream", FrameBytes(kPing, 0, 1, "12345678"), {kProtocol}},
      {"a RST_STREAM of 3 bytes", Request(1) + FrameBytes(kRstStream, 0, 1, "123"), {kFrameSize}},
      {"a RST_STREAM of the connection", FrameBytes(kRstStream, 0, 0, Uint32(8)), {kProtocol}},
      {"a RST_STREAM of an idle stream", FrameBytes(kRstStream, 0, 1, Uint32(8)), {kProtocol}},
      {"a PRIORITY of 4 bytes", FrameBytes(kPriority, 0, 1, "1234"), {kFrameSize}},
      {"a PRIORITY of the connection", FrameBytes(kPriority, 0, 0, "12345"), {kProtocol}},
      {"a WINDOW_UPDATE of 3 bytes", FrameBytes(kWindowUpdate, 0, 0, "123"), {kFrameSize}},
      {"a WINDOW_UPDATE by 0", FrameBytes(kWindowUpdate, 0, 0, Uint32(0)), {kProtocol}},
      {"a WINDOW_UPDATE of a stream by 0",
       Request(1, "/big") + FrameBytes(kWindowUpdate, 0, 1, Uint32(0)),
       {kProtocol}},
      {"a WINDOW_UPDATE of an idle stream", FrameBytes(kWindowUpdate, 0, 1, Uint32(1)), {kProtocol}},
      {"a window above 2 GiB", FrameBytes(kWindowUpdate, 0, 0, Uint32(0x7fffffff)), {kFlowControl}},
      {"a GOAWAY of 7 bytes", FrameBytes(kGoaway, 0, 0, "1234567"), {kFrameSize}},
      {"a GOAWAY of a stream", FrameBytes(kGoaway, 0, 1, std::string(8, '\0')), {kProtocol}},
      {"HEADERS of the connection", FrameBytes(kHeaders, kWhole, 0, HeaderBlock(GetFields("/"))), {kProtocol}},
      {"HEADERS of an even stream", Request(2), {kProtocol}},
      {"HEADERS behind the end of a stream", Request(1, "/big") + Request(1, "/big"), {kProtocol, kStreamClosed}},
      {"DATA behind the end of a stream", Request(1, "/big") + FrameBytes(kData, 0, 1, "x"), {kStreamClosed}},
      {"DATA of the connection", FrameBytes(kData, 0, 0, "x"), {kProtocol}},
      {"DATA of an idle stream", FrameBytes(kData, 0, 1, "x"), {kProtocol, kStreamClosed}},
      {"more padding than content",
       FrameBytes(kHeaders, kWhole | kPadded, 1,
                  "\x09"
                  "1234"),
       {kProtocol}},
      {"a PUSH_PROMISE of a client", FrameBytes(kPushPromise, kEndHeaders, 1, Uint32(2)), {kProtocol}},
      {"CONTINUATION of nothing", FrameBytes(kContinuation, kEndHeaders, 1, ""), {kProtocol}},
      {"a frame within a head", FrameBytes(kHeaders, 0, 1, "") + FrameBytes(kPing, 0, 0, "12345678"), {kProtocol}},
      {"CONTINUATION of another", FrameBytes(kHeaders, 0, 1, "") + FrameBytes(kContinuation, 4, 3, ""), {kProtocol}},
      {"field 0 of the table", head("\x80"), {kCompression}},
      {"a field behind the table", head("\xff" + zero), {kCompression}},
      {"a table above its limit", head("\x3f\xe1\xff\x03"), {kCompression}},
      {"an endless integer", head("\x7f" + std::string(20, '\xff')), {kCompression}},
      {"a field that is cut off",
       head(zero + "\x05"
                   "ab"),
       {kCompression}},
      {"a Huffman code of nothing",
       head(zero + "\x01"
                   "a\x84\xff\xff\xff\xff"),
       {kCompression}},
  };
  for (const auto& one : cases) {
    const auto client = Client();
    client->Send(one.bytes);
    EXPECT_THAT(one.errors, ::testing::Contains(client->AwaitGoaway())) << one.what;
    EXPECT_TRUE(client->ended()) << one.what;
  }
  for (const char* const no_preface :
       {"GET / HTTP/1.1\r\nHost: x\r\n\r\nxxxxxxxx", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\nxxxxxxxxx"}) {
    const auto client = Client(/*preface=*/false);
    client->Send(no_preface);
    client->AwaitGoaway();
    EXPECT_TRUE(client->ended()) << no_preface;
  }
  const auto other = Client();
  ExpectServes(*other, 1);
}

TEST_F(Http2Test, ResetsARequestThatIsNone) {
  const auto with = [](const HeaderFields& more) {
    HeaderFields fields = GetFields("/plain");
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  const auto without = [](size_t index) {
    HeaderFields fields = GetFields("/plain");
    fields.erase(fields.begin() + static_cast<ptrdiff_t>(index));
    return fields;
  };
  const HeaderFields cases[] = {
      without(0),
      without(1),
      without(3),
      GetFields(""),
      GetFields("plain"),
      GetFields("*"),
      GetFields("/a b"),
      GetFields("/a\r\nX: y"),
      with({{":path", "/other"}}),
      with({{":unknown", "x"}}),
      with({{":status", "200"}}),
      with({{"a", "b"}, {":method", "GET"}}),
      with({{"Upper", "x"}}),
      with({{"na me", "x"}}),
      with({{"", "x"}}),
      with({{"a", "b\r\nx: y"}}),
      with({{"a", std::string("b\0c", 3)}}),
      with({{"connection", "close"}}),
      with({{"keep-alive", "x"}}),
      with({{"proxy-connection", "x"}}),
      with({{"transfer-encoding", "chunked"}}),
      with({{"upgrade", "h2c"}}),
      with({{"te", "gzip"}}),
      with({{"content-length", "5"}}),
      with({{"content-length", "0"}, {"content-length", "0"}}),
      with({{"content-length", "-1"}}),
      with({{"content-length", "1x"}}),
      {{":method", "CONNECT"}, {":authority", "x:1"}},
  };
  const auto client = Client();
  uint32_t stream = 1;
  for (const HeaderFields& fields : cases) {
    client->SendHeaders(stream, fields);
    EXPECT_EQ(client->AwaitReset(stream), Http2Error::kProtocol)
        << stream << " " << fields.back().first << ": " << fields.back().second << " " << fields[0].first;
    stream += 2;
  }
  // A body of another length than was told.
  for (const char* const body : {"1234", "123456"}) {
    HeaderFields post = GetFields("/plain");
    post[0].second = "POST";
    post.emplace_back("content-length", "5");
    client->SendFrame(FrameType::kHeaders, kEndHeaders, stream, HeaderBlock(post));
    client->SendFrame(FrameType::kData, kEndStream, stream, body);
    EXPECT_EQ(client->AwaitReset(stream), Http2Error::kProtocol) << body;
    stream += 2;
  }
  // More than a window may be.
  HeaderFields post = GetFields("/plain");
  post[0].second = "POST";
  client->SendFrame(FrameType::kHeaders, kEndHeaders, stream, HeaderBlock(post));
  client->SendFrame(FrameType::kWindowUpdate, 0, stream, Uint32(0x7fffffff));
  EXPECT_EQ(client->AwaitReset(stream), Http2Error::kFlowControl);
  // Streams that go backwards are taken for closed ones, whose late frames are nobody's fault.
  client->SendHeaders(stream + 20, GetFields("/plain"));
  EXPECT_EQ(client->AwaitAnswer(stream + 20), "plain");
  client->SendHeaders(stream + 10, GetFields("/plain"));
  ExpectServes(*client, stream + 22);
}

TEST_F(Http2Test, BoundsWhatAHeadMayBecome) {
  // One entry of the table that a byte each names again: 8 MB in 2 KB.
  const auto client = Client();
  const std::string bomb = StrCat(HeaderBlock(GetFields("/plain")), "\x40\x01x\x7f\xa1\x1e", std::string(4000, 'x'),
                                  std::string(2000, '\xbe'));
  client->SendFrame(FrameType::kHeaders, kWhole, 1, bomb);
  EXPECT_NE(client->AwaitReset(1), Http2Error::kNone);
  EXPECT_FALSE(client->ended());
  HeaderFields many = GetFields("/plain");
  for (int i = 0; i < 300; ++i) many.emplace_back(StrCat("x-", i), "y");
  client->SendHeaders(3, many);
  const auto answer = client->Await([](const Frame& frame) { return frame.stream == 3; });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, FrameType::kHeaders) << "431 as with HTTP/1.1";
  ExpectServes(*client, 5);

  // A head that never ends.
  for (const size_t size : {size_t{0}, size_t{1}, size_t{16'000}}) {
    const auto endless = Client();
    endless->SendFrame(FrameType::kHeaders, kEndStream, 1, HeaderBlock(GetFields("/plain")));
    const std::string more = size == 0 ? "" : HeaderBlock({{"x", std::string(size, 'y')}});
    for (int i = 0; i < 20'000 && endless->SendFrame(FrameType::kContinuation, 0, 1, more); ++i) {
    }
    endless->AwaitGoaway();
    EXPECT_TRUE(endless->ended()) << size;
  }
}

TEST_F(Http2Test, EndsTheConnectionOfWhoGivesRequestsUpAgainAndAgain) {
  for (const auto code : {Http2Error::kCancel, Http2Error::kNone}) {
    const auto client = Client();
    for (uint32_t i = 0; i < 5000; ++i) {
      const uint32_t stream = 2 * i + 1;
      const std::string reset = FrameBytes(FrameType::kRstStream, 0, stream, Uint32(static_cast<uint32_t>(code)));
      if (!client->Send(Request(stream, "/big") + reset)) break;
    }
    EXPECT_EQ(client->AwaitGoaway(), Http2Error::kEnhanceYourCalm);
    EXPECT_TRUE(client->ended());
  }
  const auto other = Client();
  ExpectServes(*other, 1);
}

TEST_F(Http2Test, EndsTheConnectionOfWhoAsksAndDoesNotListen) {
  const std::string settings = FrameBytes(FrameType::kSettings, 0, 0, Settings({{kMaxConcurrentStreams, 1}}));
  const std::string ping = FrameBytes(FrameType::kPing, 0, 0, "12345678");
  for (const std::string& frame : {settings, ping}) {
    std::string flood;
    for (int i = 0; i < 1000; ++i) flood += frame;
    const auto client = Client();
    bool open = true;
    // What is answered stands in the buffers of the connection before it stands in the proxy.
    for (int i = 0; i < 2000 && open; ++i) open = client->Send(flood);
    EXPECT_FALSE(open);
  }
  const auto other = Client();
  ExpectServes(*other, 1);
}

TEST_F(Http2Test, TakesNoMoreOfABodyThanItHasRoomFor) {
  const auto client = Client();
  HeaderFields post = GetFields("/stuck");
  post[0].second = "POST";
  post.emplace_back("content-length", std::to_string(1 << 30));
  client->SendFrame(FrameType::kHeaders, kEndHeaders, 1, HeaderBlock(post));
  const std::string part = FrameBytes(FrameType::kData, 0, 1, std::string(16'384, 'x'));
  int sent = 0;
  // Without a look at the window.
  while (sent < 8192 && client->Send(part)) ++sent;
  EXPECT_LT(sent, 8192);
  EXPECT_EQ(client->AwaitGoaway(), Http2Error::kFlowControl);
}

TEST_F(Http2Test, RefusesMoreStreamsThanItHasOffered) {
  const auto client = Client();
  // Nothing of an answer may be sent yet.
  client->SendFrame(FrameType::kSettings, 0, 0, Settings({{kInitialWindowSize, 0}}));
  std::string requests;
  for (uint32_t i = 0; i < 101; ++i) requests += Request(2 * i + 1, "/big");
  client->Send(requests);
  EXPECT_EQ(client->AwaitReset(201), Http2Error::kRefusedStream);
  client->SendFrame(FrameType::kSettings, 0, 0, Settings({{kInitialWindowSize, 1 << 20}}));
  client->SendFrame(FrameType::kWindowUpdate, 0, 0, Uint32(1 << 30));
  size_t whole = 0;
  while (whole < 100 && client->Await([](const Frame& frame) {
    return frame.type == FrameType::kData && (frame.flags & kEndStream) != 0;
  })) {
    ++whole;
  }
  EXPECT_EQ(whole, 100u);
  ExpectServes(*client, 203);
}

TEST_F(Http2Test, AnswersWhatWasAskedBeforeAClientSaysGoodbye) {
  const auto client = Client();
  client->SendFrame(FrameType::kSettings, 0, 0, Settings({{kInitialWindowSize, 0}}));
  client->SendHeaders(1, GetFields("/big"));
  client->SendFrame(FrameType::kGoaway, 0, 0, Uint32(0) + Uint32(0));
  client->SendFrame(FrameType::kSettings, 0, 0, Settings({{kInitialWindowSize, 1 << 20}}));
  EXPECT_TRUE(client->AwaitAnswer(1) == big_);
  client->AwaitGoaway();
  EXPECT_TRUE(client->ended()) << "nothing is left to be said";
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
