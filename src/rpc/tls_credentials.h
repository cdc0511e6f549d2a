// SPDX-License-Identifier: Apache-2.0
// gRPC credentials of mutual TLS from files that are watched. Only .cc files include this.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "absl/status/statusor.h"
#include "rpc/server.h"

namespace dragonfly::rpc {

// Without files: plaintext. With files: both sides show a certificate, and each checks the other's against its caCert;
// the client also checks that the server's certificate names the address it has dialled. A thread of gRPC looks at the
// files every `reload_interval`; files that cannot be read then leave the last good ones in use. Errors: as
// ReadTlsFiles().
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentialsOf(const TlsFiles& files);
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentialsOf(const TlsFiles& files);

}  // namespace dragonfly::rpc
