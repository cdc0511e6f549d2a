// SPDX-License-Identifier: Apache-2.0
// Where this process spends its processor time, by samples.
#pragma once

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"
#include "telemetry/profile.h"

namespace dragonfly::telemetry {

// Samples from Start() to Finish() or destruction: SIGPROF interrupts the running threads after each 1/frequency
// seconds of processor time, all threads together, and the stack of the interrupted one is kept. The kernel's tick
// bounds the real rate, often to 250 a second and processor. One at a time in a process. The handler stays installed.
class CpuProfile {
 public:
  static constexpr int kFrequencyMax = 10'000;

  // `frequency`: samples a second of processor time, 1 to kFrequencyMax. Errors: FAILED_PRECONDITION when another one
  // runs; INVALID_ARGUMENT; of the system.
  static absl::StatusOr<std::unique_ptr<CpuProfile>> Start(int frequency);
  ~CpuProfile();
  CpuProfile(const CpuProfile&) = delete;
  CpuProfile& operator=(const CpuProfile&) = delete;

  // Ends the sampling. Values: samples (count) and cpu (nanoseconds); the second adds up to the processor time that was
  // really spent. Call once. Stacks beyond a fixed space are lost, their time is shared out among the others.
  Profile Finish();

 private:
  CpuProfile() = default;

  std::chrono::system_clock::time_point begin_;
  std::chrono::steady_clock::time_point steady_begin_;
  std::chrono::nanoseconds used_{};  // processor time of the process at the start
  bool running_ = false;
};

}  // namespace dragonfly::telemetry
