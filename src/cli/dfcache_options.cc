// SPDX-License-Identifier: Apache-2.0
#include "cli/dfcache_options.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <utility>

#include "base/digest.h"
#include "base/piece.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command_line.h"
#include "cli/dfget_options.h"
#include "cli/option_values.h"

namespace dragonfly::cli {
namespace {

namespace fs = std::filesystem;

constexpr char kFooter[] = R"(Examples:
  dfcache import /data/checkpoint-1000.pt --persistent-replica-count 3 --ttl 2d
  dfcache export 2c26b46b68ff... -O /data/checkpoint-1000.pt
  dfcache stat 2c26b46b68ff...
  dfcache remove 2c26b46b68ff...
  dfcache list --json

Exit status: 0 success; 1 a value is not valid, dfdaemon does not answer, or the call failed; 2 wrong usage.)";

// Adds the commands to the parser; the options of each store into `o_`.
class Commands {
 public:
  Commands(CLI::App& app, DfcacheOptions& options) : app_(app), o_(options) {}

  void Add() {
    AddImport();
    AddExport();
    AddStat();
    AddRemove();
    AddList();
  }

 private:
  CLI::App& Command(DfcacheCommand command, const std::string& name, const std::string& help, absl::Duration timeout) {
    CLI::App& sub = *app_.add_subcommand(name, help);
    sub.parse_complete_callback([this, command] { o_.command = command; });
    // Before the option of that name is looked at.
    sub.preparse_callback([this, timeout](size_t) { o_.timeout = timeout; });
    return sub;
  }

  void AddCommon(CLI::App& sub, const std::string& prefix) {
    sub.add_option("-e,--endpoint", o_.endpoint, "Unix socket of dfdaemon")
        ->capture_default_str()
        ->envname(prefix + "_DFDAEMON_ENDPOINT");
    sub.add_flag("--json", o_.json, "Print JSON on standard output; reports of failures go to standard error");
    // What the original's logs take; there are none here.
    sub.add_option("-l,--log-level", ignored_, "Accepted for compatibility; dfcache keeps no log")
        ->envname(prefix + "_LOG_LEVEL");
    sub.add_option("--log-dir", ignored_, "Accepted for compatibility");
    sub.add_option("--log-max-files", ignored_, "Accepted for compatibility");
    sub.add_flag("--console", ignored_flag_, "Accepted for compatibility")->envname(prefix + "_CONSOLE");
  }

  void AddLabels(CLI::App& sub, const std::string& prefix, const std::string& part) {
    sub.add_option_function<std::string>(
           "--application",
           [this](const std::string& text) {
             o_.application = text;
             o_.application_given = true;
           },
           "Application of the task" + part)
        ->envname(prefix + "_APPLICATION");
    sub.add_option_function<std::string>(
           "--tag",
           [this](const std::string& text) {
             o_.tag = text;
             o_.tag_given = true;
           },
           "Tag of the task" + part)
        ->envname(prefix + "_TAG");
  }

  void AddTimeout(CLI::App& sub, const std::string& prefix, const std::string& standard) {
    sub.add_option_function<std::string>(
           "--timeout",
           ParsedOption("--timeout <TIMEOUT>", ParseDuration, [this](absl::Duration d) { o_.timeout = d; }),
           "Longest time for the whole, such as 30m or '1h 30m' [default: " + standard + "]")
        ->envname(prefix + "_TIMEOUT");
  }

  void AddProgress(CLI::App& sub, const std::string& prefix) {
    sub.add_flag("--no-progress", o_.no_progress, "Draw no progress; none is drawn without a terminal either")
        ->envname(prefix + "_NO_PROGRESS");
  }

  void AddId(CLI::App& sub) { sub.add_option("ID", o_.task_id, "Id of the task, as import prints it")->required(); }

  void AddImport() {
    const std::string prefix = "DFCACHE_IMPORT";
    CLI::App& sub =
        Command(DfcacheCommand::kImport, "import", "Keeps a file of this host in the cluster", absl::Minutes(30));
    sub.add_option("PATH", o_.path, "Path of the file")->required();
    sub.add_option_function<std::string>(
           "--content-for-calculating-task-id",
           [this](const std::string& text) { o_.content_for_calculating_task_id = text; },
           "Text whose SHA-256 becomes the task id, in place of the file's content. Saves reading the file twice")
        ->envname(prefix + "_CONTENT_FOR_CALCULATING_TASK_ID");
    sub.add_option("--persistent-replica-count", o_.persistent_replica_count,
                   "Hosts that keep a copy until the task's time is over, 1 to 5")
        ->capture_default_str()
        ->envname(prefix + "_PERSISTENT_REPLICA_COUNT");
    sub.add_option_function<std::string>(
           "--piece-length",
           ParsedOption("--piece-length <PIECE_LENGTH>", ParseByteSize, [this](uint64_t n) { o_.piece_length = n; }),
           "Length of a piece, at least 4mib; part of the task id. Chosen by the file's length when absent")
        ->envname(prefix + "_PIECE_LENGTH");
    AddLabels(sub, prefix, ", part of the task id");
    sub.add_option_function<std::string>(
           "--ttl", ParsedOption("--ttl <TTL>", ParseDuration, [this](absl::Duration d) { o_.ttl = d; }),
           "Time for which the file is kept, 5m to 7d [default: 1h]")
        ->envname(prefix + "_TTL");
    sub.add_flag("--hard-link", o_.hard_link,
                 "Let the file itself be this host's copy, by a hard link, where it lies on the file system of "
                 "dfdaemon's storage; elsewhere it is copied. It must not be changed while the task lives")
        ->envname(prefix + "_HARD_LINK");
    AddTimeout(sub, prefix, "30m");
    AddProgress(sub, prefix);
    AddCommon(sub, prefix);
  }

  void AddExport() {
    const std::string prefix = "DFCACHE_EXPORT";
    CLI::App& sub = Command(DfcacheCommand::kExport, "export", "Makes a file of a task, from the hosts that keep it",
                            absl::Hours(2));
    AddId(sub);
    sub.add_option("-O,--output", o_.output, "Path of the output file")->required()->type_name("OUTPUT");
    sub.add_flag("--transfer-from-dfdaemon", o_.transfer_from_dfdaemon,
                 "Receive the content from dfdaemon and write the file here, instead of letting dfdaemon make it by a "
                 "hard link or a copy. For daemons in another mount namespace")
        ->envname(prefix + "_TRANSFER_FROM_DFDAEMON");
    sub.add_flag("--force-hard-link", o_.force_hard_link,
                 "Make the output a hard link of dfdaemon's file and fail if that cannot be")
        ->envname(prefix + "_FORCE_HARD_LINK");
    sub.add_flag("--overwrite", o_.overwrite, "Replace an existing file")->envname(prefix + "_OVERWRITE");
    sub.add_option_function<std::string>(
        "--digest",
        ParsedOption(
            "--digest <DIGEST>", [](const std::string& text) { return Digest::Parse(text); },
            [this](const Digest& digest) { o_.digest = digest.ToString(); }),
        "Digest that the file must have: sha256:<hex>, sha512:<hex> or crc32:<decimal>");
    AddLabels(sub, prefix, ", for the block list");
    AddTimeout(sub, prefix, "2h");
    AddProgress(sub, prefix);
    AddCommon(sub, prefix);
  }

  void AddStat() {
    CLI::App& sub = Command(DfcacheCommand::kStat, "stat", "Shows a task and its replicas", absl::Seconds(15));
    AddId(sub);
    AddCommon(sub, "DFCACHE_STAT");
  }

  void AddRemove() {
    CLI::App& sub =
        Command(DfcacheCommand::kRemove, "remove", "Removes a task from all hosts that keep it", absl::Minutes(1));
    AddId(sub);
    AddCommon(sub, "DFCACHE_REMOVE");
  }

  void AddList() {
    CLI::App& sub =
        Command(DfcacheCommand::kList, "list", "Lists the tasks of which this host keeps a copy", absl::Seconds(15));
    AddCommon(sub, "DFCACHE_LIST");
  }

  CLI::App& app_;
  DfcacheOptions& o_;
  std::string ignored_;
  bool ignored_flag_ = false;
};

absl::Status ValidateImport(DfcacheOptions& o) {
  if (o.ttl < absl::Minutes(5) || o.ttl > absl::Hours(7 * 24)) {
    return absl::InvalidArgumentError(
        StrCat("ttl must be between 5 minutes and 7 days, but got ", absl::ToInt64Seconds(o.ttl)));
  }
  std::error_code error;
  const fs::path path = fs::absolute(o.path, error);
  if (error) return absl::InvalidArgumentError(StrCat("path ", o.path, ": ", error.message()));
  if (fs::is_directory(path, error))
    return absl::InvalidArgumentError(StrCat("path ", path.string(), " is a directory"));
  if (!fs::exists(path, error)) return absl::InvalidArgumentError(StrCat("path ", path.string(), " does not exist"));
  o.path = path.string();
  if (o.piece_length && *o.piece_length < kPieceLengthMin) {
    return absl::InvalidArgumentError(StrCat(
        "piece length ", *o.piece_length, " bytes is less than the minimum piece length ", kPieceLengthMin, " bytes"));
  }
  if (o.persistent_replica_count < 1 || o.persistent_replica_count > 5) {
    return absl::InvalidArgumentError(
        StrCat("persistent replica count must be between 1 and 5, but got ", o.persistent_replica_count));
  }
  return absl::OkStatus();
}

}  // namespace

ParsedDfcacheOptions ParseDfcacheOptions(std::vector<std::string> arguments) {
  ParsedDfcacheOptions parsed;
  CLI::App app("Keeps files in the cluster itself, with replicas, and gets them out on any host.", "dfcache");
  app.footer(kFooter);
  app.set_version_flag("-V,--version", VersionText("dfcache"), "Print version");
  app.set_help_flag("-h,--help", "Print help");
  app.require_subcommand(1);
  Commands commands(app, parsed.options);
  commands.Add();
  parsed.exit_code = ParseCommandLine(app, std::move(arguments));
  return parsed;
}

absl::Status ValidateDfcacheOptions(DfcacheOptions& options) {
  if (options.command == DfcacheCommand::kImport) return ValidateImport(options);
  if (options.command != DfcacheCommand::kExport) return absl::OkStatus();
  if (options.overwrite && options.force_hard_link && options.transfer_from_dfdaemon) {
    return absl::InvalidArgumentError("--force-hard-link and --transfer-from-dfdaemon contradict each other");
  }
  DF_ASSIGN_OR_RETURN(options.output, FileOutput(options.output, options.overwrite));
  return absl::OkStatus();
}

}  // namespace dragonfly::cli
