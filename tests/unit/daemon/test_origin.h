// SPDX-License-Identifier: Apache-2.0
// An HTTP origin of one file that counts what is read from it and can hold its answers back.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"

namespace dragonfly::daemon::test {

// HTTP/1.1 with ranges and keep-alive; a thread a connection.
class TestOrigin {
 public:
  explicit TestOrigin(std::string content);
  ~TestOrigin();

  // "http://127.0.0.1:<port>/<name>"; every name is the same file.
  std::string Url(const std::string& name = "file") const;
  const std::string& content() const { return content_; }
  // Body bytes sent, but for answers to `Range: bytes=0-0`, which only ask about the file.
  uint64_t body_bytes() const;

  // From now on no more than this many body bytes leave, all answers together, until Release().
  void HoldAfter(uint64_t bytes);
  // Waits until an answer is held back; false after ten seconds.
  bool WaitUntilHeld() const;
  void Release();

 private:
  void Accept();
  void Serve(int fd);
  bool Answer(int fd, const std::string& head);
  // How many of `wanted` bytes may leave now; waits while none may, 0 when the origin is being destroyed.
  uint64_t Budget(uint64_t wanted);

  const std::string content_;
  UniqueFd listener_;
  int port_ = 0;

  mutable absl::Mutex mutex_;
  uint64_t sent_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t limit_ ABSL_GUARDED_BY(mutex_) = UINT64_MAX;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<int> connections_ ABSL_GUARDED_BY(mutex_);
  std::list<std::thread> threads_;  // of the accepting thread, joined when it has ended
  std::thread acceptor_;
};

}  // namespace dragonfly::daemon::test
