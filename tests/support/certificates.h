// SPDX-License-Identifier: Apache-2.0
// A certificate authority of one's own, by the openssl command.
#pragma once

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "tests/support/temp_dir.h"

namespace dragonfly::testing {

// Makes ca.pem and, signed by it, server.pem with server.key. `names` is a subjectAltName value: "IP:127.0.0.1".
class Certificates {
 public:
  explicit Certificates(const std::string& names) {
    dir_.Write("names", "subjectAltName=" + names + "\n");
    const std::string key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes ";
    Run("openssl req -x509 " + key + "-keyout ca.key -out ca.pem -days 30 -subj '/CN=Test authority'");
    Run("openssl req -new " + key + "-keyout server.key -out server.csr -subj /CN=server");
    Run("openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names "
        "-out server.pem");
  }
  std::string ca_file() const { return Path("ca.pem"); }
  // The authority in DER, as certificate_chain of a request carries it.
  std::string CaDer() const {
    Run("openssl x509 -in ca.pem -outform DER -out ca.der");
    std::ifstream file(Path("ca.der"), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string server_pem() const { return Path("server.pem"); }
  std::string server_key() const { return Path("server.key"); }
  std::string ca_key() const { return Path("ca.key"); }
  // The lines of an nginx server block.
  std::string NginxLines() const {
    return "ssl_certificate " + Path("server.pem") + "; ssl_certificate_key " + Path("server.key") + ";";
  }

 private:
  std::string Path(const std::string& name) const { return (dir_.path() / name).string(); }
  void Run(const std::string& command) const {
    const std::string line = "cd " + dir_.path().string() + " && " + command + " >>log 2>&1";
    if (std::system(line.c_str()) != 0) throw std::runtime_error("failed: " + command);
  }

  TempDir dir_;
};

}  // namespace dragonfly::testing
