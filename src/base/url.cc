// SPDX-License-Identifier: Apache-2.0
// The basic URL parser of the WHATWG URL standard (§4.4) without a base URL. The standard's state machine is written as
// one function per part; each takes its part off the front of what is left.
#include "base/url.h"

#include <algorithm>
#include <array>
#include <vector>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url_internal.h"

namespace dragonfly {
namespace url_internal {

Utf8Step DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {true, 1};
  // The second byte of some leads has a narrower range: no overlong forms, no surrogates, nothing behind U+10FFFF.
  size_t length;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return {false, 1};
  }
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size() || byte(i) < low || byte(i) > high) return {false, i};
    low = 0x80;
    high = 0xbf;
  }
  return {true, length};
}

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (!step.valid) return false;
    text.remove_prefix(step.length);
  }
  return true;
}

std::string ToValidUtf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    valid += step.valid ? text.substr(0, step.length) : "\xef\xbf\xbd";
    text.remove_prefix(step.length);
  }
  return valid;
}

void AppendPercentEncoded(std::string& out, char c) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += kHex[byte >> 4];
  out += kHex[byte & 0x0f];
}

}  // namespace url_internal

namespace {

using url_internal::AppendPercentEncoded;

// No honest URL comes near, and everything that a URL passes through costs time and memory by its length.
constexpr size_t kUrlLengthMax = 64 << 10;
constexpr size_t kShownUrlMax = 200;

// Percent-encode sets (§1.3): C0 controls, DEL and all but ASCII belong to each, and these bytes. The standard has
// since added '^' to the path's; the crate by which the Rust peers name tasks (url 2.5) has not, so we do not either.
constexpr std::string_view kControlSet = "";
constexpr std::string_view kFragmentSet = " \"<>`";
constexpr std::string_view kQuerySet = " \"#<>";
constexpr std::string_view kSpecialQuerySet = " \"#<>'";
constexpr std::string_view kPathSet = " \"#<>?`{}";
constexpr std::string_view kUserinfoSet = " \"#<>?^`{}/:;=@[\\]|";

std::string Encode(std::string_view text, std::string_view set) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7e || set.find(c) != std::string_view::npos) {
      AppendPercentEncoded(out, c);
    } else {
      out += c;
    }
  }
  return out;
}

struct SpecialScheme {
  std::string_view name;
  int port;
};
constexpr std::array<SpecialScheme, 6> kSpecialSchemes = {
    {{"http", 80}, {"https", 443}, {"ws", 80}, {"wss", 443}, {"ftp", 21}, {"file", -1}}};

const SpecialScheme* FindSpecial(std::string_view scheme) {
  const auto found = std::ranges::find(kSpecialSchemes, scheme, &SpecialScheme::name);
  return found == kSpecialSchemes.end() ? nullptr : &*found;
}

bool IsAlpha(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

// `text` for a message: no user, no password and no query, all of which may be secrets.
std::string ShownUrl(std::string_view text) {
  std::string shown;
  if (const size_t at = text.rfind('@'); at != std::string_view::npos) {
    const size_t colon = text.find(':');
    shown = colon < at ? StrCat(text.substr(0, colon), "://...") : "...";
    text = text.substr(at);
  }
  shown += text.substr(0, text.find_first_of("?#"));
  return Quoted(shown, kShownUrlMax);
}

absl::Status UrlError(std::string_view reason) { return absl::InvalidArgumentError(ToAbsl(reason)); }

// Cuts and returns the front of `rest` up to the first of `stops`.
std::string_view TakeUntil(std::string_view& rest, std::string_view stops) {
  const std::string_view taken = rest.substr(0, rest.find_first_of(stops));
  rest.remove_prefix(taken.size());
  return taken;
}

bool IsSingleDot(std::string_view segment) { return segment == "." || EqualsIgnoreCase(segment, "%2e"); }

bool IsDoubleDot(std::string_view segment) {
  return segment == ".." || EqualsIgnoreCase(segment, ".%2e") || EqualsIgnoreCase(segment, "%2e.") ||
         EqualsIgnoreCase(segment, "%2e%2e");
}

bool IsDriveLetter(std::string_view text) {
  return text.size() == 2 && IsAlpha(text[0]) && (text[1] == ':' || text[1] == '|');
}

// A file URL keeps the drive letter that begins its path whatever dot segments follow.
bool IsNormalizedDriveLetter(std::string_view text) { return IsDriveLetter(text) && text[1] == ':'; }

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  absl::StatusOr<Url> Parse() {
    DF_RETURN_IF_ERROR(ParseScheme());
    if (url_.scheme == "file") {
      DF_RETURN_IF_ERROR(ParseFile());
    } else if (special_) {
      rest_.remove_prefix(std::min(rest_.find_first_not_of("/\\"), rest_.size()));
      DF_RETURN_IF_ERROR(ParseAuthority());
      ParsePathStart();
    } else if (rest_.starts_with("//")) {
      rest_.remove_prefix(2);
      DF_RETURN_IF_ERROR(ParseAuthority());
      ParsePathStart();
    } else if (rest_.starts_with('/')) {
      ParsePathStart();
    } else {
      url_.path = Encode(TakeUntil(rest_, "?#"), kControlSet);
    }
    ParseQueryAndFragment();
    return std::move(url_);
  }

 private:
  absl::Status ParseScheme() {
    const std::string_view scheme = rest_.substr(0, rest_.find(':'));
    const bool valid = scheme.size() < rest_.size() && !scheme.empty() && IsAlpha(scheme.front()) &&
                       std::ranges::all_of(
                           scheme, [](char c) { return IsAlpha(c) || IsDigit(c) || c == '+' || c == '-' || c == '.'; });
    if (!valid) return UrlError("relative URL without a base");
    url_.scheme = ToLowerAscii(scheme);
    special_ = url_.special();
    rest_.remove_prefix(scheme.size() + 1);
    return absl::OkStatus();
  }

  absl::Status ParseAuthority() {
    std::string_view authority = TakeUntil(rest_, special_ ? "/\\?#" : "/?#");
    if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
      const std::string_view userinfo = authority.substr(0, at);
      authority.remove_prefix(at + 1);
      if (authority.empty()) return UrlError("empty host");
      const size_t colon = userinfo.find(':');
      url_.username = Encode(userinfo.substr(0, colon), kUserinfoSet);
      if (colon != std::string_view::npos) url_.password = Encode(userinfo.substr(colon + 1), kUserinfoSet);
    }

    // The colon of the port is the first one outside an IPv6 address.
    const size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
    const size_t colon = authority.find(':', bracket == std::string_view::npos ? authority.size() : bracket);
    const std::string_view host = authority.substr(0, colon);
    if (host.empty() && (special_ || colon != std::string_view::npos)) return UrlError("empty host");
    DF_ASSIGN_OR_RETURN(url_.host,
                        special_ ? url_internal::ParseSpecialHost(host) : url_internal::ParseOpaqueHost(host));
    url_.has_host = true;
    if (colon == std::string_view::npos) return absl::OkStatus();
    return ParsePort(authority.substr(colon + 1));
  }

  absl::Status ParsePort(std::string_view digits) {
    if (digits.empty()) return absl::OkStatus();
    int port = 0;
    for (const char c : digits) {
      if (!IsDigit(c)) return UrlError("invalid port number");
      port = port * 10 + (c - '0');
      if (port > 65535) return UrlError("invalid port number");
    }
    const SpecialScheme* scheme = FindSpecial(url_.scheme);
    if (scheme == nullptr || scheme->port != port) url_.port = port;
    return absl::OkStatus();
  }

  absl::Status ParseFile() {
    url_.has_host = true;
    if (StartsWithSeparator(0) && StartsWithSeparator(1)) {
      std::string_view after = rest_.substr(2);
      const std::string_view host = TakeUntil(after, "/\\?#");
      // "file://C:/x": a drive letter where a host should be belongs to the path.
      if (IsDriveLetter(host)) {
        rest_.remove_prefix(2);
      } else {
        rest_ = after;
        if (!host.empty()) {
          DF_ASSIGN_OR_RETURN(url_.host, url_internal::ParseSpecialHost(host));
          if (url_.host == "localhost") url_.host.clear();
        }
      }
    }
    ParsePathStart();
    return absl::OkStatus();
  }

  bool StartsWithSeparator(size_t at) const { return at < rest_.size() && (rest_[at] == '/' || rest_[at] == '\\'); }

  void ParsePathStart() {
    const std::string_view separators = special_ ? "/\\" : "/";
    std::string_view text = TakeUntil(rest_, "?#");
    if (text.empty()) {
      if (special_) url_.path = "/";
      return;
    }
    if (separators.find(text.front()) != std::string_view::npos) text.remove_prefix(1);

    std::vector<std::string> segments;
    while (true) {
      const std::string_view raw = TakeUntil(text, separators);
      const bool last = text.empty();
      if (!last) text.remove_prefix(1);
      if (IsDoubleDot(raw)) {
        const bool keep = segments.empty() ||
                          (url_.scheme == "file" && segments.size() == 1 && IsNormalizedDriveLetter(segments.front()));
        if (!keep) segments.pop_back();
        if (last) segments.emplace_back();
      } else if (IsSingleDot(raw)) {
        if (last) segments.emplace_back();
      } else {
        segments.push_back(Encode(raw, kPathSet));
        if (url_.scheme == "file" && segments.size() == 1 && IsDriveLetter(segments.front())) {
          segments.front()[1] = ':';
        }
      }
      if (last) break;
    }
    for (const std::string& segment : segments) {
      url_.path += '/';
      url_.path += segment;
    }
  }

  void ParseQueryAndFragment() {
    if (rest_.starts_with('?')) {
      rest_.remove_prefix(1);
      url_.has_query = true;
      url_.query = Encode(TakeUntil(rest_, "#"), special_ ? kSpecialQuerySet : kQuerySet);
    }
    if (rest_.starts_with('#')) {
      url_.has_fragment = true;
      url_.fragment = Encode(rest_.substr(1), kFragmentSet);
    }
  }

  std::string_view rest_;
  bool special_ = false;
  Url url_;
};

// Without C0 controls and blanks at both ends, and without tabs and line ends anywhere.
std::string Cleaned(std::string_view text) {
  const auto ignored = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  while (!text.empty() && ignored(text.front())) text.remove_prefix(1);
  while (!text.empty() && ignored(text.back())) text.remove_suffix(1);
  std::string cleaned(text);
  std::erase_if(cleaned, [](char c) { return c == '\t' || c == '\n' || c == '\r'; });
  return cleaned;
}

}  // namespace

std::string url_internal::EncodeControls(std::string_view text) { return Encode(text, kControlSet); }

absl::StatusOr<Url> Url::Parse(std::string_view text) {
  if (text.size() > kUrlLengthMax) {
    return absl::InvalidArgumentError(StrCat("URL ", ShownUrl(text), ": longer than ", kUrlLengthMax, " bytes"));
  }
  if (!url_internal::IsUtf8(text)) {
    return absl::InvalidArgumentError(StrCat("URL ", ShownUrl(text), ": not UTF-8"));
  }
  const std::string cleaned = Cleaned(text);
  absl::StatusOr<Url> url = Parser(cleaned).Parse();
  if (!url.ok()) return Annotate(url.status(), StrCat("URL ", ShownUrl(text)));
  return url;
}

std::string Url::ToString() const {
  std::string text = scheme + ":";
  if (has_host) {
    text += "//";
    if (!username.empty() || !password.empty()) {
      text += username;
      if (!password.empty()) text += ":" + password;
      text += '@';
    }
    text += host;
    if (port >= 0) text += StrCat(":", port);
  } else if (path.starts_with("//")) {
    text += "/.";  // else the path would read as a host
  }
  text += path;
  if (has_query) text += "?" + query;
  if (has_fragment) text += "#" + fragment;
  return text;
}

bool Url::special() const { return FindSpecial(scheme) != nullptr; }

int Url::effective_port() const {
  if (port >= 0) return port;
  const SpecialScheme* special_scheme = FindSpecial(scheme);
  return special_scheme == nullptr ? -1 : special_scheme->port;
}

std::string PercentDecode(std::string_view text) {
  const auto nibble = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isdigit(byte)) return c - '0';
    return absl::ascii_isxdigit(byte) ? absl::ascii_tolower(byte) - 'a' + 10 : -1;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && nibble(text[i + 1]) >= 0 && nibble(text[i + 2]) >= 0) {
      out += static_cast<char>(nibble(text[i + 1]) << 4 | nibble(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace dragonfly
