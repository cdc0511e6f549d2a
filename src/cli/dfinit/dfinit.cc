// SPDX-License-Identifier: Apache-2.0
#include "cli/dfinit/dfinit.h"

#include <iostream>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "cli/dfinit/config.h"
#include "cli/dfinit/options.h"
#include "cli/dfinit/plan.h"
#include "cli/dfinit/restart.h"
#include "cli/dfinit/unified_diff.h"

namespace dragonfly::cli {
namespace {

class Reporter {
 public:
  explicit Reporter(const DfinitOptions& options)
      : out_(options.console ? std::cout : std::cerr), verbosity_(options.verbosity) {}

  void Warning(std::string_view text) const {
    if (verbosity_ >= Verbosity::kWarnings) out_ << "warning: " << text << "\n";
  }
  void Change(std::string_view text) const {
    if (verbosity_ >= Verbosity::kChanges) out_ << text << "\n";
  }

 private:
  std::ostream& out_;
  const Verbosity verbosity_;
};

void ShowPlan(const Plan& plan) {
  for (const FileChange& change : plan.files.Changes()) {
    std::cout << UnifiedDiff(change.path, change.before, change.after);
  }
}

// A service that does not start again takes the host down with it: it gets back the files that it had started with.
absl::Status RestartOrRevert(const DfinitOptions& options, const Plan& plan, const std::vector<DueRestart>& due,
                             const Reporter& reporter) {
  for (size_t i = 0; i < due.size(); ++i) {
    const absl::Status restarted = Restart(due[i], options.restart_command);
    if (restarted.ok()) {
      reporter.Change(StrCat("restarted ", due[i].service));
      continue;
    }
    if (plan.files.Changes().empty()) return restarted;
    const absl::Status reverted = plan.files.Revert();
    if (!reverted.ok()) return Annotate(restarted, StrCat("bring the files back: ", MessageOf(reverted)));
    std::string again;
    for (size_t k = 0; k <= i; ++k) {
      // What still does not start is noted, and started by the next run.
      DF_RETURN_IF_ERROR(NoteRestarts({due[k]}));
      if (!Restart(due[k], options.restart_command).ok()) again += StrCat("; ", due[k].service, " is not restarted");
    }
    return Annotate(restarted, StrCat("the files are as before", again));
  }
  return absl::OkStatus();
}

absl::Status MakeChanges(const DfinitOptions& options, const Plan& plan, const Reporter& reporter) {
  const std::vector<DueRestart> due = DueRestarts(plan, options.root);
  if (options.restart) DF_RETURN_IF_ERROR(NoteRestarts(due));
  DF_RETURN_IF_ERROR(plan.files.Apply());
  for (const FileChange& change : plan.files.Changes()) {
    reporter.Change(StrCat(!change.after ? "removed " : change.before ? "changed " : "made ", change.path));
  }
  if (options.restart) return RestartOrRevert(options, plan, due, reporter);
  for (const DueRestart& restart : due) {
    reporter.Change(StrCat(restart.service, " takes the change when it is restarted"));
  }
  return absl::OkStatus();
}

absl::Status Run(const DfinitOptions& options) {
  const Reporter reporter(options);
  DF_ASSIGN_OR_RETURN(const LoadedDfinitConfig loaded, LoadDfinitConfig(options.config_path));
  for (const std::string& warning : loaded.warnings) reporter.Warning(warning);
  const DfinitConfig& config = loaded.config;
  if (!config.containerd && !config.docker && !config.crio && !config.podman) {
    reporter.Change(StrCat(options.config_path, ": containerRuntime names no runtime; there is nothing to do"));
    return absl::OkStatus();
  }
  Plan plan(options.root);
  DF_RETURN_IF_ERROR(options.uninstall ? PlanUninstall(config, plan) : PlanInstall(config, plan));
  for (const std::string& warning : plan.warnings) reporter.Warning(warning);
  if (!options.dry_run) return MakeChanges(options, plan, reporter);
  ShowPlan(plan);
  return absl::OkStatus();
}

}  // namespace

int RunDfinit(std::vector<std::string> arguments) {
  const ParsedDfinitOptions parsed = ParseDfinitOptions(std::move(arguments));
  if (parsed.exit_code) return *parsed.exit_code;
  const absl::Status status = Run(parsed.options);
  if (status.ok()) return 0;
  std::cerr << "Error: " << MessageOf(status) << "\n";
  return 1;
}

}  // namespace dragonfly::cli
