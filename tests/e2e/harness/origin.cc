// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/harness/origin.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace dragonfly::e2e {

Origin::Origin(const std::string& dir, uint64_t rate, std::string ip, std::string locations)
    : dir_(dir), ip_(std::move(ip)), port_(FreePort()) {
  std::filesystem::create_directories(root());
  std::filesystem::create_directories(dir_ + "/tmp");
  std::ofstream(dir_ + "/nginx.conf")
      << "daemon off; master_process off; worker_processes 1; user root;\n"
      << "error_log " << dir_ << "/error.log; pid " << dir_ << "/nginx.pid;\n"
      << "events { worker_connections 4096; }\n"
      << "http {\n"
      << "  log_format bytes '$request_method\\t$uri\\t$http_range\\t$status\\t$body_bytes_sent';\n"
      << "  access_log " << dir_ << "/access.log bytes;\n"
      << "  client_body_temp_path " << dir_ << "/tmp/body; proxy_temp_path " << dir_ << "/tmp/proxy;\n"
      << "  fastcgi_temp_path " << dir_ << "/tmp/f; uwsgi_temp_path " << dir_ << "/tmp/u; scgi_temp_path " << dir_
      << "/tmp/s;\n"
      << "  sendfile on; tcp_nopush on; keepalive_timeout 60; keepalive_requests 100000;\n"
      << (rate > 0 ? "  limit_rate " + std::to_string(rate) + ";\n" : "") << "  server {\n"
      << "    listen 127.0.0.1:" << port_ << ";\n"
      << (ip_ == "127.0.0.1" ? "" : "    listen " + ip_ + ":" + std::to_string(port_) + ";\n") << locations
      << "    location / { root " << root() << "; }\n"
      << "    location /chunked/ { alias " << root()
      << "/; sub_filter_types *; sub_filter a-text-that-no-file-has ''; }\n"
      << "  }\n"
      << "}\n";
  nginx_ = Process({"/usr/sbin/nginx", "-c", dir_ + "/nginx.conf", "-p", dir_}, dir_ + "/nginx.log");
  EXPECT_TRUE(Await([&] { return HttpStatus(port_, "/") != 0; }, std::chrono::seconds(10))) << nginx_.Log();
  ClearLog();
}

std::string Origin::Url(const std::string& name) const {
  return "http://" + ip_ + ":" + std::to_string(port_) + "/" + name;
}

std::string Origin::ChunkedUrl(const std::string& name) const {
  return "http://" + ip_ + ":" + std::to_string(port_) + "/chunked/" + name;
}

std::vector<Origin::Entry> Origin::Log() const {
  std::vector<Entry> entries;
  std::ifstream file(dir_ + "/access.log");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    Entry entry;
    std::string status, bytes;
    std::getline(fields, entry.method, '\t');
    std::getline(fields, entry.path, '\t');
    std::getline(fields, entry.range, '\t');
    std::getline(fields, status, '\t');
    std::getline(fields, bytes, '\t');
    if (entry.range == "-") entry.range.clear();
    entry.status = std::atoi(status.c_str());
    entry.body_bytes = std::strtoull(bytes.c_str(), nullptr, 10);
    entries.push_back(std::move(entry));
  }
  return entries;
}

uint64_t Origin::BytesSent(const std::string& name) const {
  uint64_t bytes = 0;
  for (const Entry& entry : Log()) {
    if (entry.path != "/" + name && entry.path != "/chunked/" + name) continue;
    if (entry.method == "GET" && entry.range != "bytes=0-0") bytes += entry.body_bytes;
  }
  return bytes;
}

size_t Origin::Requests(const std::string& name) const {
  size_t requests = 0;
  for (const Entry& entry : Log()) {
    if (entry.path == "/" + name || entry.path == "/chunked/" + name) ++requests;
  }
  return requests;
}

void Origin::ClearLog() { std::filesystem::resize_file(dir_ + "/access.log", 0); }

}  // namespace dragonfly::e2e
