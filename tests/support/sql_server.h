// SPDX-License-Identifier: Apache-2.0
// A database server of the distribution as a process of its own, with an empty database.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace dragonfly::testing {

// Listens on loopback until it is destroyed; ends with the test program, too. User "dragonfly", database "manager".
class SqlServer {
 public:
  enum class Kind { kPostgres, kMariaDb };

  // Returns when it answers. `options`: further ones of its command line. Throws std::runtime_error with the log of
  // what fails.
  explicit SqlServer(Kind kind, std::vector<std::string> options = {});
  ~SqlServer();
  SqlServer(const SqlServer&) = delete;
  SqlServer& operator=(const SqlServer&) = delete;

  uint16_t port() const { return port_; }
  // Has quotes, blanks and backslashes, which what passes it on must keep.
  static constexpr char kPassword[] = "it's a \\ pass=word;";

  // Runs a file of statements on the database, with the server's own client. Throws with what it says.
  void Load(const std::string& file);
  // Ends it without warning and starts it again on the same data and port.
  void Restart();

 private:
  void RunPsql(const std::string& database, const std::string& file);
  void StartPostgres();
  void StartMariaDb();
  void Kill(int signal);

  const Kind kind_;
  const std::vector<std::string> options_;
  TempDir dir_;
  uint16_t port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace dragonfly::testing
