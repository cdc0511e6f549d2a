// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/rules.h"

#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/proxy/http_error.h"

namespace dragonfly::daemon::proxy {

struct Rules::Compiled {
  Rule rule;
  std::unique_ptr<RE2> regex;
};

Rules::Rules() = default;
Rules::~Rules() = default;

absl::StatusOr<std::unique_ptr<Rules>> Rules::Make(const std::vector<Rule>& rules) {
  std::unique_ptr<Rules> out(new Rules);
  for (size_t index = 0; index < rules.size(); ++index) {
    RE2::Options options;
    options.set_log_errors(false);
    Compiled compiled{rules[index], std::make_unique<RE2>(rules[index].regex, options)};
    const std::string name = StrCat("proxy.rules[", index, "]");
    if (!compiled.regex->ok()) {
      return absl::InvalidArgumentError(
          StrCat(name, ".regex ", Quoted(rules[index].regex), ": ", compiled.regex->error()));
    }
    if (!rules[index].redirect.empty()) {
      const absl::StatusOr<Target> redirect = AbsoluteTarget(StrCat("http://", rules[index].redirect, "/"));
      if (!redirect.ok() || redirect->url.path != "/" || redirect->url.has_query) {
        return absl::InvalidArgumentError(
            StrCat(name, ".redirect ", Quoted(rules[index].redirect), " is not of the form host or host:port"));
      }
    }
    out->rules_.push_back(std::move(compiled));
  }
  return out;
}

const Rules::Rule* Rules::Match(const Url& url) const {
  Url bare = url;
  bare.has_query = bare.has_fragment = false;
  bare.query.clear();
  bare.fragment.clear();
  const std::string without_query = bare.ToString();
  const std::string whole = url.has_query ? url.ToString() : without_query;
  for (const Compiled& compiled : rules_) {
    if (RE2::PartialMatch(without_query, *compiled.regex)) return &compiled.rule;
    // Rules of client v1.0.0 to v1.2.0 may look for something in the query.
    if (url.has_query && RE2::PartialMatch(whole, *compiled.regex)) return &compiled.rule;
  }
  return nullptr;
}

bool Rules::MayMatch(const Authority& authority) const {
  const std::string prefix = authority.port == 443 ? StrCat("https://", authority.host, "/")
                                                   : StrCat("https://", authority.host, ":", authority.port, "/");
  return std::any_of(rules_.begin(), rules_.end(), [&prefix](const Compiled& compiled) {
    // Without '^' it may match behind any prefix.
    if (!compiled.rule.regex.starts_with('^') || compiled.rule.regex.find('|') != std::string::npos) return true;
    std::string smallest, largest;
    const auto length = static_cast<int>(prefix.size());
    const RE2 whole_url(StrCat("(?:", compiled.rule.regex, ")(?s:.)*"), RE2::Quiet);
    if (!whole_url.ok() || !whole_url.PossibleMatchRange(&smallest, &largest, length)) return true;
    // Every URL with the prefix lies between the prefix and the prefix followed by the highest bytes.
    return smallest.substr(0, prefix.size()) <= prefix && prefix <= largest;
  });
}

absl::StatusOr<Url> Rules::Apply(const Rule& rule, const Url& url) {
  Url out = url;
  if (rule.use_tls && out.scheme == "http") {
    out.scheme = "https";
    if (out.port == 443) out.port = -1;
  }
  if (!rule.redirect.empty()) {
    const absl::StatusOr<Target> redirect = AbsoluteTarget(StrCat(out.scheme, "://", rule.redirect, "/"));
    if (!redirect.ok()) return HttpError(500, StrCat("redirect ", Quoted(rule.redirect), " is no host"));
    out.host = redirect->url.host;
    out.port = redirect->url.port;
  }
  return out;
}

}  // namespace dragonfly::daemon::proxy
