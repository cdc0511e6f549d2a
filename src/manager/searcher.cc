// SPDX-License-Identifier: Apache-2.0
#include "manager/searcher.h"

#include <re2/re2.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/text.h"

namespace dragonfly::manager {
namespace {

namespace ip = boost::asio::ip;
using nlohmann::json;

constexpr double kCidrWeight = 0.30;
constexpr double kHostnameWeight = 0.30;
constexpr double kIdcWeight = 0.25;
constexpr double kLocationWeight = 0.14;
constexpr double kTypeWeight = 0.01;
constexpr size_t kLocationElementsMax = 5;
constexpr int64_t kRegexMemoryMax = 1 << 20;

std::vector<std::string_view> SplitAtBars(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t bar = text.find('|');
    parts.push_back(text.substr(0, bar));
    if (bar == std::string_view::npos) return parts;
    text.remove_prefix(bar + 1);
  }
}

double IdcScore(std::string_view cluster, std::string_view peer) {
  if (cluster.empty() || peer.empty()) return 0;
  if (EqualsIgnoreCase(cluster, peer)) return 1;
  for (const std::string_view element : SplitAtBars(cluster)) {
    if (EqualsIgnoreCase(element, peer)) return 1;
  }
  return 0;
}

double LocationScore(std::string_view cluster, std::string_view peer) {
  if (cluster.empty() || peer.empty()) return 0;
  if (EqualsIgnoreCase(cluster, peer)) return 1;
  const std::vector<std::string_view> ours = SplitAtBars(cluster);
  const std::vector<std::string_view> theirs = SplitAtBars(peer);
  const size_t most = std::min({ours.size(), theirs.size(), kLocationElementsMax});
  size_t equal = 0;
  while (equal < most && EqualsIgnoreCase(ours[equal], theirs[equal])) ++equal;
  return static_cast<double>(equal) / kLocationElementsMax;
}

// "10.0.0.0/8", "fd00::/8". The host part may be set.
struct Network {
  ip::address_v6::bytes_type prefix{};
  unsigned length = 0;  // bits
  bool v4 = false;

  bool Contains(const ip::address& address) const {
    if (address.is_v4() != v4) return false;
    ip::address_v6::bytes_type bytes{};
    if (v4) {
      const auto four = address.to_v4().to_bytes();
      std::copy(four.begin(), four.end(), bytes.begin());
    } else {
      bytes = address.to_v6().to_bytes();
    }
    for (unsigned bit = 0; bit < length; ++bit) {
      const unsigned char mask = static_cast<unsigned char>(0x80u >> (bit % 8));
      if ((bytes[bit / 8] & mask) != (prefix[bit / 8] & mask)) return false;
    }
    return true;
  }
};

ip::address Unmapped(const ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, address.to_v6());
  return address;
}

std::optional<Network> ParseNetwork(const std::string& text) {
  boost::system::error_code error;
  Network network;
  const ip::network_v4 four = ip::make_network_v4(text, error);
  if (!error) {
    network.v4 = true;
    network.length = four.prefix_length();
    const auto bytes = four.address().to_bytes();
    std::copy(bytes.begin(), bytes.end(), network.prefix.begin());
    return network;
  }
  const ip::network_v6 six = ip::make_network_v6(text, error);
  if (error) return std::nullopt;
  network.length = six.prefix_length();
  network.prefix = six.address().to_bytes();
  return network;
}

std::string TextAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::vector<std::string> TextsAt(const json& object, const char* key) {
  std::vector<std::string> texts;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return texts;
  for (const json& element : *found) {
    if (element.is_string()) texts.push_back(element.get<std::string>());
  }
  return texts;
}

}  // namespace

struct Scopes::State {
  std::string idc;
  std::string location;
  std::vector<Network> networks;
  std::vector<std::unique_ptr<const RE2>> hostnames;
};

Scopes::Scopes(std::unique_ptr<State> state) : state_(std::move(state)) {}
Scopes::~Scopes() = default;

absl::StatusOr<std::shared_ptr<const Scopes>> Scopes::Parse(const std::string& text) {
  auto state = std::make_unique<State>();
  const json object = text.empty() ? json::object() : json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() && !object.is_null()) return absl::InvalidArgumentError("the scopes are no JSON object");
  if (object.is_object()) {
    state->idc = TextAt(object, "idc");
    state->location = TextAt(object, "location");
    for (const std::string& cidr : TextsAt(object, "cidrs")) {
      if (const auto network = ParseNetwork(cidr)) state->networks.push_back(*network);
    }
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(kRegexMemoryMax);
    for (const std::string& pattern : TextsAt(object, "hostnames")) {
      auto regex = std::make_unique<const RE2>(pattern, options);
      if (regex->ok()) state->hostnames.push_back(std::move(regex));
    }
  }
  return std::shared_ptr<const Scopes>(new Scopes(std::move(state)));
}

double Scopes::Score(const PeerPlace& peer, bool is_default) const {
  double score = is_default ? kTypeWeight : 0;
  boost::system::error_code error;
  const ip::address address = ip::make_address(peer.ip, error);
  if (!error) {
    const ip::address plain = Unmapped(address);
    const bool inside = std::any_of(state_->networks.begin(), state_->networks.end(),
                                    [&](const Network& network) { return network.Contains(plain); });
    if (inside) score += kCidrWeight;
  }
  if (!peer.hostname.empty()) {
    const bool matches = std::any_of(state_->hostnames.begin(), state_->hostnames.end(),
                                     [&](const auto& regex) { return RE2::PartialMatch(peer.hostname, *regex); });
    if (matches) score += kHostnameWeight;
  }
  score += kIdcWeight * IdcScore(state_->idc, peer.idc);
  score += kLocationWeight * LocationScore(state_->location, peer.location);
  return score;
}

std::vector<size_t> OrderByScore(const std::vector<Candidate>& candidates, const PeerPlace& peer) {
  std::vector<double> scores;
  scores.reserve(candidates.size());
  for (const Candidate& candidate : candidates) {
    scores.push_back(candidate.scopes == nullptr ? -1 : candidate.scopes->Score(peer, candidate.is_default));
  }
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (scores[a] != scores[b]) return scores[a] > scores[b];
    return candidates[a].id < candidates[b].id;
  });
  return order;
}

}  // namespace dragonfly::manager
