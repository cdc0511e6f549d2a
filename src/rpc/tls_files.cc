// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/text.h"

namespace dragonfly::rpc {
namespace {

constexpr size_t kFileLengthMax = 1 << 20;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

// "upload.server.caCert /etc/ca.pem".
std::string Name(const TlsFiles& files, std::string_view key, const std::string& path) {
  return StrCat(files.section.empty() ? std::string("TLS ") : files.section + ".", key, " ", path);
}

absl::Status Wrong(const TlsFiles& files, std::string_view key, const std::string& path, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat(Name(files, key, path), ": ", reason));
}

absl::StatusOr<std::string> ReadFile(const TlsFiles& files, std::string_view key, const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(StrCat(files.section.empty() ? "TLS" : files.section,
                                             " needs all of caCert, cert and key, or none of them: ", key,
                                             " is not given"));
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileLengthMax + 1, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof())
    return Wrong(files, key, path, std::strerror(errno != 0 ? errno : EIO));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileLengthMax) return Wrong(files, key, path, "longer than 1 MiB");
  return text;
}

std::string TimeText(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable time";
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

// Why `certificate` is not valid now; empty when it is.
std::string Invalidity(const X509& certificate) {
  const ASN1_TIME* const from = X509_get0_notBefore(&certificate);
  const ASN1_TIME* const until = X509_get0_notAfter(&certificate);
  if (X509_cmp_current_time(until) < 0) return StrCat("the certificate has expired at ", TimeText(until));
  if (X509_cmp_current_time(from) > 0) return StrCat("the certificate is not valid before ", TimeText(from));
  return "";
}

template <typename T, typename Read>
std::unique_ptr<T, Free> Parse(const std::string& text, Read read) {
  const std::unique_ptr<BIO, Free> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  // No password is asked for on the terminal: a key that needs one is refused.
  std::unique_ptr<T, Free> value(read(bio.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
  ERR_clear_error();
  return value;
}

}  // namespace

TlsFiles FilesOf(const config::TlsFiles& files, std::string section) {
  TlsFiles named;
  named.ca_cert = files.ca_cert;
  named.cert = files.cert;
  named.key = files.key;
  named.section = std::move(section);
  return named;
}

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files) {
  TlsMaterial material;
  DF_ASSIGN_OR_RETURN(material.ca_cert, ReadFile(files, "caCert", files.ca_cert));
  DF_ASSIGN_OR_RETURN(material.cert, ReadFile(files, "cert", files.cert));
  DF_ASSIGN_OR_RETURN(material.key, ReadFile(files, "key", files.key));

  const auto authority = Parse<X509>(material.ca_cert, PEM_read_bio_X509);
  if (authority == nullptr) return Wrong(files, "caCert", files.ca_cert, "no PEM certificate");
  const auto certificate = Parse<X509>(material.cert, PEM_read_bio_X509);
  if (certificate == nullptr) return Wrong(files, "cert", files.cert, "no PEM certificate");
  const auto key = Parse<EVP_PKEY>(material.key, PEM_read_bio_PrivateKey);
  if (key == nullptr) return Wrong(files, "key", files.key, "no PEM private key without a password");
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) return Wrong(files, "key", files.key, StrCat("does not belong to cert ", files.cert));
  if (const std::string reason = Invalidity(*certificate); !reason.empty()) {
    return Wrong(files, "cert", files.cert, reason);
  }
  // A bundle may hold old authorities beside good ones: of those behind the first, the handshake judges.
  const size_t first = material.ca_cert.find("BEGIN CERTIFICATE");
  const bool bundle = material.ca_cert.find("BEGIN CERTIFICATE", first + 1) != std::string::npos;
  if (const std::string reason = Invalidity(*authority); !reason.empty() && !bundle) {
    return Wrong(files, "caCert", files.ca_cert, reason);
  }
  return material;
}

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (!files.enabled()) return absl::OkStatus();
  return ReadTlsFiles(files).status();
}

}  // namespace dragonfly::rpc
