// SPDX-License-Identifier: Apache-2.0
#include "daemon/block_list.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "config/section.h"

namespace dragonfly::daemon {

class BlockRules::Pattern {
 public:
  explicit Pattern(const std::string& text) : expression_(text, RE2::Quiet) {}
  bool ok() const { return expression_.ok(); }
  const std::string& error() const { return expression_.error(); }
  bool FoundIn(std::string_view url) const {
    return RE2::PartialMatch(re2::StringPiece(url.data(), url.size()), expression_);
  }

 private:
  const RE2 expression_;
};

namespace {

// Calls `read` for a key in both spellings of the original.
void ReadEither(config::Section& section, std::string_view camel, std::string_view snake,
                const std::function<void(config::Section&)>& read) {
  section.Sub(camel, read);
  section.Sub(snake, read);
}

void ReadPurposes(config::Section& section, BlockList::Purposes* out) {
  section.Sub("download", [out](config::Section& rules) { out->download.Read(rules); });
  section.Sub("upload", [out](config::Section& rules) { out->upload.Read(rules); });
}

bool Contains(const std::vector<std::string>& list, std::string_view text) {
  return !text.empty() && std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

bool BlockRules::empty() const {
  return applications_.empty() && urls_.empty() && tags_.empty() && priorities_.empty();
}

bool BlockRules::Matches(const BlockQuery& query) const {
  if (Contains(applications_, query.application) || Contains(tags_, query.tag)) return true;
  if (query.priority && std::find(priorities_.begin(), priorities_.end(), *query.priority) != priorities_.end()) {
    return true;
  }
  if (query.url.empty()) return false;
  return std::any_of(urls_.begin(), urls_.end(), [&](const auto& pattern) { return pattern->FoundIn(query.url); });
}

void BlockRules::Read(config::Section& rules) {
  rules.Strings("applications", &applications_);
  rules.Strings("tags", &tags_);
  std::vector<std::string> urls;
  rules.Strings("urls", &urls);
  for (const std::string& url : urls) {
    auto pattern = std::make_shared<const Pattern>(url);
    if (pattern->ok()) {
      urls_.push_back(std::move(pattern));
    } else {
      rules.Fail("urls", StrCat("not a regular expression: ", Quoted(url), ": ", pattern->error()));
    }
  }
  std::vector<std::string> priorities;
  rules.Strings("priorities", &priorities);
  for (const std::string& text : priorities) {
    if (const auto priority = ParseDecimal<int64_t>(text)) {
      priorities_.push_back(*priority);
    } else {
      rules.Fail("priorities", StrCat("must be whole numbers, not ", Quoted(text)));
    }
  }
}

bool BlockList::empty() const {
  const auto none = [](const Purposes& purposes) { return purposes.download.empty() && purposes.upload.empty(); };
  return none(task) && none(persistent_task) && none(persistent_cache_task);
}

void ReadClientConfig(config::Section& client_config, BlockList* out) {
  ReadEither(client_config, "blockList", "block_list", [out](config::Section& list) {
    list.Sub("task", [out](config::Section& section) { ReadPurposes(section, &out->task); });
    ReadEither(list, "persistentTask", "persistent_task",
               [out](config::Section& section) { ReadPurposes(section, &out->persistent_task); });
    ReadEither(list, "persistentCacheTask", "persistent_cache_task",
               [out](config::Section& section) { ReadPurposes(section, &out->persistent_cache_task); });
  });
  // Of releases before peers had a block list; nothing obeys it any more.
  client_config.Ignore("load_limit");
}

absl::StatusOr<ParsedClientConfig> ParseClientConfig(std::string_view json, std::string_view name) {
  ParsedClientConfig parsed;
  // JSON is YAML, too.
  auto loaded = config::LoadText(json, name, config::Dialect::kRust,
                                 [&](config::Section& root) { ReadClientConfig(root, &parsed.block_list); });
  if (!loaded.ok()) return std::move(loaded).status();
  parsed.warnings = std::move(loaded->warnings);
  return parsed;
}

}  // namespace dragonfly::daemon
