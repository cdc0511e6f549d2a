// SPDX-License-Identifier: Apache-2.0
// Certificates made at run time, so that none in the repository can expire.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>

#include "rpc/server.h"

namespace dragonfly::rpc {

// A certificate authority that writes PEM files into a directory.
class TestAuthority {
 public:
  TestAuthority(std::string dir, std::string name)
      : dir_(std::move(dir)), name_(std::move(name)), key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
    certificate_ = Make(key_.get(), name_, /*authority=*/true);
    Write(Path(name_ + ".ca.crt"), [&](FILE* f) { PEM_write_X509(f, certificate_.get()); });
  }

  // Files of a certificate for `subject` and the address 127.0.0.1 (or other `names`), that has been valid for an hour
  // and is for `valid_for` seconds from now on.
  TlsFiles Issue(const std::string& subject, const char* names = "IP:127.0.0.1", long valid_for = 3600) {
    const Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
    const Certificate certificate = Make(key.get(), subject, /*authority=*/false, names, valid_for);
    TlsFiles files;
    files.ca_cert = Path(name_ + ".ca.crt");
    files.cert = Path(name_ + "." + subject + ".crt");
    files.key = Path(name_ + "." + subject + ".key");
    Write(files.cert, [&](FILE* f) { PEM_write_X509(f, certificate.get()); });
    Write(files.key, [&](FILE* f) { PEM_write_PrivateKey(f, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    return files;
  }

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

  std::string Path(const std::string& file) const { return dir_ + "/" + file; }

  template <typename Writer>
  static void Write(const std::string& path, Writer write) {
    FILE* const file = std::fopen(path.c_str(), "w");
    write(file);
    std::fclose(file);
  }

  Certificate Make(EVP_PKEY* subject_key, const std::string& subject, bool authority, const char* names = "",
                   long valid_for = 3600) {
    Certificate certificate(X509_new(), X509_free);
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), valid_for);
    X509_NAME* const name = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(subject.c_str()), -1,
                               -1, 0);
    X509_set_issuer_name(certificate.get(), authority ? name : X509_get_subject_name(certificate_.get()));
    X509_set_pubkey(certificate.get(), subject_key);
    Extend(certificate.get(), NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (!authority) Extend(certificate.get(), NID_subject_alt_name, names);
    X509_sign(certificate.get(), key_.get(), EVP_sha256());
    return certificate;
  }

  static void Extend(X509* certificate, int nid, const char* value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  std::string dir_;
  std::string name_;
  Key key_;
  Certificate certificate_{nullptr, X509_free};
  long serial_ = 0;
};

}  // namespace dragonfly::rpc
