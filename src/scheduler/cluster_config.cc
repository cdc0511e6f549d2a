// SPDX-License-Identifier: Apache-2.0
#include "scheduler/cluster_config.h"

#include <re2/re2.h>

#include <algorithm>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/text.h"
#include "config/section.h"

namespace dragonfly::scheduler {
namespace {

using config::Section;

constexpr int64_t kCandidatesMax = 1'000;
constexpr int64_t kSampleMax = 100'000;
constexpr int64_t kUploadMax = 1'000'000;
constexpr int32_t kPriorityMax = 6;
// A list that is longer is cut: each rule is looked at for every download of its application.
constexpr size_t kUrlRulesMax = 1'000;
constexpr size_t kApplicationsMax = 10'000;

Section::Opts Between(double min, double max) {
  Section::Opts opts;
  opts.min = min;
  opts.max = max;
  return opts;
}

// Of the manager, which is not to be stopped by a value out of bounds.
void ReadLimit(Section& section, std::string_view key, int64_t max, int64_t* out) {
  int64_t value = 0;
  section.Int(key, &value);
  if (value > 0) *out = std::min(value, max);
}

absl::Status Apply(std::string_view json, std::string_view name, const std::function<void(Section&)>& read) {
  // JSON is YAML, too. What else the text says is for others.
  return config::LoadText(json, name, config::Dialect::kGo, read).status();
}

void ReadApplication(Section& section, ApplicationPriorities::Application& application) {
  section.String("name", &application.name);
  section.Sub("priority", [&](Section& priority) {
    int64_t own = 0;
    priority.Int("value", &own, Between(0, kPriorityMax));
    application.value = static_cast<int32_t>(own);
    priority.List("urls", &application.urls, [](Section& element, ApplicationPriorities::UrlRule& rule) {
      int64_t value = 0;
      Section::Opts regex;
      regex.check = [](const std::string& text) -> std::optional<std::string> {
        RE2::Options options;
        options.set_log_errors(false);
        const RE2 expression(text, options);
        if (expression.ok()) return std::nullopt;
        return StrCat(Quoted(text), " is no regular expression: ", expression.error());
      };
      element.String("regex", &rule.regex, regex);
      element.Int("value", &value, Between(0, kPriorityMax));
      rule.value = static_cast<int32_t>(value);
    });
  });
  for (const std::string_view key : {"id", "url", "bio"}) section.Ignore(key);
}

}  // namespace

class ApplicationPriorities::Pattern {
 public:
  explicit Pattern(const std::string& text) : regex_(text, Options()) {}
  bool ok() const { return regex_.ok(); }
  const std::string& error() const { return regex_.error(); }
  bool FoundIn(std::string_view text) const {
    return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), regex_);
  }

 private:
  static RE2::Options Options() {
    RE2::Options options;
    options.set_log_errors(false);
    return options;
  }
  const RE2 regex_;
};

ApplicationPriorities::ApplicationPriorities(const std::vector<Application>& applications,
                                             std::vector<std::string>* warnings) {
  for (const Application& application : applications) {
    if (applications_.size() == kApplicationsMax) {
      warnings->push_back(StrCat("only the first ", kApplicationsMax, " applications are taken"));
      break;
    }
    Compiled compiled;
    compiled.name = application.name;
    compiled.value = application.value.value_or(0);
    for (const UrlRule& rule : application.urls) {
      if (!application.value.has_value() || compiled.urls.size() == kUrlRulesMax) break;
      auto pattern = std::make_shared<const Pattern>(rule.regex);
      if (pattern->ok()) {
        compiled.urls.emplace_back(std::move(pattern), rule.value);
      } else {
        warnings->push_back(StrCat("application ", Quoted(application.name), ": ", Quoted(rule.regex),
                                   " is no regular expression: ", pattern->error()));
      }
    }
    applications_.push_back(std::move(compiled));
  }
}

int32_t ApplicationPriorities::Of(std::string_view application, std::string_view url) const {
  const auto found =
      std::ranges::find_if(applications_, [&](const Compiled& compiled) { return compiled.name == application; });
  if (found == applications_.end()) return 0;
  for (const auto& [pattern, value] : found->urls) {
    if (pattern->FoundIn(url)) return value;
  }
  return found->value;
}

ClusterConfig DefaultClusterConfig(const SchedulerConfig& config) {
  ClusterConfig cluster;
  cluster.parents.candidates = config.scheduling.candidate_parent_limit;
  cluster.parents.sample = config.scheduling.filter_parent_limit;
  cluster.upload_limit_normal = config.scheduling.upload_limit_normal;
  cluster.upload_limit_seed = config.scheduling.upload_limit_seed;
  return cluster;
}

absl::StatusOr<LoadedClusterConfig> LoadClusterConfigFile(const std::string& path, const ClusterConfig& defaults) {
  LoadedClusterConfig loaded;
  loaded.config = defaults;
  int64_t candidates = static_cast<int64_t>(defaults.parents.candidates);
  int64_t sample = static_cast<int64_t>(defaults.parents.sample);
  int64_t normal = defaults.upload_limit_normal;
  int64_t seed = defaults.upload_limit_seed;
  std::vector<ApplicationPriorities::Application> applications;
  const auto read = [&](Section& root) {
    root.List("applications", &applications, ReadApplication);
    root.Sub("schedulerClusterConfig", [&](Section& section) {
      section.Int("candidateParentLimit", &candidates, Between(1, kCandidatesMax));
      section.Int("filterParentLimit", &sample, Between(1, kSampleMax));
      section.Ignore("jobRateLimit");
    });
    root.Sub("schedulerClusterClientConfig",
             [&](Section& section) { section.Int("loadLimit", &normal, Between(1, kUploadMax)); });
    root.Sub("seedPeerClusterConfig",
             [&](Section& section) { section.Int("loadLimit", &seed, Between(1, kUploadMax)); });
    for (const std::string_view key : {"scheduler", "clientConfig", "seedClientConfig"}) root.Ignore(key);
  };
  DF_ASSIGN_OR_RETURN(config::LoadResult result, config::LoadFile(path, config::Dialect::kGo, read));
  loaded.warnings = std::move(result.warnings);
  loaded.config.parents.candidates = static_cast<size_t>(candidates);
  loaded.config.parents.sample = static_cast<size_t>(sample);
  loaded.config.upload_limit_normal = static_cast<int32_t>(normal);
  loaded.config.upload_limit_seed = static_cast<int32_t>(seed);
  loaded.config.priorities = std::make_shared<const ApplicationPriorities>(applications, &loaded.warnings);
  return loaded;
}

absl::Status ApplySchedulerClusterConfig(std::string_view json, std::string_view name, ClusterConfig* config) {
  int64_t candidates = static_cast<int64_t>(config->parents.candidates);
  int64_t sample = static_cast<int64_t>(config->parents.sample);
  DF_RETURN_IF_ERROR(Apply(json, name, [&](Section& root) {
    ReadLimit(root, "candidate_parent_limit", kCandidatesMax, &candidates);
    ReadLimit(root, "filter_parent_limit", kSampleMax, &sample);
  }));
  config->parents.candidates = static_cast<size_t>(candidates);
  config->parents.sample = static_cast<size_t>(sample);
  return absl::OkStatus();
}

namespace {

absl::Status ApplyLoadLimit(std::string_view json, std::string_view name, int32_t* out) {
  int64_t limit = *out;
  DF_RETURN_IF_ERROR(Apply(json, name, [&](Section& root) { ReadLimit(root, "load_limit", kUploadMax, &limit); }));
  *out = static_cast<int32_t>(limit);
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyClientConfig(std::string_view json, std::string_view name, ClusterConfig* config) {
  return ApplyLoadLimit(json, name, &config->upload_limit_normal);
}

absl::Status ApplySeedClusterConfig(std::string_view json, std::string_view name, ClusterConfig* config) {
  return ApplyLoadLimit(json, name, &config->upload_limit_seed);
}

}  // namespace dragonfly::scheduler
