// SPDX-License-Identifier: Apache-2.0
#include "oci/image_url.h"

#include <gtest/gtest.h>

namespace dragonfly::oci {
namespace {

TEST(ImageUrl, NamesManifestsAndBlobs) {
  const auto image = ImageUrl::Parse("https://registry.example:5000/v2/library/nginx/manifests/1.25");
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->registry, "https://registry.example:5000");
  EXPECT_EQ(image->name, "library/nginx");
  EXPECT_EQ(image->reference, "1.25");
  EXPECT_EQ(image->ManifestOf("2"), "https://registry.example:5000/v2/library/nginx/manifests/2");
  EXPECT_EQ(image->BlobOf("sha256:ab"), "https://registry.example:5000/v2/library/nginx/blobs/sha256:ab");
  EXPECT_EQ(ImageUrl::Parse("http://r/v2/manifests/manifests/x")->name, "manifests");
  EXPECT_EQ(ImageUrl::Parse("http://[::1]:5/v2/a/manifests/sha256:ab")->registry, "http://[::1]:5");
}

TEST(ImageUrl, RefusesWhatIsNone) {
  for (const char* const url :
       {"", "registry/v2/a/manifests/b", "ftp://r/v2/a/manifests/b", "http://r/v1/a/manifests/b", "http://r/v2/a/b",
        "http://r/v2//manifests/b", "http://r/v2/a/manifests/", "http://u:p@r/v2/a/manifests/b",
        "http://r/v2/a/manifests/b?c=d", "http://r/v2/A/manifests/b", "http://r/v2/a//b/manifests/c"}) {
    EXPECT_FALSE(ImageUrl::Parse(url).ok()) << url;
  }
}

}  // namespace
}  // namespace dragonfly::oci
