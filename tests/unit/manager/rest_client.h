// SPDX-License-Identifier: Apache-2.0
// Calls a REST API and reads JSON.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace dragonfly::manager {

struct RestReply {
  int status = 0;
  std::string body;
  std::map<std::string, std::string> header;  // names in lower case
  std::map<std::string, std::string> cookies;
  nlohmann::json json;  // null when the body is none
};

class RestClient {
 public:
  explicit RestClient(uint16_t port) : port_(port) {}

  // Without a token: as a stranger.
  RestReply Call(const std::string& method, const std::string& target, const std::string& body = "",
                 const std::string& token = "", const std::map<std::string, std::string>& header = {}) const {
    namespace asio = boost::asio;
    namespace beast = boost::beast;
    asio::io_context context;
    beast::tcp_stream stream(context);
    stream.connect(asio::ip::tcp::endpoint(asio::ip::make_address("127.0.0.1"), port_));
    beast::http::request<beast::http::string_body> request;
    request.method_string(method);
    request.target(target);
    request.set(beast::http::field::host, "127.0.0.1");
    if (!token.empty()) request.set(beast::http::field::authorization, "Bearer " + token);
    for (const auto& [name, value] : header) request.set(name, value);
    request.body() = body;
    request.prepare_payload();
    beast::http::write(stream, request);
    beast::flat_buffer buffer;
    beast::http::response<beast::http::string_body> response;
    beast::http::read(stream, buffer, response);
    RestReply reply;
    reply.status = static_cast<int>(response.result_int());
    reply.body = response.body();
    for (const auto& field : response) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (name == "set-cookie") {
        const std::string cookie(field.value());
        const size_t equals = cookie.find('=');
        reply.cookies[cookie.substr(0, equals)] = cookie.substr(equals + 1, cookie.find(';') - equals - 1);
      }
      reply.header[name] = std::string(field.value());
    }
    if (!reply.body.empty()) reply.json = nlohmann::json::parse(reply.body, nullptr, /*allow_exceptions=*/false);
    return reply;
  }

 private:
  const uint16_t port_;
};

}  // namespace dragonfly::manager
