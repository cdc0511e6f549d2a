// SPDX-License-Identifier: Apache-2.0
// A client that sends exact bytes, so that a test can be as wrong as it likes; answers are taken apart.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"

namespace dragonfly::daemon::proxy::test {

struct Answer {
  int status = 0;                             // 0: no whole head came
  std::map<std::string, std::string> fields;  // names in lower case
  std::string body;                           // chunks put together
  bool whole = false;                         // the body came to its end
  bool closed = false;                        // the server has ended the connection
  const std::string& operator[](const std::string& name) const;
};

// One connection to 127.0.0.1; every wait ends after twenty seconds.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port);
  void Send(std::string_view bytes) const;
  // The next answer; `method` of its request.
  Answer Read(std::string_view method = "GET");
  // Head of the next answer only.
  Answer ReadHead();
  // The next bytes, as many as are there; empty at the end.
  std::string ReadSome();
  // True when the server has ended the connection and nothing was left.
  bool AtEnd();
  void Close() { fd_.Reset(); }
  int fd() const { return fd_.get(); }

  // "<method> <target> HTTP/1.1" with Host and the further fields.
  Answer Get(const std::string& target, const std::vector<std::string>& fields = {}, const std::string& method = "GET");

 private:
  bool Fill();
  UniqueFd fd_;
  std::string pending_;
  bool ended_ = false;
};

// A request's text.
std::string RequestText(const std::string& method, const std::string& target,
                        const std::vector<std::string>& fields = {});

}  // namespace dragonfly::daemon::proxy::test
