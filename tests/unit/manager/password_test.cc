// SPDX-License-Identifier: Apache-2.0
#include "manager/password.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "manager/secret.h"

namespace dragonfly::manager {
namespace {

using ::testing::StartsWith;

// Made by golang.org/x/crypto/bcrypt at cost 4: what the original's database holds for its first user.
constexpr char kGoHash[] = "$2a$04$";

TEST(Password, IsHashedAsTheOriginalReadsIt) {
  const auto hash = HashPassword("dragonfly", 4);
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_THAT(*hash, StartsWith(kGoHash));
  EXPECT_EQ(hash->size(), 60);
  EXPECT_TRUE(PasswordMatches("dragonfly", *hash));
  EXPECT_FALSE(PasswordMatches("dragonfl", *hash));
  EXPECT_FALSE(PasswordMatches("", *hash));
}

// Vectors of the bcrypt authors, crypt_blowfish 1.3, wrapper.c.
TEST(Password, MatchesTheVectorsOfTheAlgorithm) {
  EXPECT_TRUE(PasswordMatches("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
  EXPECT_TRUE(PasswordMatches("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"));
  EXPECT_FALSE(PasswordMatches("U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"));
}

TEST(Password, IsNeverCutOff) {
  EXPECT_TRUE(HashPassword(std::string(72, 'x'), 4).ok());
  EXPECT_FALSE(HashPassword(std::string(73, 'x'), 4).ok());
  EXPECT_FALSE(HashPassword(std::string("a\0b", 3), 4).ok());
}

TEST(Password, MatchesNothingThatIsNoHash) {
  for (const char* const hash : {"", "*0", "plain", "$1$x$y", "$2a$99$x"}) EXPECT_FALSE(PasswordMatches("x", hash));
}

TEST(Password, IsRandomAndOfLettersAndDigits) {
  const std::string first = RandomPassword();
  EXPECT_EQ(first.size(), 20);
  EXPECT_NE(first, RandomPassword());
  EXPECT_EQ(first.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"), first.npos);
}

TEST(Secret, MatchesTheVectorsOfItsAlgorithms) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-2
  EXPECT_EQ(Base64Url(HmacSha256("Jefe", "what do ya want for nothing?")),                          // RFC 4231
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM");
  EXPECT_EQ(Base64UrlDecode(Base64Url("\xff\xfe?")), "\xff\xfe?");
  EXPECT_EQ(Base64UrlDecode("*"), "");
}

TEST(Secret, ComparesWholeTexts) {
  EXPECT_TRUE(EqualInConstantTime("", ""));
  EXPECT_TRUE(EqualInConstantTime("abc", "abc"));
  EXPECT_FALSE(EqualInConstantTime("abc", "abd"));
  EXPECT_FALSE(EqualInConstantTime("abc", "ab"));
}

}  // namespace
}  // namespace dragonfly::manager
