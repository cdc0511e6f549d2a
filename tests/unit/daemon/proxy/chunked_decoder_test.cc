// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/chunked_decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {
namespace {

// The decoded body, byte by byte into a small room; "<status>" of a refusal, "..." behind what has no end yet.
std::string Decode(std::string_view text) {
  ChunkedDecoder decoder;
  std::string body;
  std::vector<std::byte> out(3);
  for (size_t at = 0; at < text.size() && !decoder.done();) {
    const auto step = decoder.Decode(text.substr(at, 1), out);
    if (!step.ok()) return "<" + std::to_string(HttpStatusOf(step.status())) + ">";
    body.append(reinterpret_cast<const char*>(out.data()), step->produced);
    at += step->consumed;
  }
  return decoder.done() ? body : body + "...";
}

TEST(ProxyChunkedDecoder, TakesTheCodingOff) {
  EXPECT_EQ(Decode("5\r\nhello\r\n0\r\n\r\n"), "hello");
  EXPECT_EQ(Decode("5;a=\"b\";c\r\nhello\r\n0A\r\n0123456789\r\n000;x\r\nTrailer: 1\r\nOther: 2\r\n\r\n"),
            "hello0123456789");
  EXPECT_EQ(Decode("0\r\n\r\n"), "");
  EXPECT_EQ(Decode("3\r\n\r\n\r\r\n0\r\n\r\n"), "\r\n\r");
  EXPECT_EQ(Decode("5\r\nhel"), "hel...");
}

TEST(ProxyChunkedDecoder, RefusesAtTheFirstByteThatIsWrong) {
  for (const char* const bad : {"g", "\r", "\n", ";", " 5", "-", "+", "5\n", "5 ", "5\r\r", "5\r\nhello0",
                                "5\r\nhello\n", "1000000000000000", "0\r\n\n", "0\r\nTrailer: 1\n", "5;a\n"}) {
    EXPECT_EQ(Decode(bad), "<400>") << bad;
  }
  EXPECT_EQ(Decode("1;" + std::string(ChunkedDecoder::kLineMax, 'x')), "<400>");
  std::string trailers = "0\r\n";
  while (trailers.size() < ChunkedDecoder::kLineMax) trailers += "Trailer: 1\r\n";
  EXPECT_EQ(Decode(trailers + "Trailer: 1\r\n"), "<400>");
}

TEST(ProxyChunkedDecoder, StopsWhenThereIsNoRoom) {
  ChunkedDecoder decoder;
  std::vector<std::byte> out(2);
  const auto step = decoder.Decode("5\r\nhello\r\n", out);
  ASSERT_TRUE(step.ok());
  EXPECT_EQ(step->consumed, 5u);
  EXPECT_EQ(step->produced, 2u);
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
