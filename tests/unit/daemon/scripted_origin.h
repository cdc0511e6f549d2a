// SPDX-License-Identifier: Apache-2.0
// An HTTP origin on a loopback port that does what a test tells it, and counts every byte that it gives away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/scripted_server.h"

namespace dragonfly::daemon {

class ScriptedOrigin {
 public:
  struct Behaviour {
    Behaviour() = default;
    int status = 200;               // other than 200: refuses
    int read_status = 200;          // the same for what is no stat
    bool takes_ranges = true;       // false: 200 and the whole body
    bool stat_takes_ranges = true;  // false only together with takes_ranges
    bool tells_length = true;       // false: the body ends with the connection
    std::string etag = "\"v1\"";
    // Values of Authorization; who brings none of them is refused with 401. Empty: everybody is let in.
    std::vector<std::string> authorizations;
    bool holds_refusals = false;  // of those, until Release()
  };

  explicit ScriptedOrigin(std::string content);
  ScriptedOrigin(std::string content, Behaviour behaviour);
  ~ScriptedOrigin();
  ScriptedOrigin(const ScriptedOrigin&) = delete;
  ScriptedOrigin& operator=(const ScriptedOrigin&) = delete;

  std::string Url() const { return server_.Url("/file.bin"); }
  const std::string& content() const { return content_; }
  void Set(Behaviour behaviour);
  // From now on bodies behind byte `offset` of the content are held back until Release().
  void HoldFrom(uint64_t offset);
  void Release();
  // True when a body is held back, at the latest after half a minute.
  bool AwaitHeld();

  // Requests that were no stat ("Range: bytes=0-0").
  int reads() const;
  int stats() const;
  // Body bytes given away by reads.
  uint64_t bytes_read() const;
  // The largest number of times that any byte was given away by reads.
  int reads_of_any_byte() const;

 private:
  using Connection = testing::ScriptedServer::Connection;
  void Answer(Connection& connection, const std::string& request);
  bool SendBody(Connection& connection, uint64_t offset, uint64_t length, bool count);

  const std::string content_;
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Behaviour behaviour_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> hold_from_ ABSL_GUARDED_BY(mutex_);
  int held_ ABSL_GUARDED_BY(mutex_) = 0;
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int stats_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t bytes_read_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint8_t> times_read_ ABSL_GUARDED_BY(mutex_);
  testing::ScriptedServer server_;  // last: its threads use the rest
};

}  // namespace dragonfly::daemon
