// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "cli/dfcache.h"

int main(int argc, char** argv) { return dragonfly::cli::RunDfcache(std::vector<std::string>(argv + 1, argv + argc)); }
