// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_options.h"

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/digest.h"
#include "base/piece.h"
#include "base/text.h"
#include "base/units.h"
#include "base/url.h"
#include "cli/command_line.h"

namespace dragonfly::cli {
namespace {

[[noreturn]] void RefuseValue(const std::string& text, const std::string& option, const absl::Status& why) {
  throw CLI::ValidationError(StrCat("invalid value '", text, "' for '", option, "'"), std::string(why.message()));
}

// An option function that calls a parser of our own and stores what it returns.
template <typename Parse, typename Store>
auto Parsed(std::string option, Parse parse, Store store) {
  return [option, parse, store](const std::string& text) {
    auto value = parse(text);
    if (!value.ok()) RefuseValue(text, option, value.status());
    store(*std::move(value));
  };
}

// "K: V" split at the first colon; an entry without one names no header.
absl::StatusOr<std::pair<std::string, std::string>> ParseHeader(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return absl::InvalidArgumentError("expected 'Name: value'");
  const std::string_view name = TrimSpace(text.substr(0, colon));
  if (name.empty()) return absl::InvalidArgumentError("the header has no name");
  return std::pair(std::string(name), std::string(TrimSpace(text.substr(colon + 1))));
}

void SetHeader(std::vector<std::pair<std::string, std::string>>& header, std::pair<std::string, std::string> entry) {
  for (auto& [name, value] : header) {
    if (EqualsIgnoreCase(name, entry.first)) {
      value = std::move(entry.second);
      return;
    }
  }
  header.push_back(std::move(entry));
}

constexpr char kFooter[] = R"(Examples:
  dfget https://example.com/model.bin -O /data/model.bin
  dfget https://example.com/model.bin -O /data/model.bin --digest sha256:<64 hexadecimal digits>
  dfget https://example.com/private.tar -O /tmp/private.tar -H 'Authorization: Bearer <token>'
  dfget https://example.com/model.bin -O /data/head.bin --range bytes=0-1048575

Exit status: 0 success; 1 the download failed, the report on standard output says why; 2 wrong usage.)";

}  // namespace

ParsedDfgetOptions ParseDfgetOptions(std::vector<std::string> arguments) {
  ParsedDfgetOptions parsed;
  DfgetOptions& o = parsed.options;
  CLI::App app(
      "Downloads a file through the dfdaemon of this host: from other hosts that have it, else from its origin.",
      "dfget");
  app.footer(kFooter);
  app.set_version_flag("-V,--version", VersionText("dfget"), "Print version");
  app.set_help_flag("-h,--help", "Print help");

  app.add_option_function<std::string>(
         "URL",
         [&o](const std::string& text) {
           if (const auto url = Url::Parse(text); !url.ok()) RefuseValue(text, "<URL>", url.status());
           o.url = text;
         },
         "URL of the file to download")
      ->required();
  app.add_option("-O,--output", o.output, "Path of the output file")->required()->type_name("OUTPUT");
  app.add_flag(
         "--transfer-from-dfdaemon", o.transfer_from_dfdaemon,
         "Receive the content from dfdaemon and write the file here, instead of letting dfdaemon make it by a hard "
         "link or a copy. For daemons in another mount namespace")
      ->envname("DFGET_TRANSFER_FROM_DFDAEMON");
  CLI::Option* force =
      app.add_flag("--force-hard-link", o.force_hard_link,
                   "Make the output a hard link of dfdaemon's file and fail if that cannot be; without "
                   "it a link is tried and a copy made otherwise")
          ->envname("DFGET_FORCE_HARD_LINK");
  app.add_flag("--overwrite", o.overwrite, "Replace an existing output file")
      ->envname("DFGET_OVERWRITE")
      ->excludes(force);
  app.add_option_function<std::string>(
         "--content-for-calculating-task-id",
         [&o](const std::string& text) { o.content_for_calculating_task_id = text; },
         "Text whose SHA-256 becomes the task id, in place of the URL and all other parts")
      ->envname("DFGET_CONTENT_FOR_CALCULATING_TASK_ID");
  app.add_option("-e,--endpoint", o.endpoint, "Unix socket of dfdaemon")->capture_default_str();
  app.add_option_function<std::string>(
         "--timeout", Parsed("--timeout <TIMEOUT>", ParseDuration, [&o](absl::Duration d) { o.timeout = d; }),
         "Longest time for the whole download, such as 30m or '1h 30m' [default: 2h]")
      ->envname("DFGET_TIMEOUT");
  app.add_option_function<std::string>(
      "--digest",
      Parsed(
          "--digest <DIGEST>", [](const std::string& text) { return Digest::Parse(text); },
          [&o](const Digest& digest) { o.digest = digest.ToString(); }),
      "Digest that the whole file must have: sha256:<hex>, sha512:<hex> or crc32:<decimal>");
  app.add_option("-p,--priority", o.priority, "Priority of the task, 0 to 6")
      ->capture_default_str()
      ->envname("DFGET_PRIORITY");
  app.add_option_function<std::string>(
         "--piece-length",
         Parsed("--piece-length <PIECE_LENGTH>", ParseByteSize, [&o](uint64_t n) { o.piece_length = n; }),
         "Length of a piece, at least 4mib; part of the task id. Chosen by the file's length "
         "when absent")
      ->envname("DFGET_PIECE_LENGTH");
  app.add_option("--application", o.application, "Application of the task, part of the task id")
      ->envname("DFGET_APPLICATION");
  app.add_option("--tag", o.tag, "Tag of the task, part of the task id")->envname("DFGET_TAG");
  app.add_option_function<std::vector<std::string>>(
         "-H,--header",
         [&o](const std::vector<std::string>& entries) {
           for (const std::string& text : entries) {
             auto entry = ParseHeader(text);
             if (!entry.ok()) RefuseValue(text, "--header <HEADER>", entry.status());
             SetHeader(o.header, *std::move(entry));
           }
         },
         "Header for the origin, 'Name: value'; may be repeated")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option(
         "--filtered-query-param", o.filtered_query_params,
         "Query parameter that does not name content and is left out of the task id; may be repeated. Any value "
         "replaces the default list of the signing parameters of the object stores")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_flag("--disable-back-to-source", o.disable_back_to_source,
               "Fail rather than let this host read the file from its origin")
      ->envname("DFGET_DISABLE_BACK_TO_SOURCE");
  app.add_option_function<std::string>(
      "--range", [&o](const std::string& text) { o.range = text; },
      "Part of the file, as in an HTTP Range header: bytes=0-99, bytes=100-, bytes=-10");
  app.add_flag("--no-progress", o.no_progress, "Draw no progress bar; none is drawn without a terminal either")
      ->envname("DFGET_NO_PROGRESS");

  // Options of the original that concern logs of the tool, which has none: failures are reported on standard output.
  std::string ignored;
  bool ignored_flag = false;
  app.add_option("-l,--log-level", ignored, "Accepted for compatibility; dfget keeps no log")
      ->envname("DFGET_LOG_LEVEL");
  app.add_option("--log-dir", ignored, "Accepted for compatibility");
  app.add_option("--log-max-files", ignored, "Accepted for compatibility");
  app.add_flag("--console", ignored_flag, "Accepted for compatibility")->envname("DFGET_CONSOLE");

  parsed.exit_code = ParseCommandLine(app, std::move(arguments));
  if (o.filtered_query_params.empty()) {
    const auto defaults = DefaultFilteredQueryParams();
    o.filtered_query_params.assign(defaults.begin(), defaults.end());
  }
  return parsed;
}

absl::Status ValidateDfgetOptions(DfgetOptions& options) {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto url = Url::Parse(options.url);
  if (!url.ok()) return url.status();
  const std::string as_given = options.output;
  // Only a slash that the user wrote means a directory: "http://host" names a file.
  if (url->path.ends_with('/') && options.url.ends_with('/')) {
    if (!fs::is_directory(as_given, error)) {
      return absl::InvalidArgumentError(StrCat("output path ", as_given, " is not a directory"));
    }
    return absl::InvalidArgumentError(StrCat("unsupported ", url->scheme, " download directory"));
  }
  const fs::path output = fs::absolute(as_given, error).lexically_normal();
  if (error) return absl::InvalidArgumentError(StrCat("output path ", as_given, ": ", error.message()));
  const fs::path parent = output.parent_path();
  if (output == parent || !output.has_filename()) {
    return absl::InvalidArgumentError(StrCat("output path ", as_given, " is not exist"));
  }
  if (!fs::is_directory(parent, error)) {
    return absl::InvalidArgumentError(StrCat("output path ", parent.string(), " is not a directory"));
  }
  const fs::file_status there = fs::symlink_status(output, error);
  if (fs::is_directory(there) || (fs::exists(there) && !options.overwrite)) {
    return absl::InvalidArgumentError(StrCat("output path ", output.string(), " is already exist"));
  }
  options.output = output.string();
  if (options.piece_length && *options.piece_length < kPieceLengthMin) {
    return absl::InvalidArgumentError(StrCat("piece length ", *options.piece_length,
                                             " bytes is less than the minimum piece length ", kPieceLengthMin,
                                             " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
