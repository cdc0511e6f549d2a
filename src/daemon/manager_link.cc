// SPDX-License-Identifier: Apache-2.0
#include "daemon/manager_link.h"

#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "rpc/tls_files.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace {

rpc::ChannelOptions ChannelsWith(const rpc::TlsFiles& tls) {
  rpc::ChannelOptions options;
  options.tls = tls;
  return options;
}

}  // namespace

absl::StatusOr<ManagerAddress> ParseManagerAddress(std::string_view addr) {
  const auto wrong = [&](std::string_view reason) {
    return absl::InvalidArgumentError(StrCat("manager.addr ", Quoted(addr), ": ", reason));
  };
  const auto url = Url::Parse(addr);
  if (!url.ok()) return Annotate(url.status(), "manager.addr");
  if (url->scheme != "http" && url->scheme != "https") return wrong("must begin with http:// or https://");
  // Not quoted: it holds a secret.
  if (!url->username.empty() || !url->password.empty()) {
    return absl::InvalidArgumentError("manager.addr: a manager takes no user name and password");
  }
  if ((url->path != "/" && !url->path.empty()) || url->has_query || url->has_fragment) {
    return wrong("must end with the port");
  }
  ManagerAddress address;
  address.tls = url->scheme == "https";
  address.target = StrCat(url->host, ":", url->effective_port());
  return address;
}

ManagerLink::ManagerLink(std::string addr, ManagerAddress address, rpc::TlsFiles tls)
    : addr_(std::move(addr)), address_(std::move(address)), tls_(std::move(tls)), channels_(ChannelsWith(tls_)) {}

absl::StatusOr<std::unique_ptr<ManagerLink>> ManagerLink::Make(const std::string& addr, rpc::TlsFiles tls) {
  DF_ASSIGN_OR_RETURN(ManagerAddress address, ParseManagerAddress(addr));
  if (address.tls && !tls.enabled()) {
    return absl::InvalidArgumentError(
        StrCat("manager.addr ", addr, ": https needs manager.caCert, manager.cert and manager.key"));
  }
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(tls));
  if (!address.tls && tls.enabled()) {
    DF_LOG(Warn, "manager.addr {}: http means plaintext, whatever manager.caCert, cert and key say", addr);
    tls = rpc::TlsFiles();
  }
  return std::unique_ptr<ManagerLink>(new ManagerLink(addr, std::move(address), std::move(tls)));
}

}  // namespace dragonfly::daemon
