// SPDX-License-Identifier: Apache-2.0
// The parts of a running daemon. How it starts and stops: daemon.cc; its servers: daemon_servers.cc; what it tells of
// itself: daemon_readiness.cc. For these files only.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "daemon/announcer.h"
#include "daemon/call_gate.h"
#include "daemon/control_plane.h"
#include "daemon/daemon.h"
#include "daemon/garbage_collector.h"
#include "daemon/given_pieces.h"
#include "daemon/grpc_scheduler_link.h"
#include "daemon/host_gauges.h"
#include "daemon/host_info.h"
#include "daemon/persistent_link.h"
#include "daemon/persistent_tasks.h"
#include "daemon/piece_provider.h"
#include "daemon/probe.h"
#include "daemon/proxy/server.h"
#include "daemon/status_page.h"
#include "daemon/task_history.h"
#include "daemon/task_manager.h"
#include "daemon/tracing.h"
#include "daemon/upload_service.h"
#include "http/pages.h"
#include "http/server.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "runtime/token_bucket.h"
#include "storage/content_store.h"
#include "telemetry/metrics.h"
#include "vortex/quic_server.h"
#include "vortex/server.h"

namespace dragonfly::daemon {

struct Daemon::State {
  State(const DaemonConfig& configuration, runtime::IoThreads& threads, runtime::BlockingPool& workers);

  absl::Status Start();
  absl::Status Stop(TimePoint deadline);

  absl::Status Identify();
  absl::Status OpenStore();
  absl::Status LinkSchedulers();
  void MakeGates();
  absl::Status OpenPersistentCache();
  void Announce();
  void CollectGarbage();
  boost::asio::awaitable<absl::Status> AnnounceTo(std::string address);
  void LeaveSchedulers(TimePoint deadline);

  absl::Status ServePeers();
  absl::Status ServeProxy();
  absl::Status ServeLocalPrograms();
  absl::Status ServeHttp();
  void SetServing(bool serving);
  void StopServers(TimePoint deadline);

  std::vector<http::ReadinessCheck> Readiness() const;
  DaemonStatus Status() const;

  const DaemonConfig config;
  runtime::IoThreads& io;
  runtime::BlockingPool& blocking;
  boost::asio::io_context& loop;  // of the background work
  HostIdentity identity;
  std::atomic<bool> ready = false;
  const TimePoint begun = Clock::now();
  bool stopped = false;

  // In the order of their making; what stands below uses what stands above.
  telemetry::Metrics metrics;
  std::unique_ptr<telemetry::Tracer> tracer;  // null: no traces are exported
  runtime::TokenBucket download_limiter;
  runtime::TokenBucket upload_limiter;
  runtime::TokenBucket back_to_source_limiter;
  runtime::TokenBucket prefetch_limiter;
  Probe probe;
  HostGauges gauges;
  std::unique_ptr<OverloadMonitor> overload;
  std::unique_ptr<CallGate> upload_gate;
  std::unique_ptr<CallGate> download_gate;
  rpc::ChannelPool channels;  // to peers
  std::unique_ptr<storage::ContentStore> store;
  GivenPieces given;
  std::unique_ptr<ControlPlane> control;
  std::unique_ptr<GrpcSchedulerLink> link;
  TaskHistory history;
  std::unique_ptr<TaskManager> tasks;
  std::unique_ptr<PersistentLink> persistent_link;
  std::unique_ptr<PersistentTasks> persistent;
  std::unique_ptr<vortex::PieceProvider> pieces;
  std::unique_ptr<vortex::Server> vortex_server;
  std::unique_ptr<vortex::QuicServer> quic_server;
  std::unique_ptr<proxy::Server> proxy_server;
  std::unique_ptr<HostInfo> host_owner;
  // Both are used by what runs before they are made: null until then.
  std::atomic<HostInfo*> host = nullptr;
  std::unique_ptr<Service> upload_service;
  std::unique_ptr<rpc::Server> upload_server;
  std::unique_ptr<Announcer> announcer_owner;
  std::atomic<Announcer*> announcer = nullptr;
  std::unique_ptr<Service> download_service;
  std::unique_ptr<Service> diagnosis_service;
  std::unique_ptr<Service> persistent_service;
  std::unique_ptr<Service> copies_service;
  std::unique_ptr<rpc::Server> download_server;
  std::unique_ptr<http::Server> health_server;
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<http::Server> stats_server;
  std::unique_ptr<GarbageCollector> garbage;
};

}  // namespace dragonfly::daemon
