// SPDX-License-Identifier: Apache-2.0
// swarm_sim [--rules reference,default,load,wide] [--seeds N] [--bytes N] [SCENARIO...]: how long a swarm of many peers
// takes, in virtual time, against the bound that no schedule can beat. Each figure is the worst of N random seeds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "scenarios.h"
#include "swarm.h"

namespace dragonfly::swarm {
namespace {

Rules RulesOf(const std::string& name) {
  if (name == "reference") return Rules::kReference;
  if (name == "default") return Rules::kDefault;
  return name == "load" ? Rules::kLoad : Rules::kWide;
}

// Each figure of its own.
Outcome WorstOf(const Scenario& scenario, SwarmOptions options, int seeds) {
  Outcome worst;
  for (int i = 0; i < seeds; ++i, ++options.seed) {
    const Outcome one = Simulate(scenario, options);
    worst.bound = one.bound;
    for (double Outcome::* const figure :
         {&Outcome::p50, &Outcome::p99, &Outcome::p999, &Outcome::worst, &Outcome::ratio, &Outcome::upload_spread,
          &Outcome::seed_share, &Outcome::wasted_share, &Outcome::first_p50, &Outcome::first_p99, &Outcome::cpu_seconds,
          &Outcome::longest_step}) {
      worst.*figure = std::max(worst.*figure, one.*figure);
    }
    worst.from_source = std::max(worst.from_source, one.from_source);
    worst.unfinished = std::max(worst.unfinished, one.unfinished);
  }
  return worst;
}

}  // namespace
}  // namespace dragonfly::swarm

int main(int argc, char** argv) {
  using namespace dragonfly::swarm;
  CLI::App app("Simulates the distribution of files to many hosts.");
  std::vector<std::string> names;
  std::string rules = "reference,default,load,wide";
  SwarmOptions options;
  int seeds = 1;
  bool readers = false;
  double bytes = 0;
  app.add_option("scenario", names, "scenarios to run; none: all");
  app.add_option("--rules", rules, "some of reference, default, load, wide");
  app.add_option("--seed", options.seed, "the first seed of everything that is random");
  app.add_option("--seeds", seeds, "how many are tried; the worst is told")->check(CLI::Range(1, 1000));
  app.add_option("--bytes", bytes, "of each file, instead of the scenario's");
  app.add_flag("--readers", readers, "somebody reads the file at each peer while it comes");
  app.add_flag("--trace", options.trace, "tell how the swarm is doing");
  CLI11_PARSE(app, argc, argv);
  std::printf("%-12s %-10s %7s %7s %7s %7s %7s %6s %6s %6s %6s %6s %6s %6s %5s %5s\n", "scenario", "rules", "bound",
              "p50", "p99", "p99.9", "worst", "ratio", "spread", "seeds", "wasted", "origin", "first", "p99", "cpu",
              "step");
  bool good = true;
  for (Scenario scenario : AllScenarios()) {
    if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) continue;
    scenario.readers = readers;
    if (bytes > 0) scenario.file_bytes = bytes;
    std::istringstream list(rules);
    for (std::string rule; std::getline(list, rule, ',');) {
      options.rules = RulesOf(rule);
      const Outcome o = WorstOf(scenario, options, seeds);
      std::printf("%-12s %-10s %7.2f %7.2f %7.2f %7.2f %7.2f %6.2f %6.2f %6.3f %6.3f %6zu %6.2f %6.2f %5.1f %5.2f%s\n",
                  scenario.name.c_str(), rule.c_str(), o.bound, o.p50, o.p99, o.p999, o.worst, o.ratio, o.upload_spread,
                  o.seed_share, o.wasted_share, o.from_source, o.first_p50, o.first_p99, o.cpu_seconds, o.longest_step,
                  o.unfinished > 0 ? "  UNFINISHED" : "");
      std::fflush(stdout);
      good = good && o.unfinished == 0;
    }
  }
  return good ? 0 : 1;
}
