// SPDX-License-Identifier: Apache-2.0
// URLs: a serialised URL parses to itself, and a canonical URL is its own canonical form, whatever is filtered.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/url.h"

namespace {

void Check(bool holds, const char* promise, std::string_view before, std::string_view after) {
  if (holds) return;
  std::fprintf(stderr, "%s:\n  %.*s\n  %.*s\n", promise, static_cast<int>(before.size()), before.data(),
               static_cast<int>(after.size()), after.data());
  std::abort();
}

void CheckCanonical(std::string_view text, std::span<const std::string> filter) {
  const auto once = dragonfly::CanonicalUrl(text, filter);
  if (!once.ok()) return;
  const auto twice = dragonfly::CanonicalUrl(*once, filter);
  Check(twice.ok(), "canonical URL does not parse", *once, "");
  Check(*once == *twice, "canonical URL changes", *once, *twice);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  if (const auto url = dragonfly::Url::Parse(text); url.ok()) {
    const std::string serialised = url->ToString();
    const auto again = dragonfly::Url::Parse(serialised);
    Check(again.ok(), "serialised URL does not parse", serialised, "");
    Check(again->ToString() == serialised, "serialised URL changes", serialised, again->ToString());
    Check(again->host == url->host && again->path == url->path && again->effective_port() == url->effective_port(),
          "parts of a URL change", serialised, again->ToString());
    Check(!url->special() || url->path.starts_with('/'), "special URL without a path", serialised, "");
  }
  const std::vector<std::string> filter = {"a", "b b", ""};
  CheckCanonical(text, {});
  CheckCanonical(text, filter);
  CheckCanonical(text, dragonfly::DefaultFilteredQueryParams());
  (void)dragonfly::PercentDecode(text);
  return 0;
}
