// SPDX-License-Identifier: Apache-2.0
// One call of a dfctl command, with its report when it fails. Only .cc files include this (it pulls in protobuf).
#pragma once

#include <google/protobuf/message.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cli/dfctl_options.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {

// Where the reports of a command go: with --json, standard output carries nothing but JSON.
void PrintReport(const DfctlOptions& options, const std::string& report);

// A connection to the daemon; null after the report of a failure was printed.
std::unique_ptr<rpc::UnixClient> ConnectDaemon(const DfctlOptions& options);

// A unary call. Errors: of the call; DATA_LOSS when the answer does not parse.
absl::Status CallUnary(rpc::UnixClient& client, std::string_view method, const google::protobuf::Message& request,
                       google::protobuf::Message* response, Clock::duration timeout);

// Prints "<verb> Failed!" with the status.
void PrintFailure(const DfctlOptions& options, std::string_view verb, const absl::Status& status);

// "<text>" in green when the terminal wants colours.
void PrintSuccess(std::string_view text);

// The commands: each returns the exit code.
int ListTasks(const DfctlOptions& options);
int StatTask(const DfctlOptions& options);
int RemoveTasks(const DfctlOptions& options);
int ListPersistentTasks(const DfctlOptions& options);
int ListPersistentCacheTasks(const DfctlOptions& options);
int Preheat(const DfctlOptions& options);
int ExplainTask(const DfctlOptions& options);

}  // namespace dragonfly::cli
