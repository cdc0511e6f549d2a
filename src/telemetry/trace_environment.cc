// SPDX-License-Identifier: Apache-2.0
#include "telemetry/trace_environment.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/text.h"
#include "base/url.h"

namespace dragonfly::telemetry {
namespace {

constexpr uint64_t kQueueMax = 1 << 20;
constexpr uint64_t kMillisecondsMax = 3'600'000;

class Reader {
 public:
  Reader(const std::function<const char*(const char*)>& get, TraceEnvironment& out) : get_(get), out_(out) {}

  // An empty variable counts as unset.
  std::optional<std::string_view> Text(const char* name) const {
    const char* const value = get_(name);
    if (value == nullptr) return std::nullopt;
    const std::string_view text = TrimSpace(value);
    if (text.empty()) return std::nullopt;
    return text;
  }

  std::optional<uint64_t> Number(const char* name, uint64_t min, uint64_t max) {
    const auto text = Text(name);
    if (!text) return std::nullopt;
    const auto number = ParseDecimal<uint64_t>(*text);
    if (number && *number >= min && *number <= max) return number;
    Warn(name, *text, StrCat("is no number from ", min, " to ", max));
    return std::nullopt;
  }

  void Warn(std::string_view name, std::string_view value, std::string_view reason) {
    out_.warnings.push_back(StrCat(name, "=", Quoted(value), " is ignored: ", reason));
  }

  // "key=value,key=value", percent-encoded (W3C Baggage).
  std::vector<std::pair<std::string, std::string>> Pairs(const char* name, bool secret) {
    std::vector<std::pair<std::string, std::string>> pairs;
    std::string_view rest = Text(name).value_or("");
    while (!rest.empty()) {
      const std::string_view entry = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
      if (TrimSpace(entry).empty()) continue;
      const size_t equals = entry.find('=');
      const std::string_view key = TrimSpace(entry.substr(0, equals));
      if (equals == entry.npos || key.empty()) {
        Warn(name, secret ? "..." : entry, "an entry is no key=value");
        continue;
      }
      pairs.emplace_back(PercentDecode(key), PercentDecode(TrimSpace(entry.substr(equals + 1))));
    }
    return pairs;
  }

 private:
  const std::function<const char*(const char*)>& get_;
  TraceEnvironment& out_;
};

bool Has(const Attributes& attributes, std::string_view name) {
  return std::ranges::any_of(attributes, [&](const auto& attribute) { return attribute.first == name; });
}

void ApplyResource(Reader& reader, Attributes& resource) {
  for (auto& [name, value] : reader.Pairs("OTEL_RESOURCE_ATTRIBUTES", /*secret=*/false)) {
    if (!Has(resource, name)) resource.emplace_back(std::move(name), std::move(value));
  }
  if (const auto service = reader.Text("OTEL_SERVICE_NAME")) {
    std::erase_if(resource, [](const auto& attribute) { return attribute.first == "service.name"; });
    resource.emplace_back("service.name", std::string(*service));
  }
}

void ApplySampler(Reader& reader, Sampler& sampler) {
  const auto text = reader.Text("OTEL_TRACES_SAMPLER");
  if (!text) return;
  constexpr std::string_view kParentBased = "parentbased_";
  const std::string lower = ToLowerAscii(*text);
  std::string_view name = lower;
  Sampler chosen;
  chosen.follow_parent = name.starts_with(kParentBased);
  if (chosen.follow_parent) name.remove_prefix(kParentBased.size());
  if (name == "always_off") {
    chosen.ratio = 0;
  } else if (name == "traceidratio") {
    const std::string argument(reader.Text("OTEL_TRACES_SAMPLER_ARG").value_or("1"));
    char* end = nullptr;
    chosen.ratio = std::strtod(argument.c_str(), &end);
    if (end != argument.c_str() + argument.size() || !(chosen.ratio >= 0 && chosen.ratio <= 1)) {
      reader.Warn("OTEL_TRACES_SAMPLER_ARG", argument, "is no number from 0 to 1");
      chosen.ratio = 1;
    }
  } else if (name != "always_on") {
    reader.Warn("OTEL_TRACES_SAMPLER", *text,
                "is none of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, "
                "parentbased_traceidratio");
    return;
  }
  sampler = chosen;
}

}  // namespace

TraceEnvironment ApplyTraceEnvironment(const std::function<const char*(const char*)>& get, TracerOptions& options) {
  TraceEnvironment environment;
  Reader reader(get, environment);
  environment.disabled = EqualsIgnoreCase(reader.Text("OTEL_SDK_DISABLED").value_or(""), "true");
  ApplyResource(reader, options.resource);
  ApplySampler(reader, options.sampler);

  if (const auto size = reader.Number("OTEL_BSP_MAX_QUEUE_SIZE", 1, kQueueMax)) options.queue_max = *size;
  if (const auto size = reader.Number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, kQueueMax)) options.batch_max = *size;
  options.batch_max = std::min(options.batch_max, options.queue_max);
  if (const auto delay = reader.Number("OTEL_BSP_SCHEDULE_DELAY", 1, kMillisecondsMax)) {
    options.batch_delay = std::chrono::milliseconds(*delay);
  }
  for (const char* name :
       {"OTEL_BSP_EXPORT_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"}) {
    if (const auto timeout = reader.Number(name, 1, kMillisecondsMax)) {
      options.export_timeout = std::chrono::milliseconds(*timeout);
    }
  }
  environment.headers = reader.Pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS", /*secret=*/true);
  if (environment.headers.empty()) environment.headers = reader.Pairs("OTEL_EXPORTER_OTLP_HEADERS", /*secret=*/true);
  return environment;
}

}  // namespace dragonfly::telemetry
