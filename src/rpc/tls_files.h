// SPDX-License-Identifier: Apache-2.0
// Reads the PEM files of mutual TLS. The library would only say "handshake failed" later; we say which file is wrong.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "config/sections.h"
#include "rpc/server.h"

namespace dragonfly::rpc {

// Those that a configuration names in its section `section`.
TlsFiles FilesOf(const config::TlsFiles& files, std::string section);

struct TlsMaterial {
  std::string ca_cert;
  std::string cert;
  std::string key;
};

// Errors: INVALID_ARGUMENT naming the file that is not given, missing, unreadable, of another format, expired or not
// yet valid, or the key that does not belong to the certificate.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files);

// The same without their content; OK when no file is given, which means plaintext.
absl::Status CheckTlsFiles(const TlsFiles& files);

}  // namespace dragonfly::rpc
