// SPDX-License-Identifier: Apache-2.0
#include "config/section.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "base/status.h"

namespace dragonfly::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// Loads `text` as f.yaml and returns the warnings, or the error's lines.
struct Outcome {
  bool ok;
  std::vector<std::string> warnings;
  std::string errors;
};
Outcome Load(std::string_view text, const std::function<void(Section&)>& read, Dialect dialect = Dialect::kRust) {
  const auto result = LoadText(text, "f.yaml", dialect, read);
  if (result.ok()) return {.ok = true, .warnings = result->warnings, .errors = ""};
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  return {.ok = false, .warnings = {}, .errors = std::string(MessageOf(result.status()))};
}

TEST(Section, ReadsEveryType) {
  bool flag = false;
  int64_t number = 0;
  uint64_t count = 0, bytes = 0;
  uint16_t port = 0;
  double ratio = 0;
  std::string text, quoted, numeric;
  absl::Duration duration;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> map;
  std::vector<std::string> names;
  const Outcome outcome = Load(R"(
flag: true
number: -5
count: 0x10
port: 65535
ratio: 0.25
text: hello world
quoted: "yes"
numeric: 123
bytes: 10GiB
duration: 1h 30m
list: [a, "b", 3]
map: {X-A: one, X-B: [two, three]}
sub:
  count: 7
items:
  - name: first
  - name: second
)",
                               [&](Section& root) {
                                 root.Bool("flag", &flag);
                                 root.Int("number", &number);
                                 root.Uint("count", &count);
                                 root.Port("port", &port);
                                 root.Double("ratio", &ratio);
                                 root.String("text", &text);
                                 root.String("quoted", &quoted);
                                 root.String("numeric", &numeric);
                                 root.Bytes("bytes", &bytes);
                                 root.Duration("duration", &duration);
                                 root.Strings("list", &list);
                                 root.StringMap("map", &map);
                                 EXPECT_EQ(count, 16u);
                                 root.Sub("sub", [&](Section& sub) { sub.Uint("count", &count); });
                                 root.List("items", [&](Section& item) { item.String("name", &names.emplace_back()); });
                               });
  ASSERT_TRUE(outcome.ok) << outcome.errors;
  EXPECT_THAT(outcome.warnings, IsEmpty());
  EXPECT_TRUE(flag);
  EXPECT_EQ(number, -5);
  EXPECT_EQ(count, 7u);
  EXPECT_EQ(port, 65535);
  EXPECT_EQ(ratio, 0.25);
  EXPECT_EQ(text, "hello world");
  EXPECT_EQ(quoted, "yes");
  EXPECT_EQ(numeric, "123");
  EXPECT_EQ(bytes, 10737418240u);
  EXPECT_EQ(duration, absl::Minutes(90));
  EXPECT_THAT(list, ElementsAre("a", "b", "3"));
  EXPECT_THAT(map, ElementsAre(Pair("X-A", "one"), Pair("X-B", "two"), Pair("X-B", "three")));
  EXPECT_THAT(names, ElementsAre("first", "second"));
}

TEST(Section, KeepsDefaultsOfAbsentAndNullKeys) {
  uint64_t count = 3;
  std::string text = "default";
  std::vector<std::string> list = {"a"};
  const auto read = [&](Section& root) {
    root.Uint("count", &count);
    root.String("text", &text);
    root.Strings("list", &list);
    root.Sub("sub", [](Section&) { FAIL(); });
    root.List("items", [](Section&) { FAIL(); });
  };
  for (const char* file : {"", "{}", "count:\ntext: ~\nlist: null\nsub:\nitems:\n"}) {
    const Outcome outcome = Load(file, read);
    EXPECT_TRUE(outcome.ok) << outcome.errors;
    EXPECT_THAT(outcome.warnings, IsEmpty());
  }
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(text, "default");
  EXPECT_THAT(list, ElementsAre("a"));
}

TEST(Section, WarnsAboutUnknownKeysWithPathAndLine) {
  uint64_t value = 0;
  const Outcome outcome = Load(R"(download:
  known: 1
  foo: 2
items:
  - known: 1
  - bar: 1
"odd key\n": 1
Known: 1
)",
                               [&](Section& root) {
                                 root.Sub("download", [&](Section& sub) { sub.Uint("known", &value); });
                                 root.List("items", [&](Section& item) { item.Uint("known", &value); });
                                 root.Uint("known", &value);
                               });
  ASSERT_TRUE(outcome.ok) << outcome.errors;
  EXPECT_THAT(outcome.warnings, ElementsAre("f.yaml:3: unknown key download.foo", "f.yaml:6: unknown key items[1].bar",
                                            "f.yaml:7: unknown key \"odd key\\n\"", "f.yaml:8: unknown key Known"));
}

TEST(Section, DoesNotReportIgnoredKeys) {
  const Outcome outcome = Load("old: {anything: [1]}\n", [](Section& root) { root.Ignore("old"); });
  EXPECT_TRUE(outcome.ok);
  EXPECT_THAT(outcome.warnings, IsEmpty());
}

TEST(Section, ReadsOneSectionInTwoTurns) {
  uint64_t a = 0, b = 0;
  const Outcome outcome = Load("s: {a: 1, b: 2, c: 3}\n", [&](Section& root) {
    root.Sub("s", [&](Section& sub) { sub.Uint("a", &a); });
    root.Sub("s", [&](Section& sub) { sub.Uint("b", &b); });
  });
  EXPECT_EQ(a, 1u);
  EXPECT_EQ(b, 2u);
  EXPECT_THAT(outcome.warnings, ElementsAre("f.yaml:1: unknown key s.c"));
}

TEST(Section, CollectsAllErrorsInTheOrderOfTheFile) {
  bool flag = false;
  uint64_t count = 3;
  uint16_t port = 1;
  absl::Duration duration = absl::Seconds(1);
  const Outcome outcome = Load(R"(flag: yes
download:
  pieceTimeout: 5 parsecs
  port: 65536
count: -1
items: {}
)",
                               [&](Section& root) {
                                 root.Uint("count", &count);
                                 root.Sub("download", [&](Section& download) {
                                   download.Port("port", &port);
                                   download.Duration("pieceTimeout", &duration);
                                 });
                                 root.Bool("flag", &flag);
                                 root.List("items", [](Section&) {});
                               });
  ASSERT_FALSE(outcome.ok);
  EXPECT_EQ(outcome.errors,
            "f.yaml:1: flag: must be true or false, not \"yes\"\n"
            "f.yaml:3: download.pieceTimeout: duration \"5 parsecs\": unknown unit \"parsecs\"\n"
            "f.yaml:4: download.port: must be a whole number up to 65535, not \"65536\"\n"
            "f.yaml:5: count: must not be negative\n"
            "f.yaml:6: items: must be a list, not a mapping");
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(port, 1);
  EXPECT_EQ(duration, absl::Seconds(1));
}

TEST(Section, TakesOneSpellingOfAKey) {
  uint64_t value = 0;
  const auto read = [&](Section& root) { root.Bytes("rateLimit", &value, {.aliases = {"bandwidthLimit"}}); };
  EXPECT_TRUE(Load("bandwidthLimit: 5\n", read).ok);
  EXPECT_EQ(value, 5u);
  EXPECT_TRUE(Load("rateLimit: 6\nbandwidthLimit:\n", read).ok);
  EXPECT_EQ(value, 6u);
  EXPECT_EQ(Load("rateLimit: 7\nbandwidthLimit: 8\n", read).errors,
            "f.yaml:2: bandwidthLimit: another spelling of rateLimit in line 1");
  EXPECT_EQ(Load("rateLimit: 7\nrateLimit: 8\n", read).errors, "f.yaml:2: rateLimit: given twice, also in line 1");
  EXPECT_EQ(value, 6u);
}

TEST(Section, ChecksBoundsAndChoices) {
  uint64_t percent = 50, bytes = 5;
  double ratio = 0.5;
  absl::Duration duration = absl::Seconds(2);
  std::string level = "info";
  std::vector<std::string> levels;
  const auto read = [&](Section& root) {
    root.Uint("percent", &percent, {.min = 1, .max = 99});
    root.Bytes("bytes", &bytes, {.min = 4});
    root.Double("ratio", &ratio, {.max = 1});
    root.Duration("duration", &duration, {.min = 1, .max = 60});
    root.String("level", &level, {.one_of = {"info", "debug"}});
    root.Strings("levels", &levels, {.one_of = {"info", "debug"}});
  };
  EXPECT_TRUE(Load("percent: 99\nbytes: 4\nratio: 1\nduration: 60s\nlevel: debug\nlevels: [info]\n", read).ok);
  EXPECT_EQ(percent, 99u);
  EXPECT_EQ(Load("percent: 0\nbytes: 3\nratio: 1.5\nduration: 61s\nlevel: x\nlevels: [info, y]\n", read).errors,
            "f.yaml:1: percent: must be at least 1\n"
            "f.yaml:2: bytes: must be at least 4 bytes\n"
            "f.yaml:3: ratio: must be at most 1\n"
            "f.yaml:4: duration: must be at most 60 seconds\n"
            "f.yaml:5: level: must be one of info, debug, not \"x\"\n"
            "f.yaml:6: levels: each must be one of info, debug, not \"y\"");
}

TEST(Section, RefusesWrongShapes) {
  uint64_t count = 0;
  std::string text;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> map;
  EXPECT_EQ(Load("count: [1]\ntext: {a: 1}\nlist: a\nmap: [a]\nsub: 1\nitems: [1]\n",
                 [&](Section& root) {
                   root.Uint("count", &count);
                   root.String("text", &text);
                   root.Strings("list", &list);
                   root.StringMap("map", &map);
                   root.Sub("sub", [](Section&) { FAIL(); });
                   root.List("items", [](Section&) { FAIL(); });
                 })
                .errors,
            "f.yaml:1: count: must be a single value, not a list\n"
            "f.yaml:2: text: must be a single value, not a mapping\n"
            "f.yaml:3: list: must be a list, not a single value\n"
            "f.yaml:4: map: must be a mapping, not a list\n"
            "f.yaml:5: sub: must be a mapping, not a single value\n"
            "f.yaml:6: items[0]: must be a mapping, not a single value");
  EXPECT_EQ(Load("list: [a, [b]]\n", [&](Section& root) { root.Strings("list", &list); }).errors,
            "f.yaml:1: list[1]: must be a single value, not a list");
  EXPECT_EQ(Load("map: {a: {b: c}}\n", [&](Section& root) { root.StringMap("map", &map); }).errors,
            "f.yaml:1: map.a: must be a text or a list of texts");
  EXPECT_EQ(Load("- a\n", [](Section&) { FAIL(); }).errors, "f.yaml:1: the file must be a mapping, not a list");
}

TEST(Section, RefusesWrongNumbers) {
  for (const char* text : {"1.5", "abc", "0x", "1e3", "18446744073709551616", "1 2", "--1", "+-1"}) {
    uint64_t value = 3;
    const Outcome outcome = Load(std::string("n: ") + text + "\n", [&](Section& root) { root.Uint("n", &value); });
    EXPECT_FALSE(outcome.ok) << text;
    EXPECT_EQ(value, 3u);
  }
  for (const char* text : {".nan", ".inf", "nan", "inf", "1.5x", "1e999"}) {
    double value = 3;
    EXPECT_FALSE(Load(std::string("n: ") + text + "\n", [&](Section& root) { root.Double("n", &value); }).ok) << text;
  }
  int64_t number = 0;
  EXPECT_TRUE(Load("n: -9223372036854775808\n", [&](Section& root) { root.Int("n", &number); }).ok);
  EXPECT_EQ(number, std::numeric_limits<int64_t>::min());
}

TEST(Section, ReportsTheCallersOwnChecks) {
  const Outcome outcome = Load("gc:\n  high: 50\n", [](Section& root) {
    root.Sub("gc", [](Section& gc) {
      uint64_t high = 0;
      gc.Uint("high", &high);
      gc.Fail("high", "must be above gc.low");
      EXPECT_TRUE(gc.Has("high"));
      EXPECT_FALSE(gc.Has("low"));
    });
    root.Fail("missing", "is required");
  });
  EXPECT_EQ(outcome.errors, "f.yaml:1: missing: is required\nf.yaml:2: gc.high: must be above gc.low");
}

TEST(RustDialect, WantsNumbersAndBooleansWithoutQuotes) {
  bool flag = false;
  uint64_t count = 0;
  const Outcome outcome = Load("flag: \"true\"\ncount: '5'\n", [&](Section& root) {
    root.Bool("flag", &flag);
    root.Uint("count", &count);
  });
  EXPECT_EQ(outcome.errors,
            "f.yaml:1: flag: must be true or false, not a text in quotes\n"
            "f.yaml:2: count: must be a whole number, not a text in quotes");
}

TEST(RustDialect, ReadsABareDurationAsSecondsWithAWarning) {
  absl::Duration a, b;
  const Outcome outcome = Load("a: 30\nb: 0\n", [&](Section& root) {
    root.Duration("a", &a);
    root.Duration("b", &b);
  });
  ASSERT_TRUE(outcome.ok) << outcome.errors;
  EXPECT_EQ(a, absl::Seconds(30));
  EXPECT_EQ(b, absl::ZeroDuration());
  EXPECT_THAT(outcome.warnings, ElementsAre("f.yaml:1: a: a duration without a unit counts seconds; write \"30s\""));
}

TEST(RustDialect, RefusesNegativeDurationsAndSizes) {
  absl::Duration duration;
  uint64_t bytes = 0;
  const Outcome outcome = Load("d: -5s\nb: -1\n", [&](Section& root) {
    root.Duration("d", &duration);
    root.Bytes("b", &bytes);
  });
  EXPECT_THAT(outcome.errors, HasSubstr("f.yaml:1: d: duration \"-5s\": must not be negative"));
  EXPECT_THAT(outcome.errors, HasSubstr("f.yaml:2: b: size \"-1\": must not be negative"));
}

TEST(GoDialect, FindsKeysInAnyCaseAndConvertsTexts) {
  bool flag = false;
  uint64_t count = 0;
  absl::Duration ttl, interval, other;
  std::vector<std::string> list;
  std::vector<std::pair<std::string, std::string>> headers;
  const Outcome outcome = Load(
      R"(
dynconfig: {refreshinterval: 1m30s}
Flag: "true"
count: "5"
ttl: 1000000000
other: 400ms
list: a, b,,c
headers: {X-Token: abc}
)",
      [&](Section& root) {
        root.Sub("dynConfig", [&](Section& s) { s.Duration("refreshInterval", &interval); });
        root.Bool("flag", &flag);
        root.Uint("count", &count);
        root.Duration("ttl", &ttl);
        root.Duration("other", &other);
        root.Strings("list", &list);
        root.StringMap("headers", &headers);
      },
      Dialect::kGo);
  ASSERT_TRUE(outcome.ok) << outcome.errors;
  EXPECT_THAT(outcome.warnings, IsEmpty());
  EXPECT_TRUE(flag);
  EXPECT_EQ(count, 5u);
  EXPECT_EQ(interval, absl::Seconds(90));
  EXPECT_EQ(ttl, absl::Seconds(1));
  EXPECT_EQ(other, absl::Milliseconds(400));
  EXPECT_THAT(list, ElementsAre("a", "b", "c"));
  EXPECT_THAT(headers, ElementsAre(Pair("x-token", "abc")));
}

TEST(GoDialect, RefusesNegativeDurationsUnlessAllowed) {
  absl::Duration duration;
  EXPECT_EQ(Load(
                "d: -5s\n", [&](Section& root) { root.Duration("d", &duration); }, Dialect::kGo)
                .errors,
            "f.yaml:1: d: must not be negative");
  EXPECT_TRUE(Load("d: -5s\n", [&](Section& root) { root.Duration("d", &duration, {.min = -10}); }, Dialect::kGo).ok);
}

TEST(Section, TheNewerNameWins) {
  uint64_t rate = 0;
  const auto read = [&](Section& root) { root.Bytes("new", &rate, {.older = {"old", "oldest"}}); };
  const Outcome both = Load("old: 1\nnew: 2\noldest: 3\n", read);
  EXPECT_EQ(rate, 2u);
  EXPECT_THAT(both.warnings, ElementsAre("f.yaml:1: old: has no effect beside its newer name new in line 2",
                                         "f.yaml:3: oldest: has no effect beside its newer name new in line 2"));
  EXPECT_THAT(Load("oldest: 3\n", read).warnings, IsEmpty());
  EXPECT_EQ(rate, 3u);
}

TEST(Section, AKeyWithoutEffectIsCheckedAndWarned) {
  bool flag = false;
  const auto read = [&](Section& root) { root.Bool("flag", &flag, {.no_effect = "there is no flag"}); };
  EXPECT_THAT(Load("flag: true\n", read).warnings, ElementsAre("f.yaml:1: flag: has no effect: there is no flag"));
  EXPECT_THAT(Load("", read).warnings, IsEmpty());
  EXPECT_FALSE(Load("flag: 5\n", read).ok);
}

TEST(Section, AnOptionalSectionIsSwitchedOffByNull) {
  struct Limit {
    uint64_t count = 7;
  };
  std::optional<Limit> limit = Limit();
  const auto read = [&](Section& root) {
    root.Sub("limit", &limit, [](Section& section, Limit& of) { section.Uint("count", &of.count); });
  };
  EXPECT_TRUE(Load("", read).ok);
  EXPECT_TRUE(limit.has_value());
  EXPECT_TRUE(Load("limit: null\n", read).ok);
  EXPECT_FALSE(limit.has_value());
  EXPECT_EQ(Describe(read).yaml, "limit: null\n");
  EXPECT_EQ(Describe(read).keys.at(0).value, "7");
  EXPECT_TRUE(Load("limit: {}\n", read).ok);
  EXPECT_EQ(limit->count, 7u);
  EXPECT_FALSE(Load("limit: 5\n", read).ok);
}

TEST(Describe, WritesAFileThatReadsBack) {
  struct Item {
    std::string name = "none";
    std::optional<std::vector<std::string>> tags;
  };
  std::vector<Item> items = {{"a: b", std::nullopt}, {"", std::vector<std::string>{"x", "- y"}}};
  std::vector<std::pair<std::string, std::string>> headers = {{"A", "1"}, {"B", "2"}, {"B", "\"\n\x01"}};
  absl::Duration duration = absl::Milliseconds(1500);
  uint64_t size = 3 << 20;
  int64_t number = -4;
  const auto read = [&](Section& root) {
    root.List("items", &items, [](Section& section, Item& item) {
      section.String("name", &item.name);
      section.Strings("tags", &item.tags);
    });
    root.StringMap("headers", &headers);
    root.Sub("deep", [&](Section& deep) {
      deep.Sub("deeper", [&](Section& deeper) { deeper.Duration("duration", &duration); });
      deep.Bytes("size", &size);
    });
    root.Int("number", &number);
  };
  const Description description = Describe(read);
  EXPECT_EQ(description.yaml, R"(items:
  - name: "a: b"
    tags: null
  - name: ""
    tags:
      - x
      - "- y"
headers:
  A:
    - "1"
  B:
    - "2"
    - "\"\x0a\x01"
deep:
  deeper:
    duration: 1s 500ms
  size: 3MiB
number: -4
)");
  std::vector<std::string> paths;
  for (const KeyDescription& key : description.keys) paths.push_back(key.path);
  EXPECT_THAT(paths,
              ElementsAre("items[].name", "items[].tags", "headers", "deep.deeper.duration", "deep.size", "number"));

  items.clear();
  headers.clear();
  EXPECT_THAT(Describe(read).yaml, HasSubstr("items: []\nheaders: {}\n"));
  EXPECT_TRUE(Load(description.yaml, read).ok);
  EXPECT_EQ(Describe(read).yaml, description.yaml);
}

TEST(YamlText, QuotesWhatAReaderWouldTakeForSomethingElse) {
  for (const std::string_view text : {"",    "true", "No", "null", "~", "5", "-1",  "0x1", ".5", "a: b", "a #b",
                                      "- a", "*a",   "&a", "!a",   "[", "{", "a,b", "\t",  "\\", "'",    "x\ny"}) {
    std::string back = "unset";
    const std::string file = "a: " + YamlText(text) + "\n";
    EXPECT_TRUE(Load(file, [&](Section& root) { root.String("a", &back); }).ok) << file;
    EXPECT_EQ(back, text) << file;
  }
  EXPECT_EQ(YamlText("/var/lib/dragonfly"), "/var/lib/dragonfly");
}

TEST(LoadText, BoundsWhatItSays) {
  std::string text;
  for (int i = 0; i < 500; ++i) text += "k" + std::to_string(i) + ": 1\n";
  const Outcome outcome = Load(text, [](Section&) {});
  ASSERT_EQ(outcome.warnings.size(), 101u);
  EXPECT_EQ(outcome.warnings.back(), "f.yaml: and 400 more");
}

TEST(LoadFile, NamesTheFileThatItCannotRead) {
  const auto read = [](Section&) {};
  const auto missing = LoadFile("/nonexistent/f.yaml", Dialect::kRust, read);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(MessageOf(missing.status())), HasSubstr("/nonexistent/f.yaml"));
  EXPECT_FALSE(LoadFile(testing::TempDir(), Dialect::kRust, read).ok());
  EXPECT_THAT(std::string(MessageOf(LoadFile("/dev/zero", Dialect::kRust, read).status())), HasSubstr("larger than"));
}

TEST(LoadFile, ReadsTheFile) {
  const std::string path = testing::TempDir() + "/load_file.yaml";
  std::ofstream(path) << "count: 5\n";
  uint64_t count = 0;
  const auto result = LoadFile(path, Dialect::kRust, [&](Section& root) { root.Uint("count", &count); });
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(count, 5u);
  std::remove(path.c_str());
}

TEST(LoadFile, OverridesTakeThePlaceOfWhatTheFileSays) {
  const std::string path = testing::TempDir() + "/overrides.yaml";
  std::ofstream(path) << "a: {COUNT: 5, other: 1}\nlist: [x]\nb: 7\n";
  uint64_t count = 0, other = 0, deep = 0;
  std::vector<std::string> list;
  const auto read = [&](Section& root) {
    root.Sub("a", [&](Section& a) {
      a.Uint("count", &count);
      a.Uint("other", &other);
      a.Sub("b", [&](Section& b) { b.Uint("deep", &deep); });
    });
    root.Strings("list", &list);
    root.Ignore("b");
  };
  const auto result = LoadFile(path, {{"COUNT", "a.count", "6"}, {"DEEP", "a.b.deep", "8"}, {"LIST", "list", "y,z"}},
                               Dialect::kGo, read);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->warnings, IsEmpty());
  EXPECT_EQ(count, 6u);
  EXPECT_EQ(other, 1u);
  EXPECT_EQ(deep, 8u);
  EXPECT_THAT(list, ElementsAre("y", "z"));

  const auto wrong = LoadFile(path, {{"DEEP", "a.b.deep", "many"}}, Dialect::kGo, read);
  EXPECT_EQ(MessageOf(wrong.status()),
            "DEEP: a.b.deep: must be a whole number up to 18446744073709551615, not \"many\"");
  // What the file has in the way stays for the reader to complain about.
  EXPECT_TRUE(LoadFile(path, {{"B", "b.c", "1"}}, Dialect::kGo, read).ok());
  std::remove(path.c_str());
}

TEST(Describe, WritesDurationsInItsDialect) {
  absl::Duration day = absl::Hours(24);
  const auto read = [&](Section& root) { root.Duration("ttl", &day); };
  EXPECT_EQ(Describe(read).yaml, "ttl: 1d\n");
  EXPECT_EQ(Describe(read, Dialect::kGo).yaml, "ttl: 24h\n");
}

}  // namespace
}  // namespace dragonfly::config
