// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>

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

absl::StatusOr<std::string> ReadFile(const std::string& path, std::string_view what) {
  if (path.empty())
    return absl::InvalidArgumentError(StrCat("TLS needs caCert, cert and key: ", what, " is not given"));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kFileLengthMax + 1, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof())
    return absl::InvalidArgumentError(StrCat("TLS ", what, " ", path, ": ", std::strerror(errno != 0 ? errno : EIO)));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileLengthMax) return absl::InvalidArgumentError(StrCat("TLS ", what, " ", path, ": too long"));
  return text;
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

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files) {
  TlsMaterial material;
  DF_ASSIGN_OR_RETURN(material.ca_cert, ReadFile(files.ca_cert, "caCert"));
  DF_ASSIGN_OR_RETURN(material.cert, ReadFile(files.cert, "cert"));
  DF_ASSIGN_OR_RETURN(material.key, ReadFile(files.key, "key"));

  if (Parse<X509>(material.ca_cert, PEM_read_bio_X509) == nullptr)
    return absl::InvalidArgumentError(StrCat("TLS caCert ", files.ca_cert, ": no PEM certificate"));
  const auto certificate = Parse<X509>(material.cert, PEM_read_bio_X509);
  if (certificate == nullptr)
    return absl::InvalidArgumentError(StrCat("TLS cert ", files.cert, ": no PEM certificate"));
  const auto key = Parse<EVP_PKEY>(material.key, PEM_read_bio_PrivateKey);
  if (key == nullptr)
    return absl::InvalidArgumentError(StrCat("TLS key ", files.key, ": no PEM private key without a password"));
  const bool match = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!match) return absl::InvalidArgumentError(StrCat("TLS key ", files.key, " does not belong to cert ", files.cert));
  return material;
}

}  // namespace dragonfly::rpc
