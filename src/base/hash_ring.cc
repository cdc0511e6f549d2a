// SPDX-License-Identifier: Apache-2.0
#include "base/hash_ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>

#include "base/digest.h"
#include "base/text.h"

namespace dragonfly {
namespace {

constexpr size_t kKeyPrefixLength = 5;
constexpr int kSeedReplicas = 20;

// Byte by byte, so that the result does not depend on the machine's byte order.
template <typename T>
void AppendLittleEndian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

uint64_t LoadLittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  return value;
}

struct SipState {
  uint64_t v0 = 0x736f6d6570736575;
  uint64_t v1 = 0x646f72616e646f6d;
  uint64_t v2 = 0x6c7967656e657261;
  uint64_t v3 = 0x7465646279746573;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void Absorb(uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

// Walks the ring once from `start` and lists each member at its first point.
template <typename Points>
std::vector<size_t> WalkFrom(const Points& points, size_t start) {
  std::vector<size_t> order;
  std::vector<bool> seen;
  for (size_t i = 0; i < points.size(); ++i) {
    const size_t index = points[(start + i) % points.size()].index;
    if (index >= seen.size()) seen.resize(index + 1);
    if (seen[index]) continue;
    seen[index] = true;
    order.push_back(index);
  }
  return order;
}

}  // namespace

// Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF".
uint64_t SipHash24(std::string_view bytes) {
  SipState state;
  const uint64_t length = bytes.size();
  while (bytes.size() >= 8) {
    state.Absorb(LoadLittleEndian(bytes.substr(0, 8)));
    bytes.remove_prefix(8);
  }
  state.Absorb(length << 56 | LoadLittleEndian(bytes));
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.Round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

// What Rust's derived Hash feeds for a SocketAddr: the variant's number, the address, the port; for IPv6 flow and
// scope.
absl::StatusOr<uint64_t> SchedulerRing::NodeHash(std::string_view ip, uint16_t port) {
  const bool bracketed = ip.size() > 2 && ip.front() == '[' && ip.back() == ']';
  const std::string literal(bracketed ? ip.substr(1, ip.size() - 2) : ip);
  const bool has_nul = literal.find('\0') != std::string::npos;  // inet_pton() would stop there
  std::string bytes;
  in_addr ipv4;
  in6_addr ipv6;
  if (!bracketed && !has_nul && ::inet_pton(AF_INET, literal.c_str(), &ipv4) == 1) {
    AppendLittleEndian(bytes, uint64_t{0});
    bytes.append(reinterpret_cast<const char*>(&ipv4), sizeof(ipv4));
    AppendLittleEndian(bytes, port);
  } else if (!has_nul && ::inet_pton(AF_INET6, literal.c_str(), &ipv6) == 1) {
    AppendLittleEndian(bytes, uint64_t{1});
    bytes.append(reinterpret_cast<const char*>(&ipv6), sizeof(ipv6));
    AppendLittleEndian(bytes, port);
    AppendLittleEndian(bytes, uint32_t{0});
    AppendLittleEndian(bytes, uint32_t{0});
  } else {
    return absl::InvalidArgumentError(StrCat("scheduler address ", Quoted(ip), " is no IP address"));
  }
  return SipHash24(bytes);
}

uint64_t SchedulerRing::KeyHash(std::string_view task_id) {
  return SipHash24(StrCat(task_id.substr(0, kKeyPrefixLength), "\xff"));
}

absl::Status SchedulerRing::Add(std::string_view ip, uint16_t port) {
  const absl::StatusOr<uint64_t> hash = NodeHash(ip, port);
  if (!hash.ok()) return hash.status();
  const Point point{*hash, added_++};
  points_.insert(std::ranges::upper_bound(points_, point.hash, {}, &Point::hash), point);
  return absl::OkStatus();
}

size_t SchedulerRing::Start(std::string_view task_id) const {
  const auto at = std::ranges::lower_bound(points_, KeyHash(task_id), {}, &Point::hash);
  return at == points_.end() ? 0 : static_cast<size_t>(at - points_.begin());
}

std::optional<size_t> SchedulerRing::Pick(std::string_view task_id) const {
  if (points_.empty()) return std::nullopt;
  return points_[Start(task_id)].index;
}

std::vector<size_t> SchedulerRing::Order(std::string_view task_id) const { return WalkFrom(points_, Start(task_id)); }

SeedRing::SeedRing(std::span<const std::string> members) : added_(members.size()) {
  points_.reserve(members.size() * kSeedReplicas);
  for (size_t index = 0; index < members.size(); ++index) {
    for (int replica = 0; replica < kSeedReplicas; ++replica) {
      points_.push_back({Crc32(StrCat(replica, members[index])), index});
    }
  }
  // Of those on one point the latest comes first and stays.
  std::ranges::sort(
      points_, [](const Point& a, const Point& b) { return a.hash != b.hash ? a.hash < b.hash : a.index > b.index; });
  const auto repeated = std::ranges::unique(points_, {}, &Point::hash);
  points_.erase(repeated.begin(), repeated.end());
}

void SeedRing::Add(std::string_view member) {
  const size_t index = added_++;
  for (int replica = 0; replica < kSeedReplicas; ++replica) {
    const uint32_t hash = Crc32(StrCat(replica, member));
    const auto at = std::ranges::lower_bound(points_, hash, {}, &Point::hash);
    if (at != points_.end() && at->hash == hash) {
      at->index = index;
    } else {
      points_.insert(at, Point{hash, index});
    }
  }
}

size_t SeedRing::Start(std::string_view task_id) const {
  const auto at = std::ranges::upper_bound(points_, Crc32(task_id), {}, &Point::hash);
  return at == points_.end() ? 0 : static_cast<size_t>(at - points_.begin());
}

std::optional<size_t> SeedRing::Pick(std::string_view task_id) const {
  if (points_.empty()) return std::nullopt;
  return points_[Start(task_id)].index;
}

std::vector<size_t> SeedRing::Order(std::string_view task_id) const { return WalkFrom(points_, Start(task_id)); }

}  // namespace dragonfly
