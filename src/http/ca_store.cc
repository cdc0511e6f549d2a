// SPDX-License-Identifier: Apache-2.0
#include "http/ca_store.h"

#include <curl/curl.h>
#include <openssl/err.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "base/text.h"

namespace dragonfly::http {

absl::StatusOr<std::shared_ptr<X509_STORE>> CaStores::For(const std::string& ca_file) {
  struct stat file{};
  if (::stat(ca_file.c_str(), &file) != 0) {
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
  const bool loaded = X509_STORE_load_file(store.get(), ca_file.c_str()) == 1;
  ERR_clear_error();
  if (!loaded) return absl::InvalidArgumentError(StrCat("read CA file ", ca_file, ": no certificate in it"));
  // As libcurl does for its own stores: an intermediate authority in the file is enough.
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  entry = Entry{file.st_mtim, file.st_ino, file.st_size, store};
  return store;
}

}  // namespace dragonfly::http
