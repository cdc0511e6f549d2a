// SPDX-License-Identifier: Apache-2.0
// YAML files: whatever stands in one, loading ends with values, warnings or errors.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/section.h"

namespace {

using dragonfly::config::Section;

// Every kind of key, at every level: the keys are single letters, so that a fuzzer finds them.
void Read(Section& section) {
  bool flag = false;
  int64_t number = 0;
  uint64_t count = 0, bytes = 0;
  uint16_t port = 0;
  double ratio = 0;
  std::string text;
  absl::Duration duration = absl::ZeroDuration();
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> map;
  section.Bool("b", &flag);
  section.Int("i", &number, {.min = -5, .max = 5});
  section.Uint("u", &count, {.aliases = {"v", "w"}});
  section.Port("p", &port);
  section.Double("f", &ratio, {.max = 1});
  section.String("s", &text, {.one_of = {"x", "y"}});
  section.Bytes("z", &bytes, {.min = 1});
  section.Duration("d", &duration, {.max = 60});
  section.Strings("l", &list);
  section.StringMap("m", &map);
  section.Ignore("g");
  section.Sub("a", Read);
  section.List("e", Read);
  if (number < -5 || number > 5 || ratio > 1 || duration < absl::ZeroDuration()) std::abort();
  if (section.Has("g")) section.Fail("g", "is not wanted");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto dialect : {dragonfly::config::Dialect::kRust, dragonfly::config::Dialect::kGo}) {
    (void)dragonfly::config::LoadText(text, "f.yaml", dialect, Read);
  }
  return 0;
}
