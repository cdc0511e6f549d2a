// SPDX-License-Identifier: Apache-2.0
#include "cli/dfctl.h"

#include <unistd.h>

#include <iostream>
#include <utility>

#include "cli/dfctl_calls.h"
#include "cli/failure_report.h"

namespace dragonfly::cli {

void PrintReport(const DfctlOptions& options, const std::string& report) {
  (options.json ? std::cerr : std::cout) << report;
}

std::unique_ptr<rpc::UnixClient> ConnectDaemon(const DfctlOptions& options) {
  auto client = rpc::UnixClient::Connect(options.endpoint);
  if (client.ok()) return *std::move(client);
  PrintReport(options, ConnectReport(client.status(), options.endpoint, !options.json && ColorWanted()));
  return nullptr;
}

absl::Status CallUnary(rpc::UnixClient& client, std::string_view method, const google::protobuf::Message& request,
                       google::protobuf::Message* response, Clock::duration timeout) {
  return client.Call(
      method, request.SerializeAsString(),
      [&](std::string_view message) {
        if (response->ParseFromArray(message.data(), static_cast<int>(message.size()))) return absl::OkStatus();
        return absl::DataLossError("the answer does not parse");
      },
      Clock::now() + timeout);
}

void PrintFailure(const DfctlOptions& options, std::string_view verb, const absl::Status& status) {
  PrintReport(options, CallReport(verb, status, /*local=*/false, !options.json && ColorWanted()));
}

void PrintSuccess(std::string_view text) {
  if (ColorWanted()) {
    std::cout << "\x1b[38;5;2m\x1b[3m\x1b[1m" << text << "\x1b[m\n";
  } else {
    std::cout << text << "\n";
  }
}

int RunDfctl(std::vector<std::string> arguments) {
  const ParsedDfctlOptions parsed = ParseDfctlOptions(std::move(arguments));
  if (parsed.exit_code) return *parsed.exit_code;
  switch (parsed.options.command) {
    case DfctlCommand::kTaskLs:
      return ListTasks(parsed.options);
    case DfctlCommand::kTaskStat:
      return StatTask(parsed.options);
    case DfctlCommand::kTaskRm:
      return RemoveTasks(parsed.options);
    case DfctlCommand::kTaskPreheat:
      return Preheat(parsed.options);
    case DfctlCommand::kPersistentTaskLs:
      return ListPersistentTasks(parsed.options);
    case DfctlCommand::kPersistentCacheTaskLs:
      return ListPersistentCacheTasks(parsed.options);
    case DfctlCommand::kWhy:
      return ExplainTask(parsed.options);
  }
  return 2;
}

}  // namespace dragonfly::cli
