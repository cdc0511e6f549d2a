// SPDX-License-Identifier: Apache-2.0
#include "oci/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::oci {
namespace {

using ::testing::HasSubstr;

const std::string kA = "sha256:" + std::string(64, 'a');
const std::string kB = "sha256:" + std::string(64, 'b');
const std::string kC = "sha512:" + std::string(128, 'c');

std::string Entry(const std::string& digest, const std::string& type = "application/vnd.oci.image.layer.v1.tar",
                  const std::string& more = "") {
  return StrCat(R"({"mediaType":")", type, R"(","digest":")", digest, R"(","size":5)", more, "}");
}

TEST(Manifest, OfAnImageNamesConfigurationAndLayers) {
  const auto manifest = ParseManifest(StrCat(
      R"({"schemaVersion":2,"config":)", Entry(kA, "application/vnd.oci.image.config.v1+json"), R"(,"layers":[)",
      Entry(kB), ",", Entry(kC), ",", Entry(kA, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "]}"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_FALSE(manifest->list);
  ASSERT_EQ(manifest->entries.size(), 3u);
  EXPECT_EQ(manifest->entries[0].digest, kA);
  EXPECT_EQ(manifest->entries[1].media_type, "application/vnd.oci.image.layer.v1.tar");
  EXPECT_EQ(manifest->entries[2].digest, kC);
  EXPECT_EQ(manifest->entries[2].size, 5u);
}

TEST(Manifest, OfAListNamesPlatforms) {
  const auto manifest = ParseManifest(
      StrCat(R"({"schemaVersion":2,"manifests":[)",
             Entry(kA, "m", R"(,"platform":{"os":"linux","architecture":"arm64","variant":"v8"})"), ",",
             Entry(kB, "m", R"(,"platform":{"os":"linux","architecture":"amd64"})"), ",", Entry(kC, "m"), "]}"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_TRUE(manifest->list);
  ASSERT_EQ(manifest->entries.size(), 3u);
  EXPECT_TRUE(manifest->entries[0].platform.Fits(*Platform::Parse("linux/arm64")));
  EXPECT_TRUE(manifest->entries[0].platform.Fits(*Platform::Parse("linux/arm64/v8")));
  EXPECT_FALSE(manifest->entries[0].platform.Fits(*Platform::Parse("linux/arm64/v7")));
  EXPECT_FALSE(manifest->entries[0].platform.Fits(*Platform::Parse("linux/amd64")));
  EXPECT_FALSE(manifest->entries[2].platform.Fits(Platform::Own()));
}

TEST(Manifest, RefusesWhatIsNone) {
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("{"), std::string(R"({"schemaVersion":1,"fsLayers":[]})"),
        std::string(R"({"schemaVersion":2})"), std::string(R"({"schemaVersion":2,"config":{},"layers":[]})"),
        StrCat(R"({"schemaVersion":2,"config":)", Entry("sha256:../../etc/passwd"), R"(,"layers":[]})"),
        StrCat(R"({"schemaVersion":2,"config":)", Entry("crc32:12345678"), R"(,"layers":[]})"), std::string(100, '['),
        std::string(kManifestMax + 1, ' ')}) {
    const auto manifest = ParseManifest(text);
    EXPECT_TRUE(absl::IsInvalidArgument(manifest.status())) << text.substr(0, 80);
  }
}

TEST(Platform, IsReadAsTheGoProgramsWriteIt) {
  EXPECT_EQ(Platform::Parse("linux/arm/v7")->ToString(), "linux/arm/v7");
  for (const char* const text : {"", "linux", "linux/", "/amd64", "a/b/c/d"}) {
    EXPECT_FALSE(Platform::Parse(text).ok()) << text;
  }
}

TEST(CheckDigest, ComparesContentAndName) {
  const std::string empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  EXPECT_TRUE(CheckDigest("", empty).ok());
  EXPECT_TRUE(absl::IsDataLoss(CheckDigest("x", empty)));
}

}  // namespace
}  // namespace dragonfly::oci
