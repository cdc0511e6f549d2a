// SPDX-License-Identifier: Apache-2.0
#include "http/pages.h"

#include <chrono>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "runtime/timeout.h"
#include "telemetry/cpu_profile.h"
#include "telemetry/heap_profile.h"
#include "telemetry/log.h"

namespace dragonfly::http {

namespace asio = boost::asio;

namespace {

constexpr int kSecondsDefault = 10;
constexpr int kSecondsMax = 300;
constexpr int kFrequencyDefault = 1000;

Response Text(int status, std::string body) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

Response Ready(const std::vector<ReadinessCheck>& checks) {
  static constexpr const char* kStates[] = {"ok", "warning", "failed"};
  bool ready = true;
  std::string lines;
  for (const ReadinessCheck& check : checks) {
    ready = ready && check.state != ReadinessCheck::State::kFailed;
    lines += StrCat(kStates[static_cast<size_t>(check.state)], " ", check.name, ": ", check.text, "\n");
  }
  return Text(ready ? 200 : 503, StrCat(ready ? "ready\n" : "not ready\n", lines));
}

asio::awaitable<Response> Answer(Response response) { co_return response; }

// The number that `name` stands for; `otherwise` when it is not given.
absl::StatusOr<int> Parameter(const Target& target, const std::string& name, int otherwise, int max) {
  const auto found = target.query.find(name);
  if (found == target.query.end()) return otherwise;
  const std::optional<int> value = ParseDecimal<int>(found->second);
  if (value && *value >= 1 && *value <= max) return *value;
  return absl::InvalidArgumentError(StrCat(name, "=", Quoted(found->second), ": must be a number from 1 to ", max));
}

Response Refusal(const absl::Status& status) {
  int code = 500;
  if (absl::IsInvalidArgument(status)) code = 400;
  if (absl::IsFailedPrecondition(status)) code = 409;
  if (absl::IsUnimplemented(status)) code = 501;
  if (absl::IsResourceExhausted(status)) code = 503;
  return Text(code, StrCat(MessageOf(status), "\n"));
}

Response ProfileFile(absl::StatusOr<std::string> encoded, std::string_view name) {
  if (!encoded.ok()) return Refusal(encoded.status());
  Response response;
  response.content_type = "application/octet-stream";
  response.header.emplace_back("Content-Disposition", StrCat("attachment; filename=", name, ".pb.gz"));
  response.body = *std::move(encoded);
  return response;
}

asio::awaitable<Response> CpuPage(runtime::BlockingPool& blocking, Request request) {
  const Target target = ParseTarget(request.target);
  const auto seconds = Parameter(target, "seconds", kSecondsDefault, kSecondsMax);
  if (!seconds.ok()) co_return Refusal(seconds.status());
  const auto frequency = Parameter(target, "frequency", kFrequencyDefault, telemetry::CpuProfile::kFrequencyMax);
  if (!frequency.ok()) co_return Refusal(frequency.status());
  auto started = telemetry::CpuProfile::Start(*frequency);
  if (!started.ok()) co_return Refusal(started.status());
  DF_LOG(Info, "CPU profile of {} s at {} Hz begins", *seconds, *frequency);
  co_await runtime::SleepUntil(Clock::now() + std::chrono::seconds(*seconds));
  const telemetry::Profile profile = (*started)->Finish();
  std::function<absl::StatusOr<std::string>()> encode = [&profile] { return telemetry::EncodeProfile(profile); };
  co_return ProfileFile(co_await blocking.Run<std::string>(std::move(encode)), "profile");
}

asio::awaitable<Response> HeapPage(runtime::BlockingPool& blocking) {
  std::function<absl::StatusOr<std::string>()> take = []() -> absl::StatusOr<std::string> {
    DF_ASSIGN_OR_RETURN(const telemetry::Profile profile, telemetry::TakeHeapProfile());
    return telemetry::EncodeProfile(profile);
  };
  co_return ProfileFile(co_await blocking.Run<std::string>(std::move(take)), "heap");
}

}  // namespace

void AddHealthPages(Router& router, std::function<bool()> serves, std::function<std::vector<ReadinessCheck>()> checks) {
  router.On("GET", "/healthy",
            [serves = std::move(serves)](Request) { return Answer(Text(serves() ? 200 : 503, "")); });
  router.On("GET", "/readyz", [checks = std::move(checks)](Request) { return Answer(Ready(checks())); });
}

Router MakeHealthPages(std::function<bool()> serves, std::function<std::vector<ReadinessCheck>()> checks) {
  Router router;
  AddHealthPages(router, std::move(serves), std::move(checks));
  return router;
}

Router MakeMetricsPages(telemetry::Metrics& metrics, std::function<void()> refresh) {
  Router router;
  router.On("GET", "/metrics", [&metrics, refresh = std::move(refresh)](Request) {
    refresh();
    Response response = Text(200, metrics.Render());
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return Answer(std::move(response));
  });
  router.On("DELETE", "/metrics", [&metrics](Request) {
    metrics.Reset();
    return Answer(Text(200, ""));
  });
  return router;
}

Router MakeStatsPages(runtime::BlockingPool& blocking) {
  Router router;
  router.On("GET", "/debug/pprof/profile",
            [&blocking](Request request) { return CpuPage(blocking, std::move(request)); });
  router.On("GET", "/debug/pprof/heap", [&blocking](Request) { return HeapPage(blocking); });
  return router;
}

}  // namespace dragonfly::http
