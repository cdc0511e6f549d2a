// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/text.h"
#include "base/version.h"

namespace dragonfly::cli {
namespace {

std::string Describe(const CLI::Option& option) {
  if (option.get_positional()) {
    return StrCat("<", option.get_name(true, false), ">", option.get_items_expected_max() > 1 ? "..." : "");
  }
  const bool has_long = !option.get_lnames().empty();
  const std::string name = has_long ? option.get_lnames().front() : option.get_snames().front();
  std::string text = StrCat(has_long ? "--" : "-", name);
  if (option.get_items_expected_max() > 0) {
    std::string value = absl::AsciiStrToUpper(name);
    std::replace(value.begin(), value.end(), '-', '_');
    text += StrCat(" <", value, ">");
  }
  return text;
}

// The subcommand that the arguments have chosen, or `app` itself.
const CLI::App& Chosen(const CLI::App& app) {
  const std::vector<CLI::App*> parsed = app.get_subcommands();
  return parsed.empty() ? app : Chosen(*parsed.front());
}

// "dfctl task ls".
std::string NameOf(const CLI::App& app) {
  const CLI::App* const parent = app.get_parent();
  return parent == nullptr ? app.get_name() : StrCat(NameOf(*parent), " ", app.get_name());
}

// Switches take exactly "true" or "false" from their variables, unless the command line gives the switch. Returns what
// is wrong, or "".
std::string WrongSwitchVariable(const CLI::App& app, const std::vector<std::string>& arguments) {
  for (const CLI::Option* option : app.get_options()) {
    const std::string variable = option->get_envname();
    if (variable.empty() || option->get_items_expected_max() > 0) continue;
    const char* const value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0' || std::strcmp(value, "true") == 0 || std::strcmp(value, "false") == 0)
      continue;
    if (std::find(arguments.begin(), arguments.end(), Describe(*option)) != arguments.end()) continue;
    return StrCat("invalid value '", value, "' for '", Describe(*option), "': ", variable, " must be true or false");
  }
  return {};
}

// Required options first, then positionals.
std::string UsageLine(const CLI::App& app) {
  std::string usage = StrCat("Usage: ", NameOf(app), " [OPTIONS]");
  if (app.get_require_subcommand_min() > 0) usage += " <COMMAND>";
  for (const bool positional : {false, true}) {
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_required() && option->get_positional() == positional) usage += StrCat(" ", Describe(*option));
    }
  }
  return usage;
}

int UsageError(const CLI::App& app, std::string_view text) {
  std::cerr << "error: " << text << "\n\n" << UsageLine(app) << "\n\nFor more information, try '--help'.\n";
  return 2;
}

// The options that are required and were not given, one a line.
std::string MissingOptions(const CLI::App& app) {
  std::string missing;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_required() && option->count() == 0) missing += StrCat("\n  ", Describe(*option));
  }
  return missing;
}

// Breaks descriptions between words; CLI11 indents what stands behind a line break.
class WrappedHelp : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    constexpr size_t kLineLength = 70;
    std::string wrapped;
    size_t in_line = 0;
    for (absl::string_view word : absl::StrSplit(option->get_description(), ' ')) {
      if (in_line > 0 && in_line + 1 + word.size() > kLineLength) {
        wrapped += '\n';
        in_line = 0;
      } else if (in_line > 0) {
        wrapped += ' ';
        ++in_line;
      }
      absl::StrAppend(&wrapped, word);
      in_line += word.size();
    }
    return wrapped;
  }
};

}  // namespace

void WrapHelp(CLI::App& app) { app.formatter(std::make_shared<WrappedHelp>()); }

std::optional<int> ParseCommandLine(CLI::App& app, std::vector<std::string> arguments) {
  bool options_ended = false;
  for (std::string& argument : arguments) {
    if (argument == "--") options_ended = true;
    // CLI11 would take the '=' of "-O=VALUE" for a part of the value.
    if (!options_ended && argument.size() > 2 && argument[0] == '-' &&
        absl::ascii_isalpha(static_cast<unsigned char>(argument[1])) && argument[2] == '=') {
      argument.erase(2, 1);
    }
  }
  const std::string wrong_variable = WrongSwitchVariable(app, arguments);
  // CLI11 takes them in reverse order.
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
    if (!wrong_variable.empty()) return UsageError(app, wrong_variable);
    return std::nullopt;
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    std::cout << app.help("", CLI::AppFormatMode::All);
    return 0;
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << "\n";
    return 0;
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = app.remaining(true);
    return UsageError(Chosen(app), StrCat("unexpected argument '", extras.empty() ? "" : extras.front(), "' found"));
  } catch (const CLI::RequiredError& error) {
    const std::string missing = MissingOptions(Chosen(app));
    if (missing.empty()) return UsageError(Chosen(app), error.what());
    return UsageError(Chosen(app), StrCat("the following required arguments were not provided:", missing));
  } catch (const CLI::ArgumentMismatch& error) {
    for (const CLI::Option* option : Chosen(app).get_options()) {
      if (option->count() > 1 && option->get_items_expected_max() == 1) {
        return UsageError(Chosen(app), StrCat("the argument '", Describe(*option), "' cannot be used multiple times"));
      }
    }
    return UsageError(Chosen(app), error.what());
  } catch (const CLI::ParseError& error) {
    return UsageError(Chosen(app), error.what());
  }
}

std::string VersionText(const std::string& name) {
  return StrCat(name, " ", kVersion, " (", GitCommit(), ", ", BuildDate(), ")");
}

}  // namespace dragonfly::cli
