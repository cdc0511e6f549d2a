// SPDX-License-Identifier: Apache-2.0
// What a stranger sends to the proxy: heads of requests, with their targets, fields and credentials; heads of answers
// of an origin; chunked bodies, in steps as a socket gives them. A head that is taken must mean the same when it is
// written out and read again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/v2/common.pb.h"
#include "daemon/proxy/basic_auth.h"
#include "daemon/proxy/http_error.h"
#include "daemon/proxy/message.h"
#include "daemon/proxy/message_reader.h"
#include "daemon/proxy/request_options.h"
#include "daemon/proxy/target.h"

namespace proxy = dragonfly::daemon::proxy;

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

// Every refusal has a status that a client may be told.
void RequireStatus(const absl::Status& error) {
  const int status = proxy::HttpStatusOf(error);
  Require(status >= 400 && status <= 599);
}

void CheckTarget(const absl::StatusOr<proxy::Target>& target) {
  if (!target.ok()) return RequireStatus(target.status());
  const dragonfly::Url& url = target->url;
  Require(url.scheme == "http" || url.scheme == "https");
  Require(!url.host.empty() && url.username.empty() && url.password.empty() && !url.has_fragment);
  // Neither of them may break out of its line.
  for (const std::string& text : {proxy::HostField(url), proxy::OriginForm(url)}) {
    Require(text.find_first_of("\r\n \t") == std::string::npos && !text.empty());
  }
  Require(proxy::OriginForm(url).starts_with('/'));
  Require(dragonfly::Url::Parse(url.ToString()).ok());
  proxy::RegistryPartOf(url);
  proxy::IsTokenService(url);
}

void FuzzRequest(std::string_view text) {
  const auto end = proxy::FindHeadEnd(text);
  if (!end.ok()) return RequireStatus(end.status());
  if (!*end) return;
  absl::StatusOr<proxy::RequestHead> request = proxy::ParseRequestHead(text.substr(0, **end));
  if (!request.ok()) return RequireStatus(request.status());
  Require(request->fields.Count("content-length") + request->fields.Count("transfer-encoding") <= 1);
  Require(request->fields.Count("host") <= 1);
  if (request->version == 11) {
    const absl::StatusOr<proxy::RequestHead> again = proxy::ParseRequestHead(proxy::Serialise(*request));
    Require(again.ok());
    Require(again->method == request->method && again->target == request->target);
    Require(again->fields.entries() == request->fields.entries());
    Require(again->body.kind == request->body.kind && again->body.length == request->body.length);
  }
  CheckTarget(proxy::AbsoluteTarget(request->target));
  CheckTarget(proxy::MirrorTarget(*request, "https://registry.example"));
  CheckTarget(proxy::TunnelTarget(request->target, "host.example:443"));
  if (const auto authority = proxy::ParseAuthority(request->target); authority.ok()) {
    Require(authority->port != 0 && authority->host.find_first_of("/@\r\n ,") == std::string::npos);
  }
  dragonfly::daemon::DaemonConfig::BasicAuth pair;
  pair.username = "user";
  pair.password = "password";
  proxy::RequestHead copy = *request;
  const absl::Status allowed = proxy::BasicAuth(pair).Check(copy, false);
  if (!allowed.ok()) RequireStatus(allowed);
  const auto url = dragonfly::Url::Parse("http://origin.example/file");
  const auto download =
      proxy::MakeDownload(dragonfly::daemon::DaemonConfig::Proxy(), dragonfly::daemon::DaemonConfig::Proxy::Rule(),
                          *url, *request, proxy::Client());
  if (!download.ok()) return RequireStatus(download.status());
  for (const auto& [name, value] : (*download)->request_header()) {
    Require(!name.starts_with("x-dragonfly-") && name != "host" && name != "connection");
  }
  Require((*download)->output_path().empty());
}

void FuzzAnswer(std::string_view text) {
  const auto end = proxy::FindHeadEnd(text);
  if (!end.ok() || !*end) return;
  for (const char* const method : {"GET", "HEAD"}) {
    const absl::StatusOr<proxy::ResponseHead> answer = proxy::ParseResponseHead(text.substr(0, **end), method);
    if (!answer.ok()) {
      RequireStatus(answer.status());
    } else {
      proxy::Fields fields = answer->fields;
      fields.RemoveHopByHop();
      Require(fields.Count("transfer-encoding") == 0 && fields.Count("connection") == 0);
    }
  }
}

// The bytes of a chunked body that comes in steps of `step` bytes.
std::string Decode(std::string_view text, size_t step, size_t room, bool& refused) {
  proxy::ChunkedDecoder decoder;
  std::string pending, body;
  std::vector<std::byte> out(room);
  refused = false;
  for (size_t at = 0; at < text.size() && !decoder.done();) {
    const size_t take = std::min(step, text.size() - at);
    pending.append(text.substr(at, take));
    at += take;
    for (;;) {
      const auto decoded = decoder.Decode(pending, out);
      if (!decoded.ok()) {
        RequireStatus(decoded.status());
        refused = true;
        return body;
      }
      Require(decoded->consumed <= pending.size() && decoded->produced <= out.size());
      body.append(reinterpret_cast<const char*>(out.data()), decoded->produced);
      pending.erase(0, decoded->consumed);
      if (decoder.done() || (decoded->consumed == 0 && decoded->produced == 0)) break;
    }
  }
  return body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  switch (data[0] % 3) {
    case 0:
      FuzzRequest(text);
      break;
    case 1:
      FuzzAnswer(text);
      break;
    default: {
      bool refused = false, refused_whole = false;
      const std::string stepwise = Decode(text, 1 + data[1] % 16, 1 + data[1] / 16, refused);
      const std::string whole = Decode(text, std::max<size_t>(1, text.size()), 64 << 10, refused_whole);
      Require(refused == refused_whole);
      if (!refused) Require(stepwise == whole);
      break;
    }
  }
  return 0;
}
