// SPDX-License-Identifier: Apache-2.0
// Checksums and digest strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/piece.h"

namespace dragonfly {

// CRC-32/IEEE (reflected polynomial 0xEDB88320), by ISA-L. `seed` is the value of the bytes before, 0 at the start.
uint32_t Crc32(std::span<const std::byte> bytes, uint32_t seed = 0);
uint32_t Crc32(std::string_view bytes, uint32_t seed = 0);

// "crc32:<decimal>", the form of every piece digest on the wire.
std::string FormatCrc32Digest(uint32_t crc);

// The digest of a piece's metadata in DownloadPieceResponse: CRC-32 over number (u32 BE), offset (u64 BE), length (u64
// BE) and the bytes of the digest string; as "crc32:<decimal>".
std::string PieceMetadataDigest(PieceNumber number, const ByteRange& range, std::string_view digest);

enum class DigestAlgorithm { kCrc32, kMd5, kSha1, kSha256, kSha512 };

// A parsed "<algorithm>:<encoded>" digest.
class Digest {
 public:
  // crc32 takes 1 to 10 decimal digits up to 2^32 - 1, or exactly 8 hexadecimal digits that are not all decimal; the
  // others their hexadecimal length in either case. Errors: INVALID_ARGUMENT with the text and the reason.
  static absl::StatusOr<Digest> Parse(std::string_view text);
  static Digest OfCrc32(uint32_t crc);

  DigestAlgorithm algorithm() const { return algorithm_; }
  // Decimal for crc32, lower-case hexadecimal for the others.
  const std::string& encoded() const { return encoded_; }
  std::string ToString() const;
  // CRC value; algorithm() must be kCrc32.
  uint32_t crc32() const;
  bool operator==(const Digest&) const = default;

 private:
  friend class Hasher;
  Digest(DigestAlgorithm algorithm, std::string encoded) : algorithm_(algorithm), encoded_(std::move(encoded)) {}
  DigestAlgorithm algorithm_;
  std::string encoded_;
};

// Streams bytes into a digest of any algorithm. Not thread-safe.
class Hasher {
 public:
  explicit Hasher(DigestAlgorithm algorithm);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view bytes);
  // The digest of all bytes so far; call once.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Lower-case hexadecimal SHA-256 of `bytes`.
std::string Sha256Hex(std::string_view bytes);

// Reads the file at `path` once and returns its digest. Blocks. Errors: of open and read.
absl::StatusOr<Digest> DigestOfFile(const std::string& path, DigestAlgorithm algorithm);

}  // namespace dragonfly
