// SPDX-License-Identifier: Apache-2.0
// What a daemon tells of itself: whether it is ready, and its state for people.
#include "base/status.h"
#include "base/text.h"
#include "daemon/daemon_state.h"

namespace dragonfly::daemon {

std::vector<http::ReadinessCheck> Daemon::State::Readiness() const {
  using Check = http::ReadinessCheck::State;
  std::vector<http::ReadinessCheck> checks;
  checks.push_back({"servers", ready ? Check::kOk : Check::kFailed, ready ? "all serve" : "not all serve"});
  if (!ready) return checks;  // the parts are on their way, or on their way out

  // Downloads work without a scheduler, from their origin: that is a matter for people, not for a restart.
  const bool wanted = control->wants_schedulers();
  const size_t serving = control->schedulers().members().size();
  if (const absl::Status health = control->dynconfig().health(); !health.ok()) {
    checks.push_back({"dynconfig", Check::kWarning, StrCat(control->dynconfig().name(), ": ", MessageOf(health))});
  }
  checks.push_back({"schedulers", serving > 0 || !wanted ? Check::kOk : Check::kWarning,
                    serving > 0 ? StrCat(serving, " serve") : "none serves: downloads come from their origin"});
  for (const auto& [address, result] : control->schedulers().checks()) {
    if (!result.ok()) {
      checks.push_back({StrCat("scheduler ", address), Check::kWarning, std::string(MessageOf(result))});
    }
  }
  const std::optional<TimePoint> announced = announcer.load()->last_known();
  checks.push_back({"announcement", announced || !wanted ? Check::kOk : Check::kWarning,
                    announced
                        ? StrCat("taken ", absl::ToInt64Seconds(absl::FromChrono(Clock::now() - *announced)), " s ago")
                        : "taken by no scheduler yet"});
  const storage::ContentStore::Usage usage = store->usage();
  checks.push_back(
      {"disk", usage.available_bytes > 0 ? Check::kOk : Check::kFailed,
       StrCat(usage.available_bytes, " of ", usage.total_bytes, " bytes are left in ", config.storage.dir)});
  if (tracer != nullptr) {
    const telemetry::Tracer::Counts counts = tracer->counts();
    checks.push_back({"traces", counts.exported > 0 || counts.failed_exports == 0 ? Check::kOk : Check::kWarning,
                      StrCat(counts.exported, " spans exported, ", counts.dropped, " dropped")});
  }
  return checks;
}

DaemonStatus Daemon::State::Status() const {
  DaemonStatus status;
  if (!ready) return status;  // the parts are on their way, or on their way out
  status.host_id = identity.host_id;
  status.seed = identity.seed;
  status.uptime = absl::FromChrono(Clock::now() - begun);
  for (const SchedulerSet::Member& member : control->schedulers().members())
    status.schedulers.push_back(member.address);
  for (const auto& content : store->List()) {
    ++status.tasks;
    if (content->complete()) ++status.complete_tasks;
  }
  const storage::ContentStore::Usage usage = store->usage();
  status.content_bytes = usage.content_bytes;
  status.available_bytes = usage.available_bytes;
  status.total_bytes = usage.total_bytes;
  status.download_limit = config.download.rate_limit;
  status.upload_limit = config.upload.rate_limit;
  status.back_to_source_limit = config.download.back_to_source_rate_limit;
  status.peer_bytes = history.traffic().from_peers;
  status.origin_bytes = history.traffic().from_origins;
  status.downloads = history.Latest(kStatusDownloads);
  return status;
}

}  // namespace dragonfly::daemon
