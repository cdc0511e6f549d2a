// SPDX-License-Identifier: Apache-2.0
// The servers of a daemon: for its peers, for programs on its host, for its operators.
#include <thread>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "daemon/daemon_state.h"
#include "daemon/diagnosis_service.h"
#include "daemon/download_service.h"
#include "daemon/persistent_calls.h"
#include "rpc/tls_files.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {
namespace {

constexpr char kUploadService[] = "dfdaemon.v2.DfdaemonUpload";
constexpr char kDownloadService[] = "dfdaemon.v2.DfdaemonDownload";

}  // namespace

absl::Status Daemon::State::ServePeers() {
  pieces = MakePieceProvider(*store, given, probe, config.upload.disable_shared, &persistent->store());
  vortex::ServerOptions vortex_options;
  vortex_options.ip = config.storage.ip;
  vortex_options.port = config.storage.tcp_port;
  vortex_options.fast_open = config.storage.tcp_fastopen;
  auto served = vortex::Server::Start(vortex_options, io, *pieces, upload_limiter);
  if (!served.ok()) return Annotate(served.status(), "storage.server");
  vortex_server = *std::move(served);
  identity.vortex_port = vortex_server->port();
  vortex::QuicServerOptions quic_options;
  quic_options.ip = config.storage.ip;
  quic_options.port = config.storage.quic_port;
  auto served_by_quic = vortex::QuicServer::Start(quic_options, io, *pieces, upload_limiter);
  if (!served_by_quic.ok()) return Annotate(served_by_quic.status(), "storage.server.quicPort");
  quic_server = *std::move(served_by_quic);
  identity.quic_port = quic_server->port();

  UploadServiceOptions upload;
  upload.identity = identity;
  upload.fill_host = [this](common::v2::Host& out) {
    if (HostInfo* const known = host.load()) known->FillNetwork(out);
  };
  upload.disable_shared = config.upload.disable_shared;
  upload.persistent = persistent.get();
  upload_service = MakeUploadService(*tasks, io, *upload_gate, upload_limiter, given, std::move(upload));
  rpc::ServerOptions options;
  options.addresses = {rpc::HostPort(config.upload.ip, config.upload.port)};
  options.tls.section = "upload.server";
  options.tls.ca_cert = config.upload.ca_cert;
  options.tls.cert = config.upload.cert;
  options.tls.key = config.upload.key;
  copies_service = MakePersistentCopiesService(*persistent, io, *upload_gate);
  options.services = {upload_service->grpc(), copies_service->grpc()};
  DF_RETURN_IF_ERROR(rpc::CheckTlsFiles(options.tls));
  options.tracer = tracer.get();
  options.describe_call = DescribeCalls(identity.host_id);
  auto listening = rpc::Server::Start(options);
  if (!listening.ok()) return Annotate(listening.status(), "upload.server");
  upload_server = *std::move(listening);
  identity.upload_port = static_cast<uint16_t>(upload_server->port());
  return absl::OkStatus();
}

absl::Status Daemon::State::ServeProxy() {
  proxy::Server::Options options;
  options.authority_dir = StrCat(config.storage.dir, "/proxy");
  auto served = proxy::Server::Start(config, std::move(options), io, *tasks, *download_gate);
  if (!served.ok()) return Annotate(served.status(), "proxy.server");
  proxy_server = *std::move(served);
  return absl::OkStatus();
}

absl::Status Daemon::State::ServeLocalPrograms() {
  download_service = MakeDownloadService(*tasks, io, *download_gate, persistent.get());
  rpc::ServerOptions options;
  options.addresses = {StrCat("unix:", config.download.socket_path)};
  options.unix_socket_mode = config.download.socket_mode;
  diagnosis_service = MakeDiagnosisService(history, config);
  persistent_service = MakePersistentCacheService(*persistent, io, *download_gate);
  options.services = {download_service->grpc(), diagnosis_service->grpc(), persistent_service->grpc()};
  options.tracer = tracer.get();
  options.describe_call = DescribeCalls(identity.host_id);
  auto listening = rpc::Server::Start(options);
  if (!listening.ok()) return Annotate(listening.status(), "download.server");
  download_server = *std::move(listening);
  return absl::OkStatus();
}

absl::Status Daemon::State::ServeHttp() {
  const auto serve = [this](const DaemonConfig::HttpServer& where, std::string_view key, http::Router pages,
                            std::unique_ptr<http::Server>& out) -> absl::Status {
    http::ServerOptions options;
    options.ip = where.ip;
    options.port = where.port;
    auto served = http::Server::Start(options, io, std::move(pages));
    if (!served.ok()) return Annotate(served.status(), key);
    out = *std::move(served);
    return absl::OkStatus();
  };
  http::Router health = http::MakeHealthPages([this] { return ready.load(); }, [this] { return Readiness(); });
  AddStatusPages(health, [this] { return Status(); });
  DF_RETURN_IF_ERROR(serve(config.health, "health.server", std::move(health), health_server));
  DF_RETURN_IF_ERROR(serve(config.metrics, "metrics.server",
                           http::MakeMetricsPages(metrics, [this] { gauges.Refresh(); }), metrics_server));
  // Profiles are for engineers: a daemon does its work without them.
  const absl::Status stats = serve(config.stats, "stats.server", http::MakeStatsPages(blocking), stats_server);
  if (!stats.ok()) DF_LOG(Warn, "no profiles: {}", MessageOf(stats));
  return absl::OkStatus();
}

void Daemon::State::SetServing(bool serving) {
  if (upload_server != nullptr) upload_server->SetServing(kUploadService, serving);
  if (download_server != nullptr) download_server->SetServing(kDownloadService, serving);
}

// The two servers together, since each may use the whole time.
void Daemon::State::StopServers(TimePoint deadline) {
  std::thread local;
  if (download_server != nullptr) local = std::thread([&] { download_server->Shutdown(deadline); });
  if (upload_server != nullptr) upload_server->Shutdown(deadline);
  if (local.joinable()) local.join();
}

}  // namespace dragonfly::daemon
