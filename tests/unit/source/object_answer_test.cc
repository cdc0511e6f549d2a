// SPDX-License-Identifier: Apache-2.0
#include "source/object_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/text.h"

namespace dragonfly::source {
namespace {

using ::testing::HasSubstr;

std::string Page(const std::string& inner) {
  return StrCat("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/\">",
                inner, "</ListBucketResult>");
}

std::string Contents(const std::string& key, const std::string& size) {
  return StrCat("<Contents><Key>", key, "</Key><Size>", size, "</Size></Contents>");
}

std::string ErrorOf(ObjectVendor vendor, const std::string& body) {
  const absl::StatusOr<ListPage> page = ParseListPage(vendor, body);
  if (page.ok()) return "";
  EXPECT_TRUE(absl::IsDataLoss(page.status())) << page.status();
  return std::string(page.status().message());
}

TEST(ParseListPage, ReadsEncodedKeysAsEachVendorWritesThem) {
  const std::string body = Page("<EncodingType>url</EncodingType>" + Contents("a+b%2Bc%25", "7"));
  EXPECT_EQ(ParseListPage(ObjectVendor::kS3, body)->objects.at(0).key, "a b+c%");
  EXPECT_EQ(ParseListPage(ObjectVendor::kOss, body)->objects.at(0).key, "a+b+c%");
  EXPECT_EQ(ParseListPage(ObjectVendor::kS3, Page(Contents("a+b%2B &amp;&#65;", "7")))->objects.at(0).key, "a+b%2B &A");
}

TEST(ParseListPage, TellsMarkersFromObjects) {
  const absl::StatusOr<ListPage> page =
      ParseListPage(ObjectVendor::kObs, Page(Contents("d/", "5") + Contents("d/f", "18446744073709551615")));
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_TRUE(page->objects[0].is_directory);
  EXPECT_EQ(page->objects[0].size, 0u);
  EXPECT_FALSE(page->objects[1].is_directory);
  EXPECT_EQ(page->objects[1].size, 18446744073709551615u);
  EXPECT_EQ(page->continuation, "");
}

TEST(ParseListPage, KnowsWhereTheListGoesOn) {
  const std::string more = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>" + Contents("a%20b", "1");
  const std::string token = more + "<NextContinuationToken>t+%3D</NextContinuationToken>";
  EXPECT_EQ(ParseListPage(ObjectVendor::kS3, Page(token))->continuation, "t+%3D");
  EXPECT_EQ(ParseListPage(ObjectVendor::kOss, Page(token))->continuation, "t+=");
  EXPECT_EQ(ParseListPage(ObjectVendor::kCos, Page(more + "<NextMarker>n%20</NextMarker>"))->continuation, "n ");
  EXPECT_EQ(ParseListPage(ObjectVendor::kObs, Page(more))->continuation, "a b");
  EXPECT_THAT(ErrorOf(ObjectVendor::kS3, Page(more)), HasSubstr("does not say where"));
  EXPECT_EQ(ParseListPage(ObjectVendor::kS3, Page("<IsTruncated>false</IsTruncated><NextContinuationToken>x"
                                                  "</NextContinuationToken>"))
                ->continuation,
            "");
}

TEST(ParseListPage, ReadsAzure) {
  const absl::StatusOr<ListPage> page = ParseListPage(
      ObjectVendor::kAbs,
      "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"c\"><Blobs>"
      "<Blob><Name>a b&amp;c</Name><Properties><Content-Length>3</Content-Length></Properties></Blob>"
      "<Blob><Name Encoded=\"true\">x%01</Name><Properties><Content-Length>4</Content-Length></Properties></Blob>"
      "<Blob><Name>d</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>"
      "</Blobs><NextMarker>2!m</NextMarker></EnumerationResults>");
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->objects.size(), 3u);
  EXPECT_EQ(page->objects[0].key, "a b&c");
  EXPECT_EQ(page->objects[0].size, 3u);
  EXPECT_EQ(page->objects[1].key, "x\x01");
  EXPECT_EQ(page->objects[2].key, "d/");
  EXPECT_TRUE(page->objects[2].is_directory);
  EXPECT_EQ(page->continuation, "2!m");
}

TEST(ParseListPage, ReadsGoogle) {
  const absl::StatusOr<ListPage> page =
      ParseListPage(ObjectVendor::kGs, R"({"items":[{"name":"a b","size":"12"},{"name":"d/","size":"0"}],)"
                                       R"("nextPageToken":"t"})");
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->objects.size(), 2u);
  EXPECT_EQ(page->objects[0].key, "a b");
  EXPECT_EQ(page->objects[0].size, 12u);
  EXPECT_TRUE(page->objects[1].is_directory);
  EXPECT_EQ(page->continuation, "t");
  EXPECT_TRUE(ParseListPage(ObjectVendor::kGs, "{}")->objects.empty());
}

TEST(ParseListPage, RefusesWhatIsNoPage) {
  EXPECT_NE(ErrorOf(ObjectVendor::kS3, ""), "");
  EXPECT_NE(ErrorOf(ObjectVendor::kS3, "<html><body>hello</body></html>"), "");
  EXPECT_NE(ErrorOf(ObjectVendor::kS3, Page("<Contents><Key>a</Key>")), "");
  EXPECT_THAT(ErrorOf(ObjectVendor::kS3, Page("<Contents><Key>a</Key></Contents>")), HasSubstr("no size of object"));
  EXPECT_THAT(ErrorOf(ObjectVendor::kS3, Page(Contents("a", "-1"))), HasSubstr("no size of object"));
  EXPECT_THAT(ErrorOf(ObjectVendor::kS3, Page(Contents("", "1"))), HasSubstr("without a key"));
  EXPECT_NE(ErrorOf(ObjectVendor::kAbs, Page("")), "");
  for (const char* body : {"", "[]", "{\"items\":3}", "{\"items\":[3]}", "{\"items\":[{\"size\":\"1\"}]}",
                           "{\"items\":[{\"name\":\"a\",\"size\":1}]}"}) {
    EXPECT_NE(ErrorOf(ObjectVendor::kGs, body), "") << body;
  }
}

TEST(ParseListPage, IsNotLedAstrayByEntitiesAndDepth) {
  const std::string bomb =
      "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b "
      "\"&a;&a;&a;&a;&a;\">]><ListBucketResult>&b;</ListBucketResult>";
  EXPECT_NE(ErrorOf(ObjectVendor::kS3, bomb), "");
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_NE(ErrorOf(ObjectVendor::kS3, Page(deep)), "");
  EXPECT_NE(ErrorOf(ObjectVendor::kGs, std::string(100'000, '[')), "");
  EXPECT_NE(ErrorOf(ObjectVendor::kGs, StrCat("{\"items\":", std::string(1000, '['), std::string(1000, ']'), "}")), "");
}

TEST(ParseObjectError, ReadsWhatIsThere) {
  ObjectError error = ParseObjectError(
      "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchKey</Code><Message>No "
      "&lt;key&gt;</Message><Region>r</Region></Error>");
  EXPECT_EQ(error.code, "NoSuchKey");
  EXPECT_EQ(error.message, "No <key>");
  EXPECT_EQ(error.region, "r");
  error = ParseObjectError("<Error><Code>AccessDenied</Code><Message>cut of");
  EXPECT_EQ(error.code, "AccessDenied");
  EXPECT_EQ(ParseObjectError(R"({"error":{"code":403,"message":"no rights"}})").message, "no rights");
  EXPECT_EQ(ParseObjectError(R"({"error":"invalid_grant","error_description":"bad"})").code, "invalid_grant");
  for (const char* body : {"", "<", "{", "{\"error\":3}", "hello", "[]"}) {
    EXPECT_EQ(ParseObjectError(body).code, "") << body;
  }
}

}  // namespace
}  // namespace dragonfly::source
