// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls_credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>

#include "base/status.h"
#include "rpc/library.h"
#include "rpc/tls_files.h"

namespace dragonfly::rpc {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;

std::shared_ptr<FileWatcherCertificateProvider> Watch(const TlsFiles& files) {
  const auto interval = static_cast<unsigned>(std::max<std::chrono::seconds::rep>(1, files.reload_interval.count()));
  return std::make_shared<FileWatcherCertificateProvider>(files.key, files.cert, files.ca_cert, interval);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentialsOf(const TlsFiles& files) {
  KeepLibrary();
  if (!files.enabled()) return grpc::InsecureChannelCredentials();
  // The watcher only logs what is wrong with a file: it is said here.
  DF_RETURN_IF_ERROR(CheckTlsFiles(files));
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentialsOf(const TlsFiles& files) {
  KeepLibrary();
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  DF_RETURN_IF_ERROR(CheckTlsFiles(files));
  grpc::experimental::TlsServerCredentialsOptions options(Watch(files));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace dragonfly::rpc
