// SPDX-License-Identifier: Apache-2.0
#include "http/router.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/text.h"
#include "base/url.h"
#include "http/status_text.h"

namespace dragonfly::http {

namespace asio = boost::asio;

namespace {

std::string Decode(std::string_view text) {
  std::string plain(text);
  std::ranges::replace(plain, '+', ' ');
  return PercentDecode(plain);
}

asio::awaitable<Response> Refuse(Response response) { co_return response; }

Response Refusal(int status) {
  Response response;
  response.status = status;
  response.body = StrCat(StatusText(status), "\n");
  return response;
}

}  // namespace

Target ParseTarget(std::string_view target) {
  Target parsed;
  const size_t mark = target.find('?');
  parsed.path = target.substr(0, mark);
  std::string_view query = mark == target.npos ? std::string_view() : target.substr(mark + 1);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string_view value = equals == pair.npos ? std::string_view() : pair.substr(equals + 1);
    parsed.query.emplace(Decode(pair.substr(0, equals)), Decode(value));
  }
  return parsed;
}

Router& Router::On(std::string method, std::string path, Server::Handler handler) {
  const bool below = path.ends_with("/*");
  if (below) path.pop_back();
  (below ? below_ : exact_)[std::move(path)].insert_or_assign(std::move(method), std::move(handler));
  return *this;
}

const Router::Methods* Router::Find(std::string_view path) const {
  if (const auto found = exact_.find(path); found != exact_.end()) return &found->second;
  // The longest prefix that ends with a slash.
  for (size_t slash = path.rfind('/'); slash != path.npos;
       slash = slash == 0 ? path.npos : path.rfind('/', slash - 1)) {
    if (const auto found = below_.find(path.substr(0, slash + 1)); found != below_.end()) return &found->second;
  }
  return nullptr;
}

asio::awaitable<Response> Router::operator()(Request request) const {
  const std::string_view target = request.target;
  const Methods* const methods = Find(target.substr(0, target.find('?')));
  if (methods == nullptr) return Refuse(Refusal(404));
  if (const auto found = methods->find(request.method); found != methods->end()) {
    return found->second(std::move(request));
  }
  std::vector<std::string> names;
  for (const auto& [name, handler] : *methods) names.push_back(name);
  Response response = Refusal(405);
  response.header.emplace_back("Allow", absl::StrJoin(names, ", "));
  return Refuse(std::move(response));
}

}  // namespace dragonfly::http
