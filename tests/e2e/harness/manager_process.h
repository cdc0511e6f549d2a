// SPDX-License-Identifier: Apache-2.0
// A manager as a program, and calls to its API.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/process.h"
#include "tests/unit/manager/rest_client.h"

namespace dragonfly::e2e {

// May be killed and started again. The password of its root is kRootPassword.
class ManagerProcess {
 public:
  static constexpr char kRootPassword[] = "root-of-the-test";

  // `lines` are added to the configuration; `grpc_lines` to its server.grpc, with their indentation of four.
  ManagerProcess(const std::string& dir, const std::string& lines, const std::string& grpc_lines = "") : dir_(dir) {
    std::filesystem::create_directories(dir);
    std::ofstream(dir + "/manager.yaml") << "server:\n  dataDir: " << dir << "/data\n  logDir: " << dir
                                         << "/log\n  rest: {addr: '127.0.0.1:" << rest_port_
                                         << "'}\n  grpc:\n    listenIP: 127.0.0.1\n    port: {start: " << grpc_port_
                                         << "}\n"
                                         << grpc_lines << "auth: {rootPassword: " << kRootPassword << "}\n"
                                         << lines;
    Start();
  }
  void Start() {
    process_ = Process({Program("manager"), "--config", dir_ + "/manager.yaml", "--console"}, dir_ + "/manager.out");
    EXPECT_TRUE(Await([&] { return HttpStatus(rest_port_, "/healthy") == 200 || !process_.Running(); },
                      std::chrono::seconds(60)))
        << process_.Log();
  }
  void Kill() { process_.Kill(); }
  int grpc_port() const { return grpc_port_; }
  manager::RestClient Client() const { return manager::RestClient(static_cast<uint16_t>(rest_port_)); }
  std::string Log() const { return process_.Log(); }
  // The token of its root; "" when it does not answer so.
  std::string SignIn() const {
    return Client()
        .Call("POST", "/api/v1/users/signin", std::string(R"({"name":"root","password":")") + kRootPassword + "\"}")
        .json.value("token", "");
  }

 private:
  std::string dir_;
  const int grpc_port_ = FreePort();
  const int rest_port_ = FreePort();
  Process process_;
};

// The reply, or nullopt when nobody answers to the end.
inline std::optional<manager::RestReply> TryCall(const manager::RestClient& client, const std::string& method,
                                                 const std::string& path, const std::string& body,
                                                 const std::string& token) {
  try {
    return client.Call(method, path, body, token);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace dragonfly::e2e
