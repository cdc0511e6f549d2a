// SPDX-License-Identifier: Apache-2.0
// TLS of the proxy: towards origins, whose certificates are verified, and towards clients whose tunnels are opened.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "daemon/proxy/target.h"
#include "runtime/clock.h"

namespace dragonfly::daemon::proxy {

// Makes the client side of connections to origins. Thread-safe.
class OriginTls {
 public:
  struct Options {
    Options() = default;
    bool verify = true;
    std::vector<std::string> ca_files;  // PEM, beside the system's authorities; empty names are skipped
  };
  // Errors: INVALID_ARGUMENT naming a file without a certificate.
  static absl::StatusOr<std::unique_ptr<OriginTls>> Make(const Options& options);
  ~OriginTls();
  OriginTls(const OriginTls&) = delete;
  OriginTls& operator=(const OriginTls&) = delete;

  // A connection that takes only a certificate of `host` (a name, or an IP literal; IPv6 in brackets), or any.
  SSL* NewConnection(std::string_view host, Trust trust) const;

 private:
  explicit OriginTls(SSL_CTX* context) : context_(context) {}
  SSL_CTX* const context_;
};

// Makes certificates for the hosts of opened tunnels as they are asked for: signed by the configured authority, else by
// one of its own that is made once and kept in a file, so that clients can be told to trust it. All have one key.
// Thread-safe.
class TunnelCertificates {
 public:
  // Names whose certificates are kept; the one that was not used for the longest time goes.
  static constexpr size_t kKeptMax = 1000;

  struct Options {
    Options() = default;
    std::string ca_cert, ca_key;  // PEM files; empty: an authority of its own
    std::string own_dir;          // where that is kept: ca.pem, and ca.key for nobody else to read
  };
  // Errors: INVALID_ARGUMENT, or of the file system, naming the file.
  static absl::StatusOr<std::unique_ptr<TunnelCertificates>> Make(const Options& options);
  ~TunnelCertificates();
  TunnelCertificates(const TunnelCertificates&) = delete;
  TunnelCertificates& operator=(const TunnelCertificates&) = delete;

  // The server side of a tunnel to `host` (a name, or an IP literal; IPv6 in brackets): TLS 1.2 and later; by ALPN
  // "h2", else "http/1.1".
  // Null when no certificate can be made. A certificate is made anew when half of its life is over at `now`.
  SSL* NewConnection(const std::string& host, TimePoint now = Clock::now());
  size_t kept() const;

 private:
  struct Authority;
  explicit TunnelCertificates(std::unique_ptr<Authority> authority);
  using Context = std::shared_ptr<SSL_CTX>;
  struct Kept {
    std::string host;
    Context context;
    TimePoint made_at;
  };
  Context For(const std::string& host, TimePoint now);
  Context MakeContext(const std::string& host) const;

  const std::unique_ptr<Authority> authority_;
  mutable absl::Mutex mutex_;
  std::list<Kept> recent_ ABSL_GUARDED_BY(mutex_);  // last used first
  absl::flat_hash_map<std::string, std::list<Kept>::iterator> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dragonfly::daemon::proxy
