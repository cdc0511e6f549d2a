// SPDX-License-Identifier: Apache-2.0
// Makes the ways through the gRPC library known to ThreadSanitizer. The distribution's library is built without it, so
// that all that is handed to the library on one thread, and comes back on another, looks like a race. The dynamic
// linker finds the functions below before the library's own: they tell that what was done before an operation was begun
// has happened before what is done after its event, by the operation's tag, and call the real thing. The library's
// mutexes order the rest: callbacks that its executor runs.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpc/support/sync.h>
#include <sanitizer/tsan_interface.h>

// The library's own memory accesses are none of our business.
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

// The library counts the users of a server's call by an atomic, partly in its own code and partly in its headers; its
// health service guards with a mutex of its own what headers do.
extern "C" const char* __tsan_default_suppressions() {
  return "race:grpc::internal::*::~ServerCallback*Impl\n"
         "race:grpc::DefaultHealthCheckService::*\n";
}

// WRAP(result, name, parameters, arguments, what is released before, what is acquired after); null is nothing.
#define WRAP(result, name, parameters, arguments, before, after)                                \
  extern "C" __attribute__((visibility("default"))) result name parameters {                    \
    static const auto real = reinterpret_cast<result(*) parameters>(::dlsym(RTLD_NEXT, #name)); \
    const Edges edges(before, after);                                                           \
    return real arguments;                                                                      \
  }

namespace {

class Edges {
 public:
  Edges(void* before, void* after) : after_(after) {
    if (before != nullptr) __tsan_release(before);
  }
  Edges(const Edges&) = delete;
  Edges& operator=(const Edges&) = delete;
  ~Edges() {
    if (after_ != nullptr) __tsan_acquire(after_);
  }

 private:
  void* const after_;
};

grpc_event Told(const grpc_event& event) {
  if (event.type == GRPC_OP_COMPLETE) __tsan_acquire(event.tag);
  return event;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                                                                        gpr_timespec deadline,
                                                                                        void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_completion_queue_next)>(::dlsym(RTLD_NEXT, "grpc_completion_queue_next"));
  return Told(real(queue, deadline, reserved));
}

extern "C" __attribute__((visibility("default"))) grpc_event grpc_completion_queue_pluck(grpc_completion_queue* queue,
                                                                                         void* tag,
                                                                                         gpr_timespec deadline,
                                                                                         void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_completion_queue_pluck)>(::dlsym(RTLD_NEXT, "grpc_completion_queue_pluck"));
  return Told(real(queue, tag, deadline, reserved));
}

WRAP(grpc_call_error, grpc_call_start_batch,
     (grpc_call * call, const grpc_op* operations, size_t count, void* tag, void* reserved),
     (call, operations, count, tag, reserved), tag, nullptr)
WRAP(void, grpc_channel_watch_connectivity_state,
     (grpc_channel * channel, grpc_connectivity_state last, gpr_timespec deadline, grpc_completion_queue* queue,
      void* tag),
     (channel, last, deadline, queue, tag), tag, nullptr)
WRAP(grpc_call_error, grpc_server_request_call,
     (grpc_server * server, grpc_call** call, grpc_call_details* details, grpc_metadata_array* metadata,
      grpc_completion_queue* bound, grpc_completion_queue* notified, void* tag),
     (server, call, details, metadata, bound, notified, tag), tag, nullptr)
WRAP(grpc_call_error, grpc_server_request_registered_call,
     (grpc_server * server, void* method, grpc_call** call, gpr_timespec* deadline, grpc_metadata_array* metadata,
      grpc_byte_buffer** payload, grpc_completion_queue* bound, grpc_completion_queue* notified, void* tag),
     (server, method, call, deadline, metadata, payload, bound, notified, tag), tag, nullptr)
WRAP(void, grpc_server_shutdown_and_notify, (grpc_server * server, grpc_completion_queue* queue, void* tag),
     (server, queue, tag), tag, nullptr)

WRAP(void, gpr_mu_lock, (gpr_mu * mutex), (mutex), nullptr, mutex)
WRAP(int, gpr_mu_trylock, (gpr_mu * mutex), (mutex), nullptr, mutex)
WRAP(void, gpr_mu_unlock, (gpr_mu * mutex), (mutex), mutex, nullptr)
WRAP(int, gpr_cv_wait, (gpr_cv * condition, gpr_mu* mutex, gpr_timespec deadline), (condition, mutex, deadline), mutex,
     mutex)
