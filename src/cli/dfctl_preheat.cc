// SPDX-License-Identifier: Apache-2.0
#include "cli/dfctl_preheat.h"

#include <iostream>
#include <memory>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "cli/dfctl_calls.h"
#include "rpc/tls_client.h"

namespace dragonfly::cli {
namespace {

namespace wire = scheduler::v2;

// What files and images have in common.
template <typename Request>
void SetCommon(const PreheatOptions& options, Request& request) {
  if (options.piece_length) request.set_piece_length(*options.piece_length);
  // Set even when empty, as dfget does.
  request.set_tag(options.tag);
  request.set_application(options.application);
  for (const std::string& name : options.filtered_query_params) request.add_filtered_query_params(name);
  for (const auto& [name, value] : options.header) (*request.mutable_header())[name] = value;
  request.set_scope(options.scope);
  for (const std::string& ip : options.ips) request.add_ips(ip);
  if (options.percentage) request.set_percentage(*options.percentage);
  if (options.count) request.set_count(*options.count);
  request.set_concurrent_task_count(options.concurrent_task_count);
  if (options.concurrent_peer_count) request.set_concurrent_peer_count(*options.concurrent_peer_count);
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(options.timeout);
  request.mutable_timeout()->set_seconds(nanoseconds / 1'000'000'000);
  request.mutable_timeout()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  request.set_priority(static_cast<common::v2::Priority>(options.priority));
  request.set_insecure_skip_verify(options.insecure_skip_verify);
}

absl::StatusOr<std::unique_ptr<rpc::UnixClient>> ConnectScheduler(const PreheatOptions& options) {
  DF_ASSIGN_OR_RETURN(const HostAndPort address, ParseSchedulerEndpoint(options.scheduler_endpoint));
  const rpc::TlsClientFiles& files = options.scheduler_tls;
  if (address.tls) return rpc::ConnectTls(address.host, address.port, files);
  // Whoever names certificates expects TLS.
  if (!files.ca_cert.empty() || !files.cert.empty() || !files.key.empty()) {
    return absl::InvalidArgumentError(
        StrCat("--scheduler-ca-cert, --scheduler-cert and --scheduler-key need an https endpoint, not ",
               options.scheduler_endpoint));
  }
  return rpc::UnixClient::ConnectTcp(address.host, address.port);
}

absl::Status CallScheduler(const PreheatOptions& options) {
  const bool image = options.url.starts_with("oci://");
  const std::string method = StrCat("/scheduler.v2.Scheduler/", image ? "PreheatImage" : "PreheatFile");
  DF_ASSIGN_OR_RETURN(const auto client, ConnectScheduler(options));
  const Clock::duration timeout = absl::ToChronoNanoseconds(options.timeout);
  google::protobuf::Empty empty;
  absl::Status called;
  if (image) {
    DF_ASSIGN_OR_RETURN(const wire::PreheatImageRequest request, MakePreheatImageRequest(options));
    called = CallUnary(*client, method, request, &empty, timeout);
  } else {
    called = CallUnary(*client, method, MakePreheatFileRequest(options), &empty, timeout);
  }
  if (!absl::IsUnimplemented(called)) return called;
  const std::string said = called.message().empty() ? "" : StrCat(": ", called.message());
  return absl::UnimplementedError(
      StrCat("the scheduler at ", options.scheduler_endpoint, " does not serve ", method.substr(1), said));
}

}  // namespace

wire::PreheatFileRequest MakePreheatFileRequest(const PreheatOptions& options) {
  wire::PreheatFileRequest request;
  request.set_url(options.url);
  SetCommon(options, request);
  const auto url = Url::Parse(options.url);
  if (url.ok()) SetOrigin(options.origin, url->scheme, request);
  return request;
}

absl::StatusOr<wire::PreheatImageRequest> MakePreheatImageRequest(const PreheatOptions& options) {
  wire::PreheatImageRequest request;
  DF_ASSIGN_OR_RETURN(*request.mutable_url(), ManifestUrl(options.url));
  SetCommon(options, request);
  if (options.username) request.set_username(*options.username);
  if (options.password) request.set_password(*options.password);
  if (options.platform) request.set_platform(*options.platform);
  return request;
}

int Preheat(const DfctlOptions& options) {
  if (options.preheat.request_sdk)
    std::cerr << "note: --request-sdk has no effect: the scheduler asks the hosts of the scope\n";
  if (const absl::Status called = CallScheduler(options.preheat); !called.ok()) {
    PrintFailure(options, "Preheating Task", called);
    return 1;
  }
  PrintSuccess("Preheat Succeeded!");
  return 0;
}

}  // namespace dragonfly::cli
