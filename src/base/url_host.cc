// SPDX-License-Identifier: Apache-2.0
// Hosts: WHATWG URL standard §3.5.
#include <arpa/inet.h>
#include <idn2.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/text.h"
#include "base/url.h"
#include "base/url_internal.h"

namespace dragonfly::url_internal {
namespace {

absl::Status HostError(std::string_view reason) { return absl::InvalidArgumentError(ToAbsl(reason)); }

bool IsForbiddenHostByte(char c) {
  constexpr std::string_view kForbidden("\0\t\n\r #/:<>?@[\\]^|", 17);
  return kForbidden.find(c) != std::string_view::npos;
}

bool IsForbiddenDomainByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return IsForbiddenHostByte(c) || byte <= 0x1f || byte == 0x7f || c == '%';
}

std::vector<std::string> SplitLabels(std::string_view domain) { return absl::StrSplit(ToAbsl(domain), '.'); }

// A part of an IPv4 address: decimal, "0x" hexadecimal or "0" octal. What does not fit 64 bits saturates.
std::optional<uint64_t> ParseIpv4Number(std::string_view text) {
  if (text.empty()) return std::nullopt;
  uint64_t base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() >= 2 && text.front() == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  uint64_t value = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isxdigit(byte)) return std::nullopt;
    const auto digit =
        static_cast<uint64_t>(absl::ascii_isdigit(byte) ? c - '0' : absl::ascii_tolower(byte) - 'a' + 10);
    if (digit >= base) return std::nullopt;
    value = std::min(value * base + digit, uint64_t{1} << 40);
  }
  return value;
}

// Whether a domain has to be read as an IPv4 address.
bool EndsInNumber(const std::vector<std::string>& labels) {
  size_t count = labels.size();
  if (labels[count - 1].empty()) {
    if (count == 1) return false;
    --count;
  }
  const std::string& last = labels[count - 1];
  if (!last.empty() && std::all_of(last.begin(), last.end(), absl::ascii_isdigit)) return true;
  return (last.starts_with("0x") || last.starts_with("0X")) && ParseIpv4Number(last).has_value();
}

absl::StatusOr<std::string> ParseIpv4(std::vector<std::string> parts) {
  if (parts.size() > 1 && parts.back().empty()) parts.pop_back();
  if (parts.size() > 4) return HostError("IPv4 address with more than four parts");
  uint64_t address = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::optional<uint64_t> number = ParseIpv4Number(parts[i]);
    if (!number) return HostError("IPv4 address with a part that is no number");
    // The last part fills all bytes that are left.
    const bool last = i + 1 == parts.size();
    const uint64_t limit = last ? uint64_t{1} << (8 * (4 - i)) : 256;
    if (*number >= limit) return HostError("IPv4 address with a part that is too large");
    address += last ? *number : *number << (8 * (3 - i));
  }
  return absl::StrFormat("%d.%d.%d.%d", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

// RFC 5952 without its mixed notation: inet_ntop() would write ::ffff:1.2.3.4.
std::string FormatIpv6(const in6_addr& address) {
  std::array<uint16_t, 8> words;
  for (size_t i = 0; i < words.size(); ++i) {
    words[i] = static_cast<uint16_t>(address.s6_addr[2 * i] << 8 | address.s6_addr[2 * i + 1]);
  }
  size_t zeros_at = words.size();
  size_t zeros = 1;  // a single zero is not shortened
  for (size_t i = 0; i < words.size();) {
    size_t end = i;
    while (end < words.size() && words[end] == 0) ++end;
    if (end - i > zeros) {
      zeros_at = i;
      zeros = end - i;
    }
    i = end + 1;
  }
  std::string text = "[";
  for (size_t i = 0; i < words.size();) {
    if (i == zeros_at) {
      text += i == 0 ? "::" : ":";
      i += zeros;
      continue;
    }
    text += absl::StrFormat("%x", words[i]);
    if (++i < words.size()) text += ':';
  }
  return text + "]";
}

// `text` with its brackets.
absl::StatusOr<std::string> ParseIpv6(std::string_view text) {
  if (text.size() < 2 || text.back() != ']') return HostError("IPv6 address without a closing bracket");
  const std::string literal(text.substr(1, text.size() - 2));
  in6_addr address;
  if (literal.find('\0') != std::string::npos || ::inet_pton(AF_INET6, literal.c_str(), &address) != 1) {
    return HostError("invalid IPv6 address");
  }
  return FormatIpv6(address);
}

bool NeedsIdna(std::string_view domain, const std::vector<std::string>& labels) {
  const bool ascii = std::all_of(domain.begin(), domain.end(), absl::ascii_isascii);
  return !ascii ||
         std::any_of(labels.begin(), labels.end(), [](const std::string& l) { return l.starts_with("xn--"); });
}

// Unicode TS #46, non-transitional.
absl::StatusOr<std::string> ToAsciiDomain(const std::string& domain) {
  struct Free {
    void operator()(char* owned) const { idn2_free(owned); }
  };
  if (domain.find('\0') != std::string::npos) return HostError("domain with a forbidden character");
  char* result = nullptr;
  const int code = idn2_to_ascii_8z(domain.c_str(), &result, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, Free> owned(result);
  if (code != IDN2_OK) return HostError(StrCat("invalid international domain name: ", idn2_strerror(code)));
  return ToLowerAscii(owned.get());
}

}  // namespace

absl::StatusOr<std::string> ParseSpecialHost(std::string_view text) {
  if (text.empty()) return HostError("empty host");
  if (text.front() == '[') return ParseIpv6(text);

  std::string domain = ToLowerAscii(ToValidUtf8(PercentDecode(text)));
  std::vector<std::string> labels = SplitLabels(domain);
  if (NeedsIdna(domain, labels)) {
    absl::StatusOr<std::string> ascii = ToAsciiDomain(domain);
    if (!ascii.ok()) return ascii.status();
    domain = *std::move(ascii);
    labels = SplitLabels(domain);
  }
  if (domain.empty()) return HostError("empty host");
  if (std::any_of(domain.begin(), domain.end(), IsForbiddenDomainByte)) {
    return HostError("domain with a forbidden character");
  }
  if (EndsInNumber(labels)) return ParseIpv4(std::move(labels));
  return domain;
}

absl::StatusOr<std::string> ParseOpaqueHost(std::string_view text) {
  if (text.starts_with('[')) return ParseIpv6(text);
  if (std::any_of(text.begin(), text.end(), IsForbiddenHostByte)) return HostError("host with a forbidden character");
  return EncodeControls(text);
}

}  // namespace dragonfly::url_internal
