// SPDX-License-Identifier: Apache-2.0
// swarm_sim [--rules reference,default,load] [SCENARIO...]: how long a swarm of many peers takes, in virtual time,
// against the bound that no schedule can beat.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "scenarios.h"
#include "swarm.h"

int main(int argc, char** argv) {
  using namespace dragonfly::swarm;
  CLI::App app("Simulates the distribution of files to many hosts.");
  std::vector<std::string> names;
  std::string rules = "reference,default,load,wide";
  SwarmOptions options;
  app.add_option("scenario", names, "scenarios to run; none: all");
  app.add_option("--rules", rules, "some of reference, default, load, wide");
  app.add_option("--seed", options.seed, "of everything that is random");
  app.add_flag("--trace", options.trace, "tell how the swarm is doing");
  CLI11_PARSE(app, argc, argv);
  std::printf("%-12s %-10s %7s %7s %7s %7s %7s %6s %6s %6s %6s %6s %5s\n", "scenario", "rules", "bound", "p50", "p99",
              "p99.9", "worst", "ratio", "spread", "seeds", "wasted", "origin", "cpu");
  bool good = true;
  for (const Scenario& scenario : AllScenarios()) {
    if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) continue;
    std::istringstream list(rules);
    for (std::string rule; std::getline(list, rule, ',');) {
      options.rules = rule == "reference" ? Rules::kReference
                      : rule == "default" ? Rules::kDefault
                      : rule == "load"    ? Rules::kLoad
                                          : Rules::kWide;
      const Outcome o = Simulate(scenario, options);
      std::printf("%-12s %-10s %7.2f %7.2f %7.2f %7.2f %7.2f %6.2f %6.2f %6.3f %6.3f %6zu %5.1f%s\n",
                  scenario.name.c_str(), rule.c_str(), o.bound, o.p50, o.p99, o.p999, o.worst, o.ratio, o.upload_spread,
                  o.seed_share, o.wasted_share, o.from_source, o.cpu_seconds, o.unfinished > 0 ? "  UNFINISHED" : "");
      std::fflush(stdout);
      good = good && o.unfinished == 0;
    }
  }
  return good ? 0 : 1;
}
