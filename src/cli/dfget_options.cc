// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/digest.h"
#include "base/piece.h"
#include "base/text.h"
#include "base/units.h"
#include "base/url.h"
#include "cli/command_line.h"
#include "cli/option_values.h"

namespace dragonfly::cli {
namespace {

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

constexpr char kDescription[] =
    R"(Downloads files and directories through the dfdaemon of this host: from other hosts that have them, else from their
origin. A URL that ends in '/' is a directory. Several URLs go into one directory.)";

constexpr char kFooter[] = R"(Origins:
  http, https; s3, gs, abs, oss, obs, cos; hdfs, webhdfs, swebhdfs; hf, modelscope; plugins of dfdaemon.
  http and https have no directories. Credentials are sent only for the kind of origin that they belong to.

Directories:
  Every file below the URL is downloaded, --max-concurrent-requests at once. A failed file does not stop the others;
  all failures are reported at the end. A file that is there with the listed length is kept, so the same command goes
  on with what is missing; --overwrite downloads it again. Symbolic links below the output are not followed.

Reports:
  A failure is reported on standard output. Progress is drawn on standard error when that is a terminal: in plain lines
  when TERM is dumb, without styles when NO_COLOR is set. With --json standard output has one object a line, "event"
  being started, finished, kept, error or summary.

Environment:
  Options that name a variable take it when they are not given. Switches take exactly true or false from it.
  Give secrets by variables: other users of this host see command lines.

Exit status:
  0  everything was downloaded; a directory without files, too
  1  a value is not valid, dfdaemon does not answer, or a download failed
  2  wrong usage

Examples:
  dfget https://example.com/model.bin -O /data/model.bin
  dfget https://example.com/model.bin -O /data/model.bin --digest sha256:<64 hexadecimal digits>
  dfget https://example.com/private.tar -O /tmp/private.tar -H 'Authorization: Bearer <token>'
  dfget https://example.com/model.bin -O /data/head.bin --range bytes=0-1048575
  dfget https://example.com/files.tar -O - | tar -x
  dfget https://example.com/a.bin https://example.com/b.bin -O /data/
  dfget s3://bucket/models/ -O /data/models/ --storage-region us-east-1 --storage-access-key-id <id>
  dfget hf://owner/repository -r -O /data/model/ -I '*.safetensors' -I 'tokenizer/'
  dfget hdfs://namenode:9870/logs/ -O /data/logs/ --max-files 1000)";

template <typename T>
auto Bounded(T min, T max) {
  return [min, max](const std::string& text) -> absl::StatusOr<T> {
    const auto number = ParseDecimal<T>(text);
    if (!number || *number < min || *number > max) {
      return absl::InvalidArgumentError(StrCat("expected a number from ", min, " to ", max));
    }
    return *number;
  };
}

// A group of the help; what is added is listed below its name.
class Group {
 public:
  Group(CLI::App& app, std::string name) : app_(app), name_(std::move(name)) {}
  template <typename Out>
  CLI::Option* Value(const std::string& names, Out& out, const std::string& help) {
    return app_.add_option(names, out, help)->group(name_);
  }
  CLI::Option* Value(const std::string& names, std::function<void(const std::string&)> take, const std::string& help) {
    return app_.add_option_function<std::string>(names, std::move(take), help)->group(name_);
  }
  CLI::Option* Switch(const std::string& names, bool& out, const std::string& help) {
    return app_.add_flag(names, out, help)->group(name_);
  }
  template <typename Out>
  CLI::Option* Repeated(const std::string& names, Out& out, const std::string& help) {
    return Repeat(app_.add_option(names, out, help));
  }
  CLI::Option* Repeated(const std::string& names, std::function<void(const std::vector<std::string>&)> take,
                        const std::string& help) {
    return Repeat(app_.add_option_function<std::vector<std::string>>(names, std::move(take), help));
  }

 private:
  CLI::Option* Repeat(CLI::Option* option) {
    return option->group(name_)->type_size(1)->allow_extra_args(false)->multi_option_policy(
        CLI::MultiOptionPolicy::TakeAll);
  }

  CLI::App& app_;
  const std::string name_;
};

void AddOutputOptions(CLI::App& app, DfgetOptions& o) {
  Group group(app, "Output");
  group
      .Value("-O,--output", o.output,
             "Path of the output file; of an existing directory for a directory and for several URLs; - for standard "
             "output")
      ->required()
      ->type_name("OUTPUT");
  group.Switch("--overwrite", o.overwrite, "Replace existing files")->envname("DFGET_OVERWRITE");
  group
      .Switch(
          "--transfer-from-dfdaemon", o.transfer_from_dfdaemon,
          "Receive the content from dfdaemon and write the file here, instead of letting dfdaemon make it by a hard "
          "link or a copy. For daemons in another mount namespace")
      ->envname("DFGET_TRANSFER_FROM_DFDAEMON");
  group
      .Switch("--force-hard-link", o.force_hard_link,
              "Make the output a hard link of dfdaemon's file and fail if that cannot be; without it a link is tried "
              "and a copy made otherwise")
      ->envname("DFGET_FORCE_HARD_LINK");
  group.Switch("--json", o.json, "Tell what happens on standard output, one JSON object a line")->envname("DFGET_JSON");
  group.Switch("--no-progress", o.no_progress, "Draw no progress; none is drawn without a terminal either")
      ->envname("DFGET_NO_PROGRESS");
}

void AddTaskOptions(CLI::App& app, DfgetOptions& o) {
  Group group(app, "Task");
  group.Value("--digest",
              ParsedOption(
                  "--digest <DIGEST>", [](const std::string& text) { return Digest::Parse(text); },
                  [&o](const Digest& digest) { o.digest = digest.ToString(); }),
              "Digest that the whole file must have: sha256:<hex>, sha512:<hex> or crc32:<decimal>");
  group.Value(
      "--range", [&o](const std::string& text) { o.range = text; },
      "Part of the file, as in an HTTP Range header: bytes=0-99, bytes=100-, bytes=-10");
  group.Value("-p,--priority", o.priority, "Priority of the task, 0 to 6")
      ->capture_default_str()
      ->envname("DFGET_PRIORITY");
  group
      .Value("--piece-length",
             ParsedOption("--piece-length <PIECE_LENGTH>", ParseByteSize, [&o](uint64_t n) { o.piece_length = n; }),
             "Length of a piece, at least 4mib; part of the task id. Chosen by the file's length when absent")
      ->envname("DFGET_PIECE_LENGTH");
  group.Value("--application", o.application, "Application of the task, part of the task id")
      ->envname("DFGET_APPLICATION");
  group.Value("--tag", o.tag, "Tag of the task, part of the task id")->envname("DFGET_TAG");
  group
      .Value(
          "--content-for-calculating-task-id",
          [&o](const std::string& text) { o.content_for_calculating_task_id = text; },
          "Text whose SHA-256 becomes the task id, in place of the URL and all other parts")
      ->envname("DFGET_CONTENT_FOR_CALCULATING_TASK_ID");
  group.Repeated(
      "--filtered-query-param", o.filtered_query_params,
      "Query parameter that does not name content and is left out of the task id; may be repeated. Any value "
      "replaces the default list of the signing parameters of the object stores");
  group.Repeated(
      "-H,--header",
      [&o](const std::vector<std::string>& entries) {
        for (const std::string& text : entries) {
          auto entry = ParseHeader(text);
          if (!entry.ok()) RefuseOptionValue(text, "--header <HEADER>", entry.status());
          SetHeader(o.header, *std::move(entry));
        }
      },
      "Header for the origin, 'Name: value'; may be repeated");
  group
      .Switch("--disable-back-to-source", o.disable_back_to_source,
              "Fail rather than let this host read the file from its origin")
      ->envname("DFGET_DISABLE_BACK_TO_SOURCE");
  group
      .Value("--timeout", ParsedOption("--timeout <TIMEOUT>", ParseDuration, [&o](absl::Duration d) { o.timeout = d; }),
             "Longest time for a file, such as 30m or '1h 30m' [default: 2h]")
      ->envname("DFGET_TIMEOUT");
}

void AddDirectoryOptions(CLI::App& app, DfgetOptions& o) {
  Group group(app, "Directories");
  group.Switch("-r,--recursive", o.recursive, "The URL is a directory, also without a '/' at its end");
  group.Repeated("-I,--include-files", o.include_files,
                 "Download only what matches, by the path below the directory; may be repeated. '*', '?' and '[...]' "
                 "match within a name, '**/' any directories, a '/' at the end all that is below. Plain paths are "
                 "downloaded without a listing");
  group
      .Value(
          "--max-files",
          ParsedOption("--max-files <MAX_FILES>", Bounded<size_t>(0, 10'000'000), [&o](size_t n) { o.max_files = n; }),
          "Refuse directories with more files [default: 100]")
      ->envname("DFGET_MAX_FILES");
  group
      .Value("--max-concurrent-requests",
             ParsedOption("--max-concurrent-requests <MAX_CONCURRENT_REQUESTS>", Bounded<size_t>(1, 1024),
                          [&o](size_t n) { o.max_concurrent_requests = n; }),
             "Files that are downloaded at once [default: 5]")
      ->envname("DFGET_MAX_CONCURRENT_REQUESTS");
}

}  // namespace

ParsedDfgetOptions ParseDfgetOptions(std::vector<std::string> arguments) {
  ParsedDfgetOptions parsed;
  DfgetOptions& o = parsed.options;
  CLI::App app(kDescription, "dfget");
  WrapHelp(app);
  app.footer(kFooter);
  app.set_version_flag("-V,--version", VersionText("dfget"), "Print version");
  app.set_help_flag("-h,--help", "Print help");

  app.add_option_function<std::vector<std::string>>(
         "URL",
         [&o](const std::vector<std::string>& urls) {
           for (const std::string& text : urls) {
             if (const auto url = Url::Parse(text); !url.ok()) RefuseOptionValue(text, "<URL>", url.status());
           }
           o.urls = urls;
         },
         "URL of a file, or of a directory with a '/' at its end")
      ->required();
  AddOutputOptions(app, o);
  AddTaskOptions(app, o);
  AddDirectoryOptions(app, o);
  AddOriginOptions(app, "DFGET_", o.origin);

  Group daemon(app, "Daemon");
  daemon.Value("-e,--endpoint", o.endpoint, "Unix socket of dfdaemon")->capture_default_str();
  // Options of the original that concern logs of the tool, which has none: failures are reported on standard output.
  std::string ignored;
  bool ignored_switch = false;
  Group logs(app, "Accepted for compatibility, without effect: dfget keeps no log");
  logs.Value("-l,--log-level", ignored, "Level of the log")->envname("DFGET_LOG_LEVEL");
  logs.Value("--log-dir", ignored, "Directory of the log");
  logs.Value("--log-max-files", ignored, "Files of the log");
  logs.Switch("--console", ignored_switch, "Log to standard output")->envname("DFGET_CONSOLE");

  app.callback([&o] {
    if (o.overwrite && o.force_hard_link) {
      throw CLI::ValidationError("the argument '--overwrite' cannot be used with '--force-hard-link'");
    }
  });
  parsed.exit_code = ParseCommandLine(app, std::move(arguments));
  if (o.filtered_query_params.empty()) {
    const auto defaults = DefaultFilteredQueryParams();
    o.filtered_query_params.assign(defaults.begin(), defaults.end());
  }
  // Only dfget itself can write to its standard output.
  if (o.output == "-") o.transfer_from_dfdaemon = true;
  return parsed;
}

}  // namespace dragonfly::cli
