// SPDX-License-Identifier: Apache-2.0
// Profiles of this process in the form of pprof (github.com/google/pprof, proto/profile.proto).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dragonfly::telemetry {

struct ProfileSample {
  std::vector<uint64_t> addresses;  // code, innermost frame first; of callers: within the call instruction
  std::vector<int64_t> values;      // as many as Profile::value_types
};

struct Profile {
  using Type = std::pair<std::string, std::string>;  // "cpu", "nanoseconds"
  std::vector<Type> value_types;                     // the last one is shown first
  Type period_type;
  int64_t period = 0;
  std::chrono::system_clock::time_point begin;
  std::chrono::nanoseconds duration{};
  std::vector<ProfileSample> samples;
};

// The gzip of the profile, with the functions' names, so that pprof needs no file of this host. Samples with the same
// addresses are added up. Blocks: reads /proc/self/maps and the symbols of the files in it.
std::string EncodeProfile(const Profile& profile);

}  // namespace dragonfly::telemetry
