// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/daemon/daemon_fixture.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/text.h"
#include "base/unique_fd.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/status.h"

namespace dragonfly::daemon::test {

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "df_daemon_XXXXXX").string();
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

HttpAnswer HttpCall(uint16_t port, const std::string& method, const std::string& target) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  HttpAnswer answer;
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return answer;
  const std::string request = StrCat(method, " ", target, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return answer;
  std::string text;
  char chunk[4096];
  for (ssize_t n; (n = ::recv(fd.get(), chunk, sizeof(chunk), 0)) > 0;) text.append(chunk, static_cast<size_t>(n));
  if (text.size() > 12) answer.status = ParseDecimal<int>(std::string_view(text).substr(9, 3)).value_or(0);
  const size_t end = text.find("\r\n\r\n");
  if (end != std::string::npos) answer.body = text.substr(end + 4);
  return answer;
}

absl::Status Download(const std::string& socket_path, const std::string& url, const std::string& output) {
  const auto channel = grpc::CreateChannel("unix:" + socket_path, grpc::InsecureChannelCredentials());
  const auto stub = dfdaemon::v2::DfdaemonDownload::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  dfdaemon::v2::DownloadTaskRequest request;
  request.mutable_download()->set_url(url);
  request.mutable_download()->set_output_path(output);
  const auto stream = stub->DownloadTask(&context, request);
  dfdaemon::v2::DownloadTaskResponse response;
  while (stream->Read(&response)) {
  }
  return rpc::FromGrpc(stream->Finish());
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return std::move(bytes).str();
}

std::string RandomBytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof(word), size - at));
  }
  return bytes;
}

DaemonConfig DaemonFixture::Config(const std::string& name, const std::string& scheduler, bool seed) const {
  const std::string home = dir_.path() + "/" + name;
  DaemonConfig config;
  config.host.ip = "127.0.0.1";
  config.host.hostname = name;
  config.download.socket_path = home + "/dfdaemon.sock";
  config.storage.dir = home + "/storage";
  config.upload.ip = config.storage.ip = config.health.ip = config.metrics.ip = config.stats.ip =
      config.proxy.server.ip = "127.0.0.1";
  config.upload.port = config.storage.tcp_port = config.storage.quic_port = 0;
  config.health.port = config.metrics.port = config.stats.port = config.proxy.server.port = 0;
  config.seed_peer.enable = seed;
  if (!scheduler.empty()) config.scheduler.addrs = {scheduler};
  return config;
}

absl::StatusOr<std::unique_ptr<Daemon>> DaemonFixture::TryStart(const DaemonConfig& config) {
  return Daemon::Start(config, io_, blocking_);
}

std::unique_ptr<Daemon> DaemonFixture::Start(const DaemonConfig& config) {
  auto started = TryStart(config);
  EXPECT_TRUE(started.ok()) << started.status();
  return started.ok() ? *std::move(started) : nullptr;
}

}  // namespace dragonfly::daemon::test
