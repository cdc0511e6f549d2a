// SPDX-License-Identifier: Apache-2.0
#include "manager/preheat_tls.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "base/text.h"

namespace dragonfly::manager {
namespace {

constexpr char kKey[] = "job.preheat.tls.caCert";
constexpr size_t kFileMax = 4 << 20;
constexpr std::string_view kBegin = "-----BEGIN ";

std::vector<std::string> CertificatesOf(const std::string& pem) {
  const std::unique_ptr<BIO, int (*)(BIO*)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  std::vector<std::string> certificates;
  for (;;) {
    const std::unique_ptr<X509, void (*)(X509*)> certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr),
                                                             X509_free);
    if (certificate == nullptr) return certificates;
    unsigned char* der = nullptr;
    const int length = i2d_X509(certificate.get(), &der);
    if (length > 0) certificates.emplace_back(reinterpret_cast<const char*>(der), static_cast<size_t>(length));
    OPENSSL_free(der);
  }
}

}  // namespace

absl::StatusOr<PreheatTls> LoadPreheatTls(const ManagerConfig& config) {
  PreheatTls tls;
  std::string text(TrimSpace(config.job.preheat.ca_cert));
  if (text.empty()) return tls;
  const bool given = text.starts_with(kBegin);
  tls.ca_file = given ? StrCat(config.server.data_dir, "/preheat-ca.pem") : text;
  if (given) {
    std::error_code error;
    std::filesystem::create_directories(config.server.data_dir, error);
    std::ofstream(tls.ca_file, std::ios::trunc) << text << "\n";
  }
  std::ifstream file(tls.ca_file, std::ios::binary);
  std::string content(kFileMax, '\0');
  file.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<size_t>(file.gcount()));
  tls.certificates = CertificatesOf(content);
  if (tls.certificates.empty()) {
    return absl::InvalidArgumentError(StrCat(kKey, ": there is no certificate in ", tls.ca_file));
  }
  return tls;
}

}  // namespace dragonfly::manager
