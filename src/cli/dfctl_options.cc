// SPDX-License-Identifier: Apache-2.0
#include "cli/dfctl_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/piece.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "base/url.h"
#include "cli/command_line.h"
#include "cli/option_values.h"

namespace dragonfly::cli {
namespace {

constexpr char kFooter[] = R"(Examples:
  dfctl task ls
  dfctl task rm 6f2a... 91c0...
  dfctl why https://example.com/model.bin
  dfctl task preheat https://example.com/model.bin --scheduler-endpoint http://scheduler:8002
  dfctl task preheat oci://registry.example.com/team/app:1.0 --scheduler-endpoint http://scheduler:8002
  dfctl task preheat https://example.com/model.bin --scheduler-endpoint https://scheduler:8002 \
    --scheduler-ca-cert ca.pem --scheduler-cert client.pem --scheduler-key client.key

Exit status: 0 success; 1 the call failed, the report says why; 2 wrong usage.)";

// Adds the commands to the parser; the options of each store into `options_`.
class Commands {
 public:
  Commands(CLI::App& app, DfctlOptions& options) : app_(app), o_(options) {}

  void Add() {
    CLI::App& task = Group(app_, "task", "Tasks: files that this host has or gets");
    AddTaskLs(task);
    AddTaskStat(task);
    AddTaskRm(task);
    AddTaskPreheat(task);
    CLI::App& persistent = Group(app_, "persistent-task", "Persistent tasks: objects written to object storage");
    AddList(persistent, DfctlCommand::kPersistentTaskLs, "Lists the persistent tasks of this host",
            "DFCTL_PERSISTENT_TASK_LS");
    CLI::App& cache = Group(app_, "persistent-cache-task", "Persistent cache tasks: files kept in the cluster");
    AddList(cache, DfctlCommand::kPersistentCacheTaskLs, "Lists the persistent cache tasks of this host",
            "DFCTL_PERSISTENT_CACHE_TASK_LS");
    AddWhy();
  }

 private:
  static CLI::App& Group(CLI::App& parent, const std::string& name, const std::string& help) {
    CLI::App& group = *parent.add_subcommand(name, help);
    group.require_subcommand(1);
    return group;
  }

  CLI::App& Command(CLI::App& group, DfctlCommand command, const std::string& name, const std::string& help) {
    CLI::App& sub = *group.add_subcommand(name, help);
    sub.parse_complete_callback([this, command] { o_.command = command; });
    return sub;
  }

  // What the original's logs take; there are none here.
  void AddLogging(CLI::App& sub, const std::string& prefix) {
    sub.add_option("-l,--log-level", ignored_, "Accepted for compatibility; dfctl keeps no log")
        ->envname(prefix + "_LOG_LEVEL");
    sub.add_flag("--console", ignored_flag_, "Accepted for compatibility")->envname(prefix + "_CONSOLE");
  }

  // Of every command that asks the daemon of this host.
  void AddDaemon(CLI::App& sub, const std::string& prefix) {
    sub.add_option("-e,--endpoint", o_.endpoint, "Unix socket of dfdaemon")->capture_default_str();
    sub.add_flag("--json", o_.json, "Print JSON on standard output; reports of failures go to standard error");
    AddLogging(sub, prefix);
  }

  void AddList(CLI::App& group, DfctlCommand command, const std::string& help, const std::string& prefix) {
    AddDaemon(Command(group, command, "ls", help), prefix);
  }

  void AddTaskLs(CLI::App& group) {
    AddList(group, DfctlCommand::kTaskLs, "Lists the tasks whose content this host has, in whole or in part",
            "DFCTL_TASK_LS");
  }

  void AddTaskStat(CLI::App& group) {
    CLI::App& sub =
        Command(group, DfctlCommand::kTaskStat, "stat", "Shows what this host has of a task and what its origin said");
    sub.add_option("ID", o_.task_ids, "Id of the task")->required()->expected(1);
    AddDaemon(sub, "DFCTL_TASK_STAT");
  }

  void AddTaskRm(CLI::App& group) {
    CLI::App& sub = Command(group, DfctlCommand::kTaskRm, "rm",
                            "Removes tasks from this host, and this host from the scheduler's books. A task that is "
                            "in use stays and is told of");
    sub.add_option("ID", o_.task_ids, "Ids of the tasks")->required();
    sub.add_flag("--local", o_.local, "Do not tell the scheduler");
    AddDaemon(sub, "DFCTL_TASK_RM");
  }

  void AddWhy();
  void AddTaskPreheat(CLI::App& group);
  void AddPreheatHosts(CLI::App& sub);
  void AddPreheatTask(CLI::App& sub);

  static std::string PreheatVariable(const std::string& name) { return "DFCTL_TASK_PREHEAT_" + name; }
  // A text option that is sent only when given.
  static void AddText(CLI::App& sub, const std::string& flag, std::optional<std::string>& target,
                      const std::string& variable, const std::string& help) {
    sub.add_option_function<std::string>(
           flag, [&target](const std::string& text) { target = text; }, help)
        ->envname(PreheatVariable(variable));
  }
  static void AddPath(CLI::App& sub, const std::string& flag, std::string& target, const std::string& variable,
                      const std::string& help) {
    sub.add_option(flag, target, help)->type_name("PATH")->envname(PreheatVariable(variable));
  }
  template <typename Number>
  static CLI::Option* AddNumber(CLI::App& sub, const std::string& flag, std::optional<Number>& target, int64_t max,
                                const std::string& variable, const std::string& help) {
    return sub
        .add_option_function<int64_t>(
            flag, [&target](const int64_t& value) { target = static_cast<Number>(value); }, help)
        ->check(CLI::Range(int64_t{1}, max))
        ->envname(PreheatVariable(variable));
  }

  CLI::App& app_;
  DfctlOptions& o_;
  std::string ignored_;
  bool ignored_flag_ = false;
};

void Commands::AddTaskPreheat(CLI::App& group) {
  CLI::App& sub = Command(group, DfctlCommand::kTaskPreheat, "preheat",
                          "Lets hosts of the cluster get a file or an image before somebody asks for it");
  PreheatOptions& p = o_.preheat;
  sub.add_option_function<std::string>(
         "URL",
         [&p](const std::string& text) {
           absl::Status valid = Url::Parse(text).status();
           if (text.starts_with("oci://")) {
             valid = ManifestUrl(text).status();
           } else if (text.starts_with("oci")) {
             valid = absl::InvalidArgumentError("unknown URL must start with oci:// for image preheat");
           }
           if (!valid.ok()) RefuseOptionValue(text, "<URL>", valid);
           p.url = text;
         },
         "URL of the file, or oci://registry/repository[:tag|@digest] of an image")
      ->required();
  sub.add_option_function<std::string>(
         "--scheduler-endpoint",
         [&p](const std::string& text) {
           if (const auto endpoint = ParseSchedulerEndpoint(text); !endpoint.ok())
             RefuseOptionValue(text, "--scheduler-endpoint <SCHEDULER_ENDPOINT>", endpoint.status());
           p.scheduler_endpoint = text;
         },
         "URL of the scheduler, such as http://10.0.0.1:8002, or https:// for TLS")
      ->required()
      ->envname(PreheatVariable("SCHEDULER_ENDPOINT"));
  AddPath(sub, "--scheduler-ca-cert", p.scheduler_tls.ca_cert, "SCHEDULER_CA_CERT",
          "With https: PEM file of the authorities that the scheduler's certificate may come from, instead of the "
          "system's");
  AddPath(sub, "--scheduler-cert", p.scheduler_tls.cert, "SCHEDULER_CERT",
          "With https: PEM file of the certificate to show to a scheduler that wants one");
  AddPath(sub, "--scheduler-key", p.scheduler_tls.key, "SCHEDULER_KEY", "With https: PEM file of its key");
  AddPreheatHosts(sub);
  AddPreheatTask(sub);
  AddStorageOptions(sub, PreheatVariable(""), o_.preheat.origin);
  AddLogging(sub, "DFCTL_TASK_PREHEAT");
}

void Commands::AddWhy() {
  CLI::App& sub = Command(app_, DfctlCommand::kWhy, "why",
                          "Tells of the last downloads of a task on this host: where each piece came from, what was "
                          "waited for, which limits held it back, and which parents were dropped");
  WhyOptions& w = o_.why;
  sub.add_option("URL|TASK_ID", w.what, "URL as it was downloaded, or the id of its task")->required();
  sub.add_flag("--pieces", w.pieces, "Also a line for each piece");
  sub.add_option("--tag", w.tag, "Tag of the task")->envname("DFCTL_WHY_TAG");
  sub.add_option("--application", w.application, "Application of the task")->envname("DFCTL_WHY_APPLICATION");
  sub.add_option("--filtered-query-param", w.filtered_query_params,
                 "Query parameter that was left out of the task id; may be repeated. Any value replaces the default "
                 "list")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  sub.add_option_function<std::string>(
         "--piece-length",
         ParsedOption("--piece-length <PIECE_LENGTH>", ParseByteSize, [&w](uint64_t bytes) { w.piece_length = bytes; }),
         "Length of a piece, when the download gave one")
      ->envname("DFCTL_WHY_PIECE_LENGTH");
  sub.add_option_function<std::string>(
         "--content-for-calculating-task-id",
         [&w](const std::string& text) { w.content_for_calculating_task_id = text; },
         "Text whose SHA-256 is the task id, when the download gave one")
      ->envname("DFCTL_WHY_CONTENT_FOR_CALCULATING_TASK_ID");
  AddDaemon(sub, "DFCTL_WHY");
}

// Which hosts, and how many at once.
void Commands::AddPreheatHosts(CLI::App& sub) {
  PreheatOptions& p = o_.preheat;
  sub.add_option("--scope", p.scope, "Hosts that get the content: single_seed_peer, all_seed_peers or all_peers")
      ->check(CLI::IsMember({"single_seed_peer", "all_seed_peers", "all_peers"}))
      ->capture_default_str()
      ->envname(PreheatVariable("SCOPE"));
  sub.add_option("--ip", p.ips, "Only the host with this address; may be repeated")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname(PreheatVariable("IP"));
  CLI::Option* const percentage = AddNumber(sub, "--percentage", p.percentage, 100, "PERCENTAGE",
                                            "Share of the hosts of the scope, 1 to 100; all when absent");
  AddNumber(sub, "--count", p.count, 200, "COUNT", "Number of hosts of the scope, 1 to 200; all when absent")
      ->excludes(percentage);
  sub.add_option("--concurrent-task-count", p.concurrent_task_count, "Layers of an image at once, 1 to 100")
      ->check(CLI::Range(int64_t{1}, int64_t{100}))
      ->capture_default_str()
      ->envname(PreheatVariable("CONCURRENT_TASK_COUNT"));
  AddNumber(sub, "--concurrent-peer-count", p.concurrent_peer_count, 1000, "CONCURRENT_PEER_COUNT",
            "Hosts at once, 1 to 1000; the scheduler's default is 500");
  sub.add_flag("--request-sdk", p.request_sdk, "Accepted for compatibility; it is the scheduler that asks the hosts")
      ->envname(PreheatVariable("REQUEST_SDK"));
  sub.add_option("--replicas", ignored_,
                 "Accepted for compatibility; it has a meaning only together with --request-sdk")
      ->envname(PreheatVariable("REPLICAS"));
  sub.add_flag("--enable-task-id-based-blob-digest", ignored_flag_,
               "Accepted for compatibility; it is the scheduler that names the tasks")
      ->envname(PreheatVariable("ENABLE_TASK_ID_BASED_BLOB_DIGEST"));
}

// What is fetched, and how its task is named.
void Commands::AddPreheatTask(CLI::App& sub) {
  PreheatOptions& p = o_.preheat;
  AddText(sub, "--platform", p.platform, "PLATFORM", "Platform of the image, such as linux/amd64");
  AddText(sub, "--username", p.username, "USERNAME", "User at the registry of the image");
  AddText(sub, "--password", p.password, "PASSWORD",
          "Password at the registry of the image; the variable keeps it out of the list of processes");
  sub.add_option_function<std::string>(
         "--piece-length",
         ParsedOption(
             "--piece-length <PIECE_LENGTH>",
             [](const std::string& text) -> absl::StatusOr<uint64_t> {
               DF_ASSIGN_OR_RETURN(const uint64_t bytes, ParseByteSize(text));
               if (bytes >= kPieceLengthMin) return bytes;
               return absl::InvalidArgumentError(StrCat("piece length ", bytes, " bytes is less than the ",
                                                        "minimum piece length ", kPieceLengthMin, " bytes"));
             },
             [&p](uint64_t bytes) { p.piece_length = bytes; }),
         "Length of a piece, at least 4mib; part of the task id")
      ->envname(PreheatVariable("PIECE_LENGTH"));
  sub.add_option("--tag", p.tag, "Tag of the task, part of the task id")->envname(PreheatVariable("TAG"));
  sub.add_option("--application", p.application, "Application of the task, part of the task id")
      ->envname(PreheatVariable("APPLICATION"));
  sub.add_option("--filtered-query-param", p.filtered_query_params,
                 "Query parameter that is left out of the task id; may be repeated. Any value replaces the default "
                 "list of the signing parameters of the object stores")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname(PreheatVariable("FILTERED_QUERY_PARAM"));
  sub.add_option_function<std::vector<std::string>>(
         "-H,--header",
         [&p](const std::vector<std::string>& entries) {
           for (const std::string& text : entries) {
             const size_t colon = text.find(':');
             const std::string name(TrimSpace(std::string_view(text).substr(0, colon)));
             if (colon == std::string::npos || name.empty())
               RefuseOptionValue(text, "--header <HEADER>", absl::InvalidArgumentError("expected 'Name: value'"));
             std::erase_if(p.header, [&](const auto& entry) { return EqualsIgnoreCase(entry.first, name); });
             p.header.emplace_back(name, TrimSpace(std::string_view(text).substr(colon + 1)));
           }
         },
         "Header for the origin or registry, 'Name: value'; may be repeated")
      ->type_size(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->envname(PreheatVariable("HEADER"));
  sub.add_option("-p,--priority", p.priority, "Priority of the task, 0 to 6")
      ->check(CLI::Range(0, 6))
      ->capture_default_str()
      ->envname(PreheatVariable("PRIORITY"));
  sub.add_flag("--insecure-skip-verify", p.insecure_skip_verify,
               "Do not verify the certificate of the origin or registry")
      ->envname(PreheatVariable("INSECURE_SKIP_VERIFY"));
  sub.add_option_function<std::string>(
         "--timeout",
         ParsedOption("--timeout <TIMEOUT>", ParseDuration, [&p](absl::Duration timeout) { p.timeout = timeout; }),
         "Longest time for the preheat, such as 30m [default: 2h]")
      ->envname(PreheatVariable("TIMEOUT"));
}

}  // namespace

ParsedDfctlOptions ParseDfctlOptions(std::vector<std::string> arguments) {
  ParsedDfctlOptions parsed;
  CLI::App app("Shows and changes what the dfdaemon of this host has, and preheats files and images.", "dfctl");
  app.footer(kFooter);
  app.set_version_flag("-V,--version", VersionText("dfctl"), "Print version");
  app.set_help_flag("-h,--help", "Print help");
  app.require_subcommand(1);
  Commands commands(app, parsed.options);
  commands.Add();
  parsed.exit_code = ParseCommandLine(app, std::move(arguments));
  for (std::vector<std::string>* names :
       {&parsed.options.preheat.filtered_query_params, &parsed.options.why.filtered_query_params}) {
    const auto defaults = DefaultFilteredQueryParams();
    if (names->empty()) names->assign(defaults.begin(), defaults.end());
  }
  return parsed;
}

absl::StatusOr<HostAndPort> ParseSchedulerEndpoint(const std::string& text) {
  const std::string with_scheme = text.find("://") == std::string::npos ? "http://" + text : text;
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(with_scheme));
  if (url.scheme != "http" && url.scheme != "https") {
    return absl::InvalidArgumentError(StrCat("the scheme must be http or https, not ", url.scheme));
  }
  const int port = url.effective_port();
  std::string host = url.host;
  if (host.empty()) return absl::InvalidArgumentError("a host is missing");
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return HostAndPort{.host = std::move(host), .port = port, .tls = url.scheme == "https"};
}

absl::StatusOr<std::string> ManifestUrl(const std::string& reference) {
  constexpr std::string_view kScheme = "oci://";
  if (!reference.starts_with(kScheme))
    return absl::InvalidArgumentError("unknown URL must start with oci:// for image preheat");
  std::string_view rest = std::string_view(reference).substr(kScheme.size());
  std::string tag = "latest";
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    tag = rest.substr(at + 1);
    rest = rest.substr(0, at);
  }
  const size_t slash = rest.rfind('/');
  // A colon before the last slash belongs to the registry's port.
  const size_t colon = rest.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    if (reference.find('@') == std::string::npos) tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  std::string registry;
  std::string repository(rest);
  if (const size_t first = rest.find('/'); first != std::string_view::npos) {
    const std::string_view host = rest.substr(0, first);
    if (host == "localhost" || host.find_first_of(".:") != std::string_view::npos) {
      registry = host;
      repository = rest.substr(first + 1);
    }
  }
  if (registry.empty() || registry == "docker.io") {
    registry = "index.docker.io";
    if (repository.find('/') == std::string::npos) repository = "library/" + repository;
  }
  constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789._-/";
  if (repository.empty() || repository.ends_with('/') || tag.empty() ||
      repository.find_first_not_of(kNameCharacters) != std::string::npos ||
      tag.find_first_of("/?# ") != std::string::npos) {
    return absl::InvalidArgumentError(StrCat(Quoted(reference), " is no reference of an image"));
  }
  return StrCat("https://", registry, "/v2/", repository, "/manifests/", tag);
}

}  // namespace dragonfly::cli
