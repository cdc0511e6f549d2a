// SPDX-License-Identifier: Apache-2.0
// Values of options that need a parser of our own. Only .cc files include this (it pulls in CLI11).
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/text.h"

namespace dragonfly::cli {

// Ends the parsing with "invalid value '<text>' for '<option>': <why>".
[[noreturn]] inline void RefuseOptionValue(const std::string& text, const std::string& option,
                                           const absl::Status& why) {
  throw CLI::ValidationError(StrCat("invalid value '", text, "' for '", option, "'"), std::string(why.message()));
}

// An option function that calls `parse` and hands what it returns to `store`.
template <typename Parse, typename Store>
auto ParsedOption(std::string option, Parse parse, Store store) {
  return [option = std::move(option), parse = std::move(parse), store = std::move(store)](const std::string& text) {
    auto value = parse(text);
    if (!value.ok()) RefuseOptionValue(text, option, value.status());
    store(*std::move(value));
  };
}

}  // namespace dragonfly::cli
