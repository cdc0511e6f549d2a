// SPDX-License-Identifier: Apache-2.0
#include "daemon/proxy/tls_context.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly::daemon::proxy {
namespace {

struct Free {
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(BIO* p) const { BIO_free_all(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
using X509Ptr = std::unique_ptr<X509, Free>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Free>;
using BioPtr = std::unique_ptr<BIO, Free>;

// Clocks of a cluster differ a little, and clients refuse what lives too long.
constexpr long kBackdated = 3600L;
constexpr long kLeafSeconds = 90L * 24 * 3600;
constexpr long kAuthoritySeconds = 10L * 365 * 24 * 3600;

std::string_view WithoutBrackets(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) return host.substr(1, host.size() - 2);
  return host;
}

bool IsIp(const std::string& host) {
  in6_addr ignored{};
  return ::inet_pton(AF_INET, host.c_str(), &ignored) == 1 || ::inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool SetSerial(X509* certificate) {
  unsigned char bytes[16];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return false;
  bytes[0] &= 0x7f;
  BIGNUM* const number = BN_bin2bn(bytes, sizeof(bytes), nullptr);
  const bool set = number != nullptr && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return set;
}

bool SetName(X509_NAME* name, const std::string& common_name) {
  // RFC 5280: at most 64 characters; the whole name stands in the alternative names.
  const std::string text = common_name.substr(0, 64);
  return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("Dragonfly"), -1,
                                    -1, 0) == 1 &&
         X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text.c_str()), -1,
                                    -1, 0) == 1;
}

// A fresh version 3 certificate for `key` that still wants its names and its signature.
X509Ptr NewCertificate(EVP_PKEY* key, const std::string& common_name, long seconds) {
  X509Ptr certificate(X509_new());
  if (certificate == nullptr || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      !SetSerial(certificate.get()) ||
      X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -kBackdated) == nullptr ||
      X509_gmtime_adj(X509_getm_notAfter(certificate.get()), seconds) == nullptr ||
      X509_set_pubkey(certificate.get(), key) != 1 || !SetName(X509_get_subject_name(certificate.get()), common_name)) {
    return nullptr;
  }
  return certificate;
}

X509Ptr MakeAuthority(EVP_PKEY* key) {
  X509Ptr certificate = NewCertificate(key, "dfdaemon proxy authority", kAuthoritySeconds);
  if (certificate == nullptr ||
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate.get())) != 1 ||
      !AddExtension(certificate.get(), certificate.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(certificate.get(), certificate.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(certificate.get(), certificate.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(certificate.get(), key, EVP_sha256()) == 0) {
    return nullptr;
  }
  return certificate;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) return absl::InvalidArgumentError(StrCat("read ", path, ": no such PEM file"));
  return std::move(bytes).str();
}

absl::Status WriteNewFile(const std::string& path, BIO* bytes, mode_t mode) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bytes, &data);
  const std::string beside = path + ".new";
  ::unlink(beside.c_str());
  const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("write ", path));
  if (::write(fd.get(), data, static_cast<size_t>(length)) != length || ::fsync(fd.get()) != 0 ||
      ::rename(beside.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, StrCat("write ", path));
  }
  return absl::OkStatus();
}

BioPtr MemoryOf(const std::string& text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

}  // namespace

absl::StatusOr<std::unique_ptr<OriginTls>> OriginTls::Make(const Options& options) {
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a TLS context");
  std::unique_ptr<OriginTls> out(new OriginTls(context));
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_verify(context, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_default_verify_paths(context);
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  // An intermediate authority in a file is enough, as for the origins of downloads.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  for (const std::string& file : options.ca_files) {
    if (!file.empty() && X509_STORE_load_file(store, file.c_str()) != 1) {
      ERR_clear_error();
      return absl::InvalidArgumentError(StrCat("read CA file ", file, ": no certificate in it"));
    }
  }
  ERR_clear_error();
  return out;
}

OriginTls::~OriginTls() { SSL_CTX_free(context_); }

SSL* OriginTls::NewConnection(std::string_view host, Trust trust) const {
  SSL* const ssl = SSL_new(context_);
  if (ssl == nullptr) return nullptr;
  if (trust == Trust::kAny) SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
  const std::string name(WithoutBrackets(host));
  X509_VERIFY_PARAM* const verify = SSL_get0_param(ssl);
  if (IsIp(name)) {
    X509_VERIFY_PARAM_set1_ip_asc(verify, name.c_str());
  } else {
    X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set1_host(verify, name.c_str(), name.size());
    SSL_set_tlsext_host_name(ssl, name.c_str());
  }
  constexpr unsigned char kProtocols[] = "\x08http/1.1";
  SSL_set_alpn_protos(ssl, kProtocols, sizeof(kProtocols) - 1);
  SSL_set_connect_state(ssl);
  return ssl;
}

struct TunnelCertificates::Authority {
  X509Ptr certificate;
  KeyPtr key;
  KeyPtr leaf_key;
};

TunnelCertificates::TunnelCertificates(std::unique_ptr<Authority> authority) : authority_(std::move(authority)) {}
TunnelCertificates::~TunnelCertificates() = default;

absl::StatusOr<std::unique_ptr<TunnelCertificates>> TunnelCertificates::Make(const Options& options) {
  std::string cert_file = options.ca_cert, key_file = options.ca_key;
  if (cert_file.empty()) {
    cert_file = options.own_dir + "/ca.pem";
    key_file = options.own_dir + "/ca.key";
    std::error_code error;
    std::filesystem::create_directories(options.own_dir, error);
    if (error) return ErrnoStatus(error.value(), StrCat("make ", options.own_dir));
    if (!std::filesystem::exists(cert_file, error) || !std::filesystem::exists(key_file, error)) {
      const KeyPtr key(EVP_EC_gen("P-256"));
      const X509Ptr certificate = key == nullptr ? nullptr : MakeAuthority(key.get());
      const BioPtr key_pem(BIO_new(BIO_s_mem())), cert_pem(BIO_new(BIO_s_mem()));
      if (certificate == nullptr ||
          PEM_write_bio_PrivateKey(key_pem.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1 ||
          PEM_write_bio_X509(cert_pem.get(), certificate.get()) != 1) {
        return absl::InternalError("a certificate authority cannot be made");
      }
      DF_RETURN_IF_ERROR(WriteNewFile(key_file, key_pem.get(), 0600));
      DF_RETURN_IF_ERROR(WriteNewFile(cert_file, cert_pem.get(), 0644));
    }
  }
  DF_ASSIGN_OR_RETURN(const std::string cert_text, ReadFile(cert_file));
  DF_ASSIGN_OR_RETURN(const std::string key_text, ReadFile(key_file));
  auto authority = std::make_unique<Authority>();
  authority->certificate.reset(PEM_read_bio_X509(MemoryOf(cert_text).get(), nullptr, nullptr, nullptr));
  authority->key.reset(PEM_read_bio_PrivateKey(MemoryOf(key_text).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (authority->certificate == nullptr) return absl::InvalidArgumentError(StrCat(cert_file, " holds no certificate"));
  if (authority->key == nullptr) return absl::InvalidArgumentError(StrCat(key_file, " holds no private key"));
  if (X509_check_private_key(authority->certificate.get(), authority->key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(StrCat(key_file, " is not the key of ", cert_file));
  }
  authority->leaf_key.reset(EVP_EC_gen("P-256"));
  if (authority->leaf_key == nullptr) return absl::InternalError("a key cannot be made");
  return std::unique_ptr<TunnelCertificates>(new TunnelCertificates(std::move(authority)));
}

TunnelCertificates::Context TunnelCertificates::MakeContext(const std::string& host) const {
  const std::string name(WithoutBrackets(host));
  EVP_PKEY* const leaf_key = authority_->leaf_key.get();
  X509* const issuer = authority_->certificate.get();
  const X509Ptr leaf = NewCertificate(leaf_key, name, kLeafSeconds);
  // A comma would begin another name; no host has one.
  if (leaf == nullptr || name.find_first_of(",\n\r") != std::string::npos ||
      X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer)) != 1 ||
      !AddExtension(leaf.get(), issuer, NID_subject_alt_name, (IsIp(name) ? "IP:" : "DNS:") + name) ||
      !AddExtension(leaf.get(), issuer, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf.get(), issuer, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(leaf.get(), issuer, NID_ext_key_usage, "serverAuth") ||
      // Ed25519 signs without a digest of its own.
      X509_sign(leaf.get(), authority_->key.get(),
                EVP_PKEY_get_base_id(authority_->key.get()) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256()) == 0) {
    ERR_clear_error();
    return nullptr;
  }
  const Context context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return nullptr;
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_use_certificate(context.get(), leaf.get());
  SSL_CTX_use_PrivateKey(context.get(), leaf_key);
  SSL_CTX_add1_chain_cert(context.get(), issuer);
  SSL_CTX_set_alpn_select_cb(
      context.get(),
      [](SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in, unsigned in_length, void*) {
        static constexpr unsigned char kOffered[] = "\x02h2\x08http/1.1";
        unsigned char* chosen = nullptr;
        if (SSL_select_next_proto(&chosen, length, kOffered, sizeof(kOffered) - 1, in, in_length) !=
            OPENSSL_NPN_NEGOTIATED) {
          return SSL_TLSEXT_ERR_NOACK;
        }
        *out = chosen;
        return SSL_TLSEXT_ERR_OK;
      },
      nullptr);
  return context;
}

TunnelCertificates::Context TunnelCertificates::For(const std::string& host, TimePoint now) {
  // Held while it is made: a second tunnel to the host waits instead of making another. It takes well under a ms.
  absl::MutexLock lock(&mutex_);
  if (const auto it = kept_.find(host); it != kept_.end()) {
    recent_.splice(recent_.begin(), recent_, it->second);
    Kept& kept = *it->second;
    if (now - kept.made_at < std::chrono::seconds(kLeafSeconds / 2)) return kept.context;
    Context renewed = MakeContext(host);
    if (renewed == nullptr) return kept.context;
    kept.context = std::move(renewed);
    kept.made_at = now;
    return kept.context;
  }
  Context made = MakeContext(host);
  if (made == nullptr) return nullptr;
  recent_.push_front(Kept{host, made, now});
  kept_[host] = recent_.begin();
  if (recent_.size() > kKeptMax) {
    kept_.erase(recent_.back().host);
    recent_.pop_back();
  }
  return made;
}

SSL* TunnelCertificates::NewConnection(const std::string& host, TimePoint now) {
  const Context context = For(host, now);
  if (context == nullptr) return nullptr;
  SSL* const ssl = SSL_new(context.get());
  if (ssl != nullptr) SSL_set_accept_state(ssl);
  return ssl;
}

size_t TunnelCertificates::kept() const {
  absl::MutexLock lock(&mutex_);
  return recent_.size();
}

}  // namespace dragonfly::daemon::proxy
