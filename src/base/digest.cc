// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace dragonfly {
namespace {

constexpr size_t kFileReadSize = 1 << 20;

struct Algorithm {
  DigestAlgorithm algorithm;
  std::string_view name;
  size_t hex_length;  // 0: decimal
};

constexpr std::array<Algorithm, 5> kAlgorithms = {{
    {DigestAlgorithm::kCrc32, "crc32", 0},
    {DigestAlgorithm::kMd5, "md5", 32},
    {DigestAlgorithm::kSha1, "sha1", 40},
    {DigestAlgorithm::kSha256, "sha256", 64},
    {DigestAlgorithm::kSha512, "sha512", 128},
}};

const Algorithm& TraitsOf(DigestAlgorithm algorithm) {
  return *std::find_if(kAlgorithms.begin(), kAlgorithms.end(),
                       [&](const Algorithm& entry) { return entry.algorithm == algorithm; });
}

bool AllDecimal(std::string_view text) { return std::all_of(text.begin(), text.end(), absl::ascii_isdigit); }
bool AllHex(std::string_view text) { return std::all_of(text.begin(), text.end(), absl::ascii_isxdigit); }

absl::Status DigestError(std::string_view text, std::string_view reason) {
  return absl::InvalidArgumentError(StrCat("digest ", Quoted(text), ": ", reason));
}

std::string LowerHex(std::span<const unsigned char> bytes) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

const EVP_MD* OpensslDigest(DigestAlgorithm algorithm) {
  switch (algorithm) {
    case DigestAlgorithm::kCrc32:
      return nullptr;
    case DigestAlgorithm::kMd5:
      return EVP_md5();
    case DigestAlgorithm::kSha1:
      return EVP_sha1();
    case DigestAlgorithm::kSha256:
      return EVP_sha256();
    case DigestAlgorithm::kSha512:
      return EVP_sha512();
  }
  return nullptr;
}

// A library that cannot hash cannot check content either; there is no way to go on.
void CheckOpenssl(int result) {
  if (result != 1) std::abort();
}

template <typename T>
void AppendBigEndian(std::string& out, T value) {
  for (int shift = (static_cast<int>(sizeof(T)) - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

}  // namespace

uint32_t Crc32(std::span<const std::byte> bytes, uint32_t seed) {
  return crc32_gzip_refl(seed, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
}

uint32_t Crc32(std::string_view bytes, uint32_t seed) { return Crc32(AsBytes(bytes), seed); }

std::string FormatCrc32Digest(uint32_t crc) { return StrCat("crc32:", crc); }

std::string PieceMetadataDigest(PieceNumber number, const ByteRange& range, std::string_view digest) {
  std::string header;
  AppendBigEndian(header, number.value());
  AppendBigEndian(header, range.offset);
  AppendBigEndian(header, range.length);
  return FormatCrc32Digest(Crc32(digest, Crc32(header)));
}

absl::StatusOr<Digest> Digest::Parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return DigestError(text, "not of the form <algorithm>:<encoded>");
  const std::string_view name = text.substr(0, colon);
  const std::string_view encoded = text.substr(colon + 1);
  const auto traits =
      std::find_if(kAlgorithms.begin(), kAlgorithms.end(), [&](const Algorithm& entry) { return entry.name == name; });
  if (traits == kAlgorithms.end()) {
    return DigestError(text, "unknown algorithm; known are crc32, md5, sha1, sha256, sha512");
  }

  if (traits->algorithm != DigestAlgorithm::kCrc32) {
    if (encoded.size() != traits->hex_length || !AllHex(encoded)) {
      return DigestError(text, StrCat(name, " takes ", traits->hex_length, " hexadecimal digits"));
    }
    return Digest(traits->algorithm, ToLowerAscii(encoded));
  }

  if (encoded.size() == 8 && AllHex(encoded) && !AllDecimal(encoded)) {
    uint32_t crc = 0;
    std::from_chars(encoded.data(), encoded.data() + encoded.size(), crc, 16);
    return OfCrc32(crc);
  }
  const std::optional<uint32_t> crc = encoded.size() <= 10 ? ParseDecimal<uint32_t>(encoded) : std::nullopt;
  if (!crc) return DigestError(text, "crc32 takes a decimal number up to 4294967295 or 8 hexadecimal digits");
  return OfCrc32(*crc);
}

Digest Digest::OfCrc32(uint32_t crc) { return Digest(DigestAlgorithm::kCrc32, StrCat(crc)); }

std::string Digest::ToString() const { return StrCat(TraitsOf(algorithm_).name, ":", encoded_); }

uint32_t Digest::crc32() const {
  assert(algorithm_ == DigestAlgorithm::kCrc32);
  return ParseDecimal<uint32_t>(encoded_).value_or(0);
}

struct Hasher::State {
  struct FreeContext {
    void operator()(EVP_MD_CTX* owned) const { EVP_MD_CTX_free(owned); }
  };

  DigestAlgorithm algorithm;
  uint32_t crc = 0;
  std::unique_ptr<EVP_MD_CTX, FreeContext> context;  // null for crc32
};

Hasher::Hasher(DigestAlgorithm algorithm) : state_(std::make_unique<State>()) {
  state_->algorithm = algorithm;
  if (const EVP_MD* digest = OpensslDigest(algorithm); digest != nullptr) {
    state_->context.reset(EVP_MD_CTX_new());
    CheckOpenssl(EVP_DigestInit_ex(state_->context.get(), digest, nullptr));
  }
}

Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::Update(std::span<const std::byte> bytes) {
  if (state_->context == nullptr) {
    state_->crc = Crc32(bytes, state_->crc);
  } else {
    CheckOpenssl(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()));
  }
}

void Hasher::Update(std::string_view bytes) { Update(AsBytes(bytes)); }

Digest Hasher::Finish() {
  if (state_->context == nullptr) return Digest::OfCrc32(state_->crc);
  std::array<unsigned char, EVP_MAX_MD_SIZE> result;
  unsigned int size = 0;
  CheckOpenssl(EVP_DigestFinal_ex(state_->context.get(), result.data(), &size));
  return Digest(state_->algorithm, LowerHex(std::span(result).first(size)));
}

std::string Sha256Hex(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> result;
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), result.data());
  return LowerHex(result);
}

absl::StatusOr<Digest> DigestOfFile(const std::string& path, DigestAlgorithm algorithm) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // a hint: without it reading is only slower

  Hasher hasher(algorithm);
  std::vector<std::byte> buffer(kFileReadSize);
  while (true) {
    const ssize_t n = ::read(file.get(), buffer.data(), buffer.size());
    if (n > 0) {
      hasher.Update(std::span(buffer).first(static_cast<size_t>(n)));
    } else if (n == 0) {
      return hasher.Finish();
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, StrCat("read ", path));
    }
  }
}

}  // namespace dragonfly
