// SPDX-License-Identifier: Apache-2.0
// What the tests of one program's own behaviour share: a directory for its files, and its runs.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/harness/cluster.h"
#include "tests/e2e/harness/process.h"

namespace dragonfly::e2e {

class ProgramTest : public ::testing::Test {
 protected:
  // "manager", ...
  explicit ProgramTest(std::string program) : program_(std::move(program)) {}

  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
    return Path(name);
  }
  Process Run(std::vector<std::string> arguments, const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), Program(program_));
    return Process(std::move(arguments), Path("out" + std::to_string(++runs_)), environment);
  }

 private:
  const std::string program_;
  TempDir dir_;
  int runs_ = 0;
};

}  // namespace dragonfly::e2e
