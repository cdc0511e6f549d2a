// SPDX-License-Identifier: Apache-2.0
// YAML files: whatever stands in one, loading ends with values, warnings or errors.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
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
  section.Bytes("n", &bytes, {.older = {"o"}, .no_effect = "none"});
  section.Sub("a", Read);
  section.List("e", Read);
  if (number < -5 || number > 5 || ratio > 1 || duration < absl::ZeroDuration()) std::abort();
  if (section.Has("g")) section.Fail("g", "is not wanted");
}

struct Element {
  std::string name;
  std::optional<std::vector<std::string>> tags;
  std::vector<std::pair<std::string, std::string>> map;
  absl::Duration duration = absl::ZeroDuration();
  uint64_t bytes = 0;
};

void ReadElement(Section& section, Element& element) {
  section.String("s", &element.name);
  section.Strings("l", &element.tags);
  section.StringMap("m", &element.map);
  section.Duration("d", &element.duration);
  section.Bytes("z", &element.bytes);
}

// What a file says, written down, must say the same again.
void Describe(std::string_view text) {
  if (text.size() > 1000) return;  // a name of more than 1024 bytes is no plain key
  std::optional<Element> one;
  std::vector<Element> many;
  const auto read = [&](Section& root) {
    root.Sub("a", &one, ReadElement);
    root.List("e", &many, ReadElement);
  };
  using dragonfly::config::Dialect;
  if (!dragonfly::config::LoadText(text, "f.yaml", Dialect::kRust, read).ok()) return;
  const std::string yaml = dragonfly::config::Describe(read).yaml;
  // Long names, marks in them and user information that is masked change a text; that it loads they must not.
  if (!dragonfly::config::LoadText(yaml, "f.yaml", Dialect::kRust, read).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto dialect : {dragonfly::config::Dialect::kRust, dragonfly::config::Dialect::kGo}) {
    (void)dragonfly::config::LoadText(text, "f.yaml", dialect, Read);
  }
  Describe(text);
  return 0;
}
