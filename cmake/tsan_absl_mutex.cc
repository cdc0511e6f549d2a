// SPDX-License-Identifier: Apache-2.0
// Makes absl::Mutex known to ThreadSanitizer. The distribution's abseil is built without it, so that without help every
// use of a mutex looks like a race. The linker sends the calls of our code through the functions below (--wrap, see
// Dependencies.cmake); they tell the happens-before edges and call the real thing.
//
// Reads inside the real functions are not looked at: abseil evaluates the condition of an Await() on whichever thread
// holds the mutex just then.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

struct IgnoreReads {
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
};

}  // namespace

// WRAP(symbol, result, parameters, arguments, releases before, acquires after): `mutex` is the mutex in the parameters.
#define WRAP(symbol, result, parameters, arguments, releases, acquires) \
  result Real_##symbol parameters __asm__("__real_" #symbol);           \
  result Wrap_##symbol parameters __asm__("__wrap_" #symbol);           \
  result Wrap_##symbol parameters {                                     \
    struct Edges {                                                      \
      explicit Edges(absl::Mutex* m) : mutex_(m) {                      \
        if (releases) __tsan_release(mutex_);                           \
      }                                                                 \
      ~Edges() {                                                        \
        if (acquires) __tsan_acquire(mutex_);                           \
      }                                                                 \
      absl::Mutex* mutex_;                                              \
    };                                                                  \
    const Edges edges(mutex);                                           \
    const IgnoreReads ignore;                                           \
    return Real_##symbol arguments;                                     \
  }

WRAP(_ZN4absl7debian35Mutex4LockEv, void, (absl::Mutex * mutex), (mutex), false, true)
WRAP(_ZN4absl7debian35Mutex6UnlockEv, void, (absl::Mutex * mutex), (mutex), true, false)
WRAP(_ZN4absl7debian35Mutex7TryLockEv, bool, (absl::Mutex * mutex), (mutex), false, true)
WRAP(_ZN4absl7debian35Mutex10ReaderLockEv, void, (absl::Mutex * mutex), (mutex), false, true)
WRAP(_ZN4absl7debian35Mutex12ReaderUnlockEv, void, (absl::Mutex * mutex), (mutex), true, false)
WRAP(_ZN4absl7debian35Mutex13ReaderTryLockEv, bool, (absl::Mutex * mutex), (mutex), false, true)
WRAP(_ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, void, (absl::Mutex * mutex, const absl::Condition& condition),
     (mutex, condition), true, true)
WRAP(_ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE, bool,
     (absl::Mutex * mutex, const absl::Condition& condition, absl::Duration timeout), (mutex, condition, timeout), true,
     true)
WRAP(_ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE, bool,
     (absl::Mutex * mutex, const absl::Condition& condition, absl::Time deadline), (mutex, condition, deadline), true,
     true)
WRAP(_ZN4absl7debian35Mutex8LockWhenERKNS0_9ConditionE, void, (absl::Mutex * mutex, const absl::Condition& condition),
     (mutex, condition), false, true)
WRAP(_ZN4absl7debian35Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE, bool,
     (absl::Mutex * mutex, const absl::Condition& condition, absl::Duration timeout), (mutex, condition, timeout),
     false, true)
WRAP(_ZN4absl7debian35Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE, bool,
     (absl::Mutex * mutex, const absl::Condition& condition, absl::Time deadline), (mutex, condition, deadline), false,
     true)
WRAP(_ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, void, (absl::CondVar * condition, absl::Mutex* mutex),
     (condition, mutex), true, true)
WRAP(_ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, bool,
     (absl::CondVar * condition, absl::Mutex* mutex, absl::Duration timeout), (condition, mutex, timeout), true, true)
WRAP(_ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, bool,
     (absl::CondVar * condition, absl::Mutex* mutex, absl::Time deadline), (condition, mutex, deadline), true, true)
