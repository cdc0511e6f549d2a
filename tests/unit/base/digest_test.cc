// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace dragonfly {
namespace {

constexpr char kSha256OfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Crc32, MatchesTheVectorsOfTheWire) {
  EXPECT_EQ(Crc32(""), 0u);
  EXPECT_EQ(Crc32("123456789"), 0xCBF43926u);
  EXPECT_EQ(Crc32("hello, world!"), 1486392595u);
  EXPECT_EQ(Crc32("test content"), 1475635037u);
  EXPECT_EQ(Crc32("This is a test file"), 107352521u);
  EXPECT_EQ(Crc32(std::vector<std::byte>(4 << 20)), 289882218u);
}

TEST(Crc32, ContinuesFromTheBytesBefore) {
  const std::string text = "the quick brown fox jumps over the lazy dog, again and again and again";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string_view view = text;
    EXPECT_EQ(Crc32(view.substr(cut), Crc32(view.substr(0, cut))), Crc32(text)) << cut;
  }
}

TEST(PieceMetadataDigest, MatchesTheVectorsOfTheWire) {
  EXPECT_EQ(PieceMetadataDigest(PieceNumber(1), {0, 1024}, "crc32:1929153120"), "crc32:3299754941");
  EXPECT_EQ(PieceMetadataDigest(PieceNumber(0), {0, 4194304}, "crc32:289882218"), "crc32:3046130959");
}

TEST(Digest, ParsesEveryFormThatPeersAndUsersWrite) {
  const std::string md5 = "900150983cd24fb0d6963f7d28e17f72";
  const std::string sha1 = "a9993e364706816aba3e25717850c26c9cd0d89d";
  const struct {
    std::string text;
    DigestAlgorithm algorithm;
    std::string canonical;
  } kCases[] = {
      {"crc32:0", DigestAlgorithm::kCrc32, "crc32:0"},
      {"crc32:107352521", DigestAlgorithm::kCrc32, "crc32:107352521"},
      {"crc32:1475635037", DigestAlgorithm::kCrc32, "crc32:1475635037"},
      {"crc32:4294967295", DigestAlgorithm::kCrc32, "crc32:4294967295"},
      {"crc32:0000000001", DigestAlgorithm::kCrc32, "crc32:1"},
      {"crc32:cbf43926", DigestAlgorithm::kCrc32, "crc32:3421780262"},
      {"crc32:CBF43926", DigestAlgorithm::kCrc32, "crc32:3421780262"},
      {"crc32:12345678", DigestAlgorithm::kCrc32, "crc32:12345678"},
      {"md5:" + md5, DigestAlgorithm::kMd5, "md5:" + md5},
      {"sha1:" + sha1, DigestAlgorithm::kSha1, "sha1:" + sha1},
      {std::string("sha256:") + kSha256OfAbc, DigestAlgorithm::kSha256, std::string("sha256:") + kSha256OfAbc},
      {"sha256:" + std::string(64, 'A'), DigestAlgorithm::kSha256, "sha256:" + std::string(64, 'a')},
      {"sha512:" + std::string(128, '0'), DigestAlgorithm::kSha512, "sha512:" + std::string(128, '0')},
  };
  for (const auto& test : kCases) {
    const auto digest = Digest::Parse(test.text);
    ASSERT_TRUE(digest.ok()) << digest.status();
    EXPECT_EQ(digest->algorithm(), test.algorithm);
    EXPECT_EQ(digest->ToString(), test.canonical);
  }
  EXPECT_EQ(Digest::Parse("crc32:cbf43926")->crc32(), 0xCBF43926u);
}

TEST(Digest, RefusesOtherTexts) {
  const std::string kBad[] = {
      "",
      "crc32",
      "crc32:",
      "crc32:-1",
      "crc32:+1",
      "crc32: 1",
      "crc32:4294967296",
      "crc32:00000000001",
      "crc32:cbf4392",
      "crc32:cbf43926a",
      "crc32:0xcbf439",
      "CRC32:1",
      "sha256:abc",
      "sha256:" + std::string(64, 'g'),
      "sha256:" + std::string(63, 'a'),
      "sha384:" + std::string(96, 'a'),
      "blake3:" + std::string(64, 'a'),
      std::string(64, 'a'),
      "sha512:" + std::string(1 << 20, 'a'),
  };
  for (const std::string& text : kBad) {
    const auto digest = Digest::Parse(text);
    EXPECT_EQ(digest.status().code(), absl::StatusCode::kInvalidArgument) << text.substr(0, 80);
    EXPECT_LT(digest.status().message().size(), 500u);
  }
}

TEST(Hasher, DigestsInAnyPortions) {
  const struct {
    DigestAlgorithm algorithm;
    const char* digest;
  } kCases[] = {
      {DigestAlgorithm::kCrc32, "crc32:891568578"},
      {DigestAlgorithm::kMd5, "md5:900150983cd24fb0d6963f7d28e17f72"},
      {DigestAlgorithm::kSha1, "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"},
      {DigestAlgorithm::kSha256, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {DigestAlgorithm::kSha512,
       "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
       "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
  };
  for (const auto& test : kCases) {
    Hasher whole(test.algorithm);
    whole.Update("abc");
    EXPECT_EQ(whole.Finish().ToString(), test.digest);

    Hasher parts(test.algorithm);
    parts.Update("a");
    parts.Update("");
    Hasher moved = std::move(parts);
    moved.Update("bc");
    EXPECT_EQ(moved.Finish(), *Digest::Parse(test.digest));
  }
}

TEST(Sha256Hex, IsLowerCase) { EXPECT_EQ(Sha256Hex("abc"), kSha256OfAbc); }

TEST(DigestOfFile, ReadsTheWholeFile) {
  const std::string path = testing::TempDir() + "/digest_of_file";
  const std::string content(3'000'000, 'x');
  std::ofstream(path, std::ios::binary) << content;
  const auto digest = DigestOfFile(path, DigestAlgorithm::kSha256);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(digest->encoded(), Sha256Hex(content));
  EXPECT_EQ(DigestOfFile(path, DigestAlgorithm::kCrc32)->crc32(), Crc32(content));
  std::remove(path.c_str());

  EXPECT_EQ(DigestOfFile(path, DigestAlgorithm::kSha256).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(DigestOfFile(testing::TempDir(), DigestAlgorithm::kSha256).ok());
}

}  // namespace
}  // namespace dragonfly
