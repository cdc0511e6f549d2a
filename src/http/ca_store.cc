// SPDX-License-Identifier: Apache-2.0
#include "http/ca_store.h"

#include <curl/curl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "base/text.h"

namespace dragonfly::http {

absl::StatusOr<std::shared_ptr<X509_STORE>> CaStores::For(const std::string& ca_file) {
  struct stat file{};
  if (!ca_file.empty() && ::stat(ca_file.c_str(), &file) != 0) {
    return absl::InvalidArgumentError(StrCat("read CA file ", ca_file, ": ", std::strerror(errno)));
  }
  Entry& entry = entries_[ca_file];
  const bool unchanged = entry.store != nullptr && entry.inode == file.st_ino && entry.size == file.st_size &&
                         entry.modified.tv_sec == file.st_mtim.tv_sec && entry.modified.tv_nsec == file.st_mtim.tv_nsec;
  if (unchanged) return entry.store;

  std::shared_ptr<X509_STORE> store(X509_STORE_new(), X509_STORE_free);
  if (store == nullptr) return absl::ResourceExhaustedError("no memory for a certificate store");
  // The bundle that libcurl itself takes when nothing else is said. A system without one still has `ca_file`.
  const char* system_bundle = curl_version_info(CURLVERSION_NOW)->cainfo;
  if (system_bundle == nullptr || X509_STORE_load_file(store.get(), system_bundle) != 1) {
    X509_STORE_set_default_paths(store.get());
  }
  const bool loaded = ca_file.empty() || X509_STORE_load_file(store.get(), ca_file.c_str()) == 1;
  ERR_clear_error();
  if (!loaded) return absl::InvalidArgumentError(StrCat("read CA file ", ca_file, ": no certificate in it"));
  // As libcurl does for its own stores: an intermediate authority in the file is enough.
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  entry = Entry{file.st_mtim, file.st_ino, file.st_size, store};
  return store;
}

absl::StatusOr<OwnAuthorities> AuthoritiesBeside(X509_STORE& base, const std::vector<std::string>& certificates) {
  OwnAuthorities own;
  own.store = std::shared_ptr<X509_STORE>(X509_STORE_new(), X509_STORE_free);
  const std::unique_ptr<BIO, decltype(&BIO_free)> pem(BIO_new(BIO_s_mem()), BIO_free);
  if (own.store == nullptr || pem == nullptr) return absl::ResourceExhaustedError("no memory for a certificate store");
  X509_STORE_lock(&base);
  const STACK_OF(X509_OBJECT)* const known = X509_STORE_get0_objects(&base);
  for (int i = 0; i < sk_X509_OBJECT_num(known); ++i) {
    X509* const certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(known, i));
    if (certificate != nullptr) X509_STORE_add_cert(own.store.get(), certificate);
  }
  X509_STORE_unlock(&base);
  for (size_t i = 0; i < certificates.size(); ++i) {
    const auto* begin = reinterpret_cast<const unsigned char*>(certificates[i].data());
    const auto* const end = begin + certificates[i].size();
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        d2i_X509(nullptr, &begin, static_cast<long>(certificates[i].size())), X509_free);
    const bool taken = certificate != nullptr && begin == end &&
                       X509_STORE_add_cert(own.store.get(), certificate.get()) == 1 &&
                       PEM_write_bio_X509(pem.get(), certificate.get()) == 1;
    ERR_clear_error();
    if (!taken) return absl::InvalidArgumentError(StrCat("certificate_chain[", i, "] is no X.509 certificate in DER"));
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(pem.get(), &text);
  own.pem.assign(text, static_cast<size_t>(size));
  X509_STORE_set_flags(own.store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  return own;
}

}  // namespace dragonfly::http
