// SPDX-License-Identifier: Apache-2.0
#include "config/options.h"

#include <utility>

#include "base/host_port.h"
#include "base/status.h"
#include "base/text.h"

namespace dragonfly::config {
namespace {

using Opts = Section::Opts;

Wrong CheckAddress(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto parts = SplitHostPort(text);
  if (parts.ok()) return std::nullopt;
  return std::string(MessageOf(parts.status()));
}

}  // namespace

Opts Between(double min, double max) {
  Opts opts;
  opts.min = min;
  opts.max = max;
  return opts;
}

Opts OneOf(std::vector<std::string> allowed) {
  Opts opts;
  opts.one_of = std::move(allowed);
  return opts;
}

Opts Text(std::string kind, std::function<Wrong(const std::string&)> check) {
  Opts opts;
  opts.kind = std::move(kind);
  opts.check = std::move(check);
  return opts;
}

Opts Path() {
  return Text("path", [](const std::string&) -> Wrong { return std::nullopt; });
}

Opts Secret() {
  Opts opts;
  opts.secret = true;
  return opts;
}

Opts Ip() {
  return Text("IP address", [](const std::string& text) -> Wrong {
    if (text.empty() || IsIpLiteral(text)) return std::nullopt;
    return StrCat(Quoted(text), " is not an IP address");
  });
}

Opts Address() { return Text("host:port", CheckAddress); }

Opts ListenAddress() {
  return Text("[ip]:port", [](const std::string& text) -> Wrong {
    return CheckAddress(text.starts_with(':') ? StrCat("0.0.0.0", text) : text);
  });
}

void IgnoreAll(Section& section, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) section.Ignore(key);
}

void Directory(Section& section, std::string_view key, std::string* out) {
  const std::string otherwise = *out;
  section.String(key, out, Path());
  if (out->empty()) *out = otherwise;
}

}  // namespace dragonfly::config
