// SPDX-License-Identifier: Apache-2.0
// Boost.Beast takes the head apart; what it is lenient about is refused before (see CheckLines and ReadFraming).
#include "daemon/proxy/message.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <utility>

#include "base/text.h"
#include "daemon/proxy/http_error.h"
#include "http/status_text.h"

namespace dragonfly::daemon::proxy {

namespace beast_http = boost::beast::http;

namespace {

absl::Status Refuse(std::string_view why) { return HttpError(400, StrCat("bad request: ", why)); }

bool IsTokenByte(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kMarks.find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!IsTokenByte(c)) return false;
  }
  return true;
}

bool IsFieldByte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
}

// The lines of `head`, its last two line breaks left out. Errors: what no line may have.
absl::Status CheckLines(std::string_view head) {
  size_t lines = 0;
  for (bool first = true; !head.empty(); first = false) {
    const size_t end = head.find("\r\n");
    if (end == std::string_view::npos) return Refuse("a line does not end with CR LF");
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (line.empty()) return head.empty() ? absl::OkStatus() : Refuse("bytes behind the head");
    for (const char c : line) {
      if (!IsFieldByte(c)) return Refuse("a control character in the head");
    }
    if (first) continue;
    if (line[0] == ' ' || line[0] == '\t') return Refuse("a folded header line");
    if (!IsToken(line.substr(0, line.find(':')))) return Refuse("a header line without a valid name");
    if (++lines > kFieldsMax) return HttpError(431, StrCat("more than ", kFieldsMax, " header fields"));
  }
  return Refuse("the head has no end");
}

template <typename Message>
Fields FieldsOf(const Message& message) {
  Fields fields;
  for (const auto& field : message) {
    fields.Add(std::string_view(field.name_string().data(), field.name_string().size()),
               std::string_view(field.value().data(), field.value().size()));
  }
  return fields;
}

struct Framing {
  std::optional<uint64_t> length;
  bool chunked = false;
};

absl::StatusOr<Framing> ReadFraming(const Fields& fields, int version) {
  Framing framing;
  const size_t lengths = fields.Count("content-length");
  const size_t codings = fields.Count("transfer-encoding");
  if (lengths > 1) return Refuse("Content-Length stands there more than once");
  if (lengths > 0 && codings > 0) return Refuse("both Content-Length and Transfer-Encoding");
  if (codings > 1) return Refuse("Transfer-Encoding stands there more than once");
  if (lengths == 1) {
    framing.length = ParseDecimal<uint64_t>(*fields.Find("content-length"));
    if (!framing.length) return Refuse("Content-Length is no decimal number");
  }
  if (codings == 1) {
    if (version < 11) return Refuse("Transfer-Encoding in HTTP/1.0");
    if (!EqualsIgnoreCase(*fields.Find("transfer-encoding"), "chunked")) {
      return HttpError(501, StrCat("transfer coding ", Quoted(*fields.Find("transfer-encoding")), " is not supported"));
    }
    framing.chunked = true;
  }
  for (const char* name : {"host", "content-length", "transfer-encoding"}) {
    if (fields.HasToken("connection", name)) return Refuse(StrCat("Connection names ", name));
  }
  return framing;
}

bool KeepsAlive(const Fields& fields, int version) {
  if (fields.HasToken("connection", "close") || fields.HasToken("proxy-connection", "close")) return false;
  return version >= 11 || fields.HasToken("connection", "keep-alive") ||
         fields.HasToken("proxy-connection", "keep-alive");
}

bool HasNoBody(int status, std::string_view method) {
  return method == "HEAD" || status / 100 == 1 || status == 204 || status == 304 ||
         (method == "CONNECT" && status / 100 == 2);
}

// The digits of "HTTP/1.x" at the beginning (answers) or the end (requests) of the first line; 0: something else.
int VersionOf(std::string_view text) {
  if (text == "HTTP/1.1") return 11;
  if (text == "HTTP/1.0") return 10;
  return 0;
}

template <bool kIsRequest>
absl::Status Put(beast_http::parser<kIsRequest, beast_http::empty_body>& parser, std::string_view head) {
  boost::system::error_code error;
  parser.header_limit(kHeadMax);
  parser.body_limit(boost::none);
  if constexpr (!kIsRequest) parser.skip(true);
  parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error) return Refuse(error.message());
  if (!parser.is_header_done()) return Refuse("the head has no end");
  return absl::OkStatus();
}

void AppendFields(const Fields& fields, std::string& out) {
  for (const auto& [name, value] : fields.entries()) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  out += "\r\n";
}

}  // namespace

absl::StatusOr<std::optional<size_t>> FindHeadEnd(std::string_view bytes) {
  const size_t end = bytes.substr(0, kHeadMax).find("\r\n\r\n");
  if (end != std::string_view::npos) return end + 4;
  if (bytes.size() >= kHeadMax) return HttpError(431, StrCat("a head of more than ", kHeadMax, " bytes"));
  // Told at once instead of after the time that a head may take.
  for (size_t at = bytes.find('\n'); at != std::string_view::npos; at = bytes.find('\n', at + 1)) {
    if (at == 0 || bytes[at - 1] != '\r') return Refuse("a line does not end with CR LF");
  }
  return std::nullopt;
}

absl::StatusOr<RequestHead> ParseRequestHead(std::string_view head) {
  if (const absl::Status checked = CheckLines(head); !checked.ok()) return checked;
  const std::string_view line = head.substr(0, head.find("\r\n"));
  RequestHead request;
  request.version = VersionOf(line.substr(line.rfind(' ') + 1));
  if (request.version == 0) {
    return line.substr(line.rfind(' ') + 1).starts_with("HTTP/") ? HttpError(505, "only HTTP/1.0 and HTTP/1.1")
                                                                 : Refuse("no HTTP request line");
  }
  beast_http::request_parser<beast_http::empty_body> parser;
  if (const absl::Status parsed = Put(parser, head); !parsed.ok()) return parsed;
  request.method = std::string(parser.get().method_string());
  request.target = std::string(parser.get().target());
  request.fields = FieldsOf(parser.get());
  const size_t hosts = request.fields.Count("host");
  if (hosts > 1) return Refuse("several Host fields");
  if (hosts == 0 && request.version >= 11) return Refuse("no Host field");
  const absl::StatusOr<Framing> framing = ReadFraming(request.fields, request.version);
  if (!framing.ok()) return framing.status();
  if (framing->chunked) {
    request.body.kind = BodyFraming::Kind::kChunked;
  } else if (framing->length.value_or(0) > 0) {
    request.body = BodyFraming{BodyFraming::Kind::kLength, *framing->length};
  }
  request.keep_alive = KeepsAlive(request.fields, request.version);
  return request;
}

absl::StatusOr<ResponseHead> ParseResponseHead(std::string_view head, std::string_view method) {
  const auto bad = [](const absl::Status& why) {
    return HttpError(502, StrCat("the origin's answer is no valid HTTP: ", ToStd(why.message())));
  };
  if (const absl::Status checked = CheckLines(head); !checked.ok()) return bad(checked);
  beast_http::response_parser<beast_http::empty_body> parser;
  if (const absl::Status parsed = Put(parser, head); !parsed.ok()) return bad(parsed);
  ResponseHead response;
  response.version = VersionOf(head.substr(0, 8));
  if (response.version == 0) return HttpError(502, "the origin's answer is no HTTP/1.x");
  response.status = static_cast<int>(parser.get().result_int());
  response.reason = std::string(parser.get().reason());
  response.fields = FieldsOf(parser.get());
  const absl::StatusOr<Framing> framing = ReadFraming(response.fields, response.version);
  if (!framing.ok()) return bad(framing.status());
  response.keep_alive = KeepsAlive(response.fields, response.version);
  if (HasNoBody(response.status, method)) return response;
  if (framing->chunked) {
    response.body.kind = BodyFraming::Kind::kChunked;
  } else if (framing->length) {
    response.body = BodyFraming{BodyFraming::Kind::kLength, *framing->length};
  } else {
    response.body.kind = BodyFraming::Kind::kUntilClose;
    response.keep_alive = false;
  }
  return response;
}

std::string Serialise(const RequestHead& head) {
  std::string out = StrCat(head.method, " ", head.target, " HTTP/1.1\r\n");
  AppendFields(head.fields, out);
  return out;
}

std::string Serialise(const ResponseHead& head) {
  std::string out = StrCat("HTTP/1.1 ", head.status, " ");
  // The registered reason, as "404 Not Found" without its number.
  const std::string text = head.reason.empty() ? http::StatusText(head.status) : StrCat(head.status, " ", head.reason);
  out += text.size() > 4 ? text.substr(4) : "";
  out += "\r\n";
  AppendFields(head.fields, out);
  return out;
}

}  // namespace dragonfly::daemon::proxy
