// SPDX-License-Identifier: Apache-2.0
#include "telemetry/cpu_profile.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::telemetry {
namespace {

constexpr size_t kFramesMax = 64;
// Frames of the handler and of the unwinder, before the interrupted one.
constexpr size_t kOwnFramesMax = 8;
constexpr size_t kSpaceWords = 4 << 20;  // 32 MiB, of which only what is written becomes memory

// Where the handler writes: a count and so many addresses, sample after sample. Everything that it touches is allocated
// before the timer starts, and freed after the last handler has left.
struct Space {
  std::atomic<size_t> used{0};
  std::atomic<size_t> lost{0};
  uintptr_t* words = nullptr;
};

std::atomic<bool> busy{false};
std::atomic<Space*> current{nullptr};
std::atomic<int> inside{0};

struct Frames {
  std::array<uintptr_t, kFramesMax + kOwnFramesMax> addresses;
  size_t count = 0;
};

_Unwind_Reason_Code TakeFrame(_Unwind_Context* context, void* out) {
  auto& frames = *static_cast<Frames*>(out);
  if (frames.count == frames.addresses.size()) return _URC_END_OF_STACK;
  int before = 0;
  const uintptr_t address = _Unwind_GetIPInfo(context, &before);
  if (address == 0) return _URC_END_OF_STACK;
  // A return address stands behind the call; the interrupted instruction itself is exact.
  frames.addresses[frames.count++] = before != 0 ? address : address - 1;
  return _URC_NO_REASON;
}

uintptr_t InterruptedAddress(const void* context) {
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<uintptr_t>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return static_cast<uintptr_t>(machine.pc);
#else
#error "the register of the program counter is not known for this processor"
#endif
}

// Only what is safe in a signal handler. The unwinder finds its tables without a lock (_dl_find_object of glibc 2.35)
// and allocates nothing.
void OnSignal(int /*signal*/, siginfo_t* /*info*/, void* context) {
  const int saved = errno;
  inside.fetch_add(1);
  if (Space* const space = current.load()) {
    const uintptr_t interrupted = InterruptedAddress(context);
    Frames frames;
    _Unwind_Backtrace(&TakeFrame, &frames);
    size_t first = 0;
    while (first < frames.count && frames.addresses[first] != interrupted) ++first;
    if (first == frames.count) {
      // Not unwound that far: the interrupted address alone.
      frames.addresses[0] = interrupted;
      frames.count = 1;
      first = 0;
    }
    const size_t count = std::min(frames.count - first, kFramesMax);
    const size_t at = space->used.fetch_add(count + 1);
    if (at + count + 1 <= kSpaceWords) {
      for (size_t i = 0; i < count; ++i) space->words[at + 1 + i] = frames.addresses[first + i];
      space->words[at] = count;
    } else {
      space->lost.fetch_add(1);
    }
  }
  inside.fetch_sub(1);
  errno = saved;
}

std::chrono::nanoseconds ProcessorTime() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

absl::Status SetTimer(std::chrono::microseconds interval) {
  itimerval timer{};
  timer.it_interval.tv_sec = interval.count() / 1'000'000;
  timer.it_interval.tv_usec = interval.count() % 1'000'000;
  timer.it_value = timer.it_interval;
  if (::setitimer(ITIMER_PROF, &timer, nullptr) != 0) return ErrnoStatus(errno, "set the profiling timer");
  return absl::OkStatus();
}

absl::Status InstallHandler() {
  struct sigaction action{};
  action.sa_sigaction = &OnSignal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  if (::sigaction(SIGPROF, &action, nullptr) != 0) return ErrnoStatus(errno, "handle SIGPROF");
  return absl::OkStatus();
}

void FreeSpace(Space* space) {
  ::munmap(space->words, kSpaceWords * sizeof(uintptr_t));
  delete space;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuProfile>> CpuProfile::Start(int frequency) {
  if (frequency < 1 || frequency > kFrequencyMax) {
    return absl::InvalidArgumentError(StrCat("frequency ", frequency, " is not in 1 to ", kFrequencyMax));
  }
  if (busy.exchange(true)) return absl::FailedPreconditionError("another CPU profile is being taken");
  std::unique_ptr<CpuProfile> profile(new CpuProfile);
  profile->running_ = true;  // from here on its destructor lets go of everything

  void* const words = ::mmap(nullptr, kSpaceWords * sizeof(uintptr_t), PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (words == MAP_FAILED) return ErrnoStatus(errno, "space for a CPU profile");
  auto* const space = new Space;
  space->words = static_cast<uintptr_t*>(words);
  current = space;
  // What the unwinder loads at its first use is loaded here.
  Frames warm;
  _Unwind_Backtrace(&TakeFrame, &warm);
  DF_RETURN_IF_ERROR(InstallHandler());

  profile->begin_ = std::chrono::system_clock::now();
  profile->steady_begin_ = std::chrono::steady_clock::now();
  profile->used_ = ProcessorTime();
  DF_RETURN_IF_ERROR(SetTimer(std::chrono::microseconds(1'000'000 / frequency)));
  return profile;
}

CpuProfile::~CpuProfile() {
  if (running_) Finish();
}

Profile CpuProfile::Finish() {
  running_ = false;
  SetTimer(std::chrono::microseconds(0)).IgnoreError();
  const std::chrono::nanoseconds used = ProcessorTime() - used_;
  Space* const space = current.exchange(nullptr);
  // A handler that has seen the space is still at work on another thread for some microseconds at most.
  while (inside.load() != 0) std::this_thread::yield();

  Profile profile;
  profile.value_types = {{"samples", "count"}, {"cpu", "nanoseconds"}};
  profile.period_type = {"cpu", "nanoseconds"};
  profile.begin = begin_;
  profile.duration = std::chrono::steady_clock::now() - steady_begin_;
  if (space != nullptr) {
    const size_t end = std::min(space->used.load(), kSpaceWords);
    for (size_t at = 0; at < end && space->words[at] != 0;) {
      const size_t count = space->words[at];
      const uintptr_t* const first = space->words + at + 1;
      profile.samples.push_back(ProfileSample{{first, first + count}, {1, 0}});
      at += count + 1;
    }
    FreeSpace(space);
  }
  const auto samples = static_cast<int64_t>(profile.samples.size());
  profile.period = samples > 0 ? used.count() / samples : 0;
  for (ProfileSample& sample : profile.samples) sample.values[1] = profile.period;
  busy = false;
  return profile;
}

}  // namespace dragonfly::telemetry
