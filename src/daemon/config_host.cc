// SPDX-License-Identifier: Apache-2.0
#include "daemon/config_host.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/status.h"
#include "base/text.h"
#include "rpc/tls_files.h"

namespace dragonfly::daemon {
namespace {

namespace fs = std::filesystem;

class HostCheck {
 public:
  // A directory that exists or can be made, and can be written.
  void Directory(std::string_view key, const fs::path& path) {
    std::error_code error;
    fs::path existing = path;
    while (!fs::exists(existing, error) && existing.has_relative_path()) existing = existing.parent_path();
    if (!fs::is_directory(existing, error)) {
      Add(key, StrCat(existing.string(), " is no directory"));
    } else if (::access(existing.c_str(), W_OK | X_OK) != 0) {
      const std::string reason = std::strerror(errno);
      Add(key, existing == path ? StrCat("cannot write in ", path.string(), ": ", reason)
                                : StrCat("cannot make ", path.string(), " in ", existing.string(), ": ", reason));
    }
  }

  // The files of mutual TLS; a triple that is not given is no error here.
  void Tls(std::string_view key, const std::string& ca_cert, const std::string& cert, const std::string& cert_key) {
    if (ca_cert.empty() && cert.empty() && cert_key.empty()) return;
    rpc::TlsFiles files;
    files.ca_cert = ca_cert;
    files.cert = cert;
    files.key = cert_key;
    const auto material = rpc::ReadTlsFiles(files);
    if (!material.ok()) Add(key, MessageOf(material.status()));
  }

  // A file of certificates.
  void Certificates(std::string_view key, const std::string& path) {
    if (path.empty()) return;
    const std::unique_ptr<BIO, FreeBio> file(BIO_new_file(path.c_str(), "re"));
    if (file == nullptr) {
      Add(key, StrCat(path, ": ", std::strerror(errno)));
    } else {
      X509* certificate = PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr);
      if (certificate == nullptr) Add(key, StrCat(path, ": no PEM certificate"));
      X509_free(certificate);
    }
    ERR_clear_error();
  }

  void Socket(std::string_view key, const std::string& path) {
    constexpr size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
    if (path.size() > kPathMax)
      Add(key, StrCat(path, ": longer than the ", kPathMax, " bytes a socket's path may have"));
    Directory(key, fs::path(path).parent_path());
  }

  std::vector<std::string> Take() { return std::move(problems_); }

 private:
  struct FreeBio {
    void operator()(BIO* bio) const { BIO_free(bio); }
  };

  void Add(std::string_view key, std::string_view reason) { problems_.push_back(StrCat(key, ": ", reason)); }

  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> CheckHost(const DaemonConfig& config) {
  HostCheck check;
  check.Directory("storage.dir", config.storage.dir);
  check.Socket("download.server.socketPath", config.download.socket_path);
  check.Tls("upload.server", config.upload.ca_cert, config.upload.cert, config.upload.key);
  for (const auto& [key, tls] : {std::pair{"upload.client", &config.upload.client_tls},
                                 {"manager", &config.manager.tls},
                                 {"scheduler", &config.scheduler.tls}}) {
    check.Tls(key, tls->ca_cert, tls->cert, tls->key);
  }
  check.Tls("proxy.server", config.proxy.ca_cert, config.proxy.ca_cert, config.proxy.ca_key);
  check.Certificates("proxy.registryMirror.cert", config.proxy.registry_cert);
  check.Certificates("backend.caCert", config.backend.ca_file);
  return check.Take();
}

}  // namespace dragonfly::daemon
