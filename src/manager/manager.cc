// SPDX-License-Identifier: Apache-2.0
#include "manager/manager.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/version.h"
#include "db/database.h"
#include "http/listen.h"
#include "http/pages.h"
#include "http/server.h"
#include "manager/directory.h"
#include "manager/grpc_service.h"
#include "manager/jobs.h"
#include "manager/keep_alive.h"
#include "manager/password.h"
#include "manager/probe.h"
#include "manager/registry.h"
#include "manager/rest_api.h"
#include "manager/schema.h"
#include "manager/seed.h"
#include "redis/client.h"
#include "redis/configured.h"
#include "rpc/channel.h"
#include "rpc/server.h"
#include "rpc/tls_files.h"
#include "runtime/local_address.h"
#include "runtime/task_group.h"
#include "runtime/timeout.h"
#include "telemetry/log.h"
#include "telemetry/metrics.h"
#include "telemetry/trace.h"
#include "tracing/tracer.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
using Type = ManagerConfig::Database::Type;

constexpr std::chrono::seconds kSweepInterval{15};
// For what waits to be exported when the manager stops.
constexpr std::chrono::seconds kLastSpans{2};
// Schedulers keep alive every few seconds; who has said nothing for so long is gone.
constexpr absl::Duration kLease = absl::Seconds(60);
// Hashes take tens of milliseconds of a core: who signs in must not take all of them.
constexpr size_t kPasswordThreads = 1;
constexpr size_t kPasswordsWaitingMax = 64;
constexpr size_t kRedisThreads = 4;
constexpr size_t kRedisWaitingMax = 4096;
constexpr std::chrono::minutes kForgetInterval{10};
constexpr int64_t kForgetBatch = 1000;
constexpr std::chrono::hours kAuditInterval{1};
constexpr int64_t kAuditBatch = 5000;
constexpr std::uintmax_t kSecretFileMax = 64 << 10;

std::chrono::milliseconds Milliseconds(absl::Duration duration) { return absl::ToChronoMilliseconds(duration); }

// The text, or that of the file, without the end of its line.
absl::StatusOr<std::string> SecretOf(std::string_view key, const std::string& text, const std::string& file) {
  if (file.empty()) return text;
  std::ifstream stream(file, std::ios::binary);
  std::string content(kSecretFileMax, '\0');
  stream.read(content.data(), static_cast<std::streamsize>(content.size()));
  content.resize(static_cast<size_t>(stream.gcount()));
  if (content.empty()) return absl::InvalidArgumentError(StrCat(key, ": cannot read a text from ", file));
  while (content.ends_with('\n') || content.ends_with('\r')) content.pop_back();
  return content;
}

absl::StatusOr<db::DatabaseOptions> ToDatabaseOptions(const ManagerConfig& config) {
  const ManagerConfig::Database& database = config.database;
  db::DatabaseOptions options;
  options.connections = database.connections;
  options.statement_timeout = Milliseconds(database.timeout);
  switch (database.type) {
    case Type::kSqlite: {
      options.engine = db::Engine::kSqlite;
      options.path = SqlitePathOf(config);
      const std::filesystem::path folder = std::filesystem::path(options.path).parent_path();
      std::error_code error;
      if (!folder.empty() && std::filesystem::create_directories(folder, error)) {
        std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
      }
      if (error) return ErrnoStatus(error.value(), StrCat("make the folder ", folder.string()));
      return options;
    }
    case Type::kMysql: {
      options.engine = db::Engine::kMysql;
      options.host = database.mysql.host;
      options.port = database.mysql.port;
      options.user = database.mysql.user;
      options.name = database.mysql.dbname;
      options.ca_cert = database.mysql.tls.ca_cert;
      options.cert = database.mysql.tls.cert;
      options.key = database.mysql.tls.key;
      options.verify_server = database.mysql.verify;
      DF_ASSIGN_OR_RETURN(options.password, SecretOf("database.mysql.passwordFile", database.mysql.password,
                                                     database.mysql.password_file));
      return options;
    }
    case Type::kPostgres: {
      options.engine = db::Engine::kPostgres;
      options.host = database.postgres.host;
      options.port = database.postgres.port;
      options.user = database.postgres.user;
      options.name = database.postgres.dbname;
      options.tls_mode = database.postgres.ssl_mode;
      options.simple_protocol = database.postgres.prefer_simple_protocol;
      DF_ASSIGN_OR_RETURN(options.password, SecretOf("database.postgres.passwordFile", database.postgres.password,
                                                     database.postgres.password_file));
      return options;
    }
  }
  return absl::InternalError("unknown database");
}

bool Migrates(const ManagerConfig& config) {
  switch (config.database.type) {
    case Type::kSqlite:
      return true;
    case Type::kMysql:
      return config.database.mysql.migrate;
    case Type::kPostgres:
      return config.database.postgres.migrate;
  }
  return true;
}

// What the database must hold. Returns the password of a root that was made without a chosen one, else "".
absl::StatusOr<std::string> Prepare(db::Database& database, const ManagerConfig& config) {
  if (Migrates(config)) {
    DF_RETURN_IF_ERROR(database
                           .RunHere<bool>([](db::Connection& connection) -> absl::StatusOr<bool> {
                             DF_RETURN_IF_ERROR(MigrateSchema(connection));
                             return true;
                           })
                           .status());
  }
  DF_ASSIGN_OR_RETURN(const bool lacks_users, database.RunHere<bool>(LacksUsers));
  std::string password = config.auth.root_password;
  if (password.empty()) password = RandomPassword();
  std::string hash;
  if (lacks_users) {
    DF_ASSIGN_OR_RETURN(hash, HashPassword(password));
  }
  const db::Database::Work<bool> seed = [hash](db::Connection& connection) { return SeedRows(connection, hash); };
  absl::StatusOr<bool> made = database.TransactHere<bool>(seed);
  // Another manager starts at the same moment: its rows are there now.
  if (absl::IsAlreadyExists(made.status())) made = database.TransactHere<bool>(seed);
  if (!made.ok()) return Annotate(made.status(), "write the first rows");
  return *made && config.auth.root_password.empty() ? password : "";
}

// The configured key, else the one that all managers on the database share.
absl::StatusOr<std::string> JwtKey(db::Database& database, const ManagerConfig& config) {
  DF_ASSIGN_OR_RETURN(std::string key, SecretOf("auth.jwt.keyFile", config.auth.jwt_key, config.auth.jwt_key_file));
  if (!key.empty()) return key;
  return database.RunHere<std::string>([](db::Connection& connection) { return SharedSecret(connection, "jwt_key"); });
}

// Null when nothing is to be exported. Resource attributes: dragonfly v2.3.0, cmd/dependency/dependency.go.
absl::StatusOr<std::unique_ptr<telemetry::Tracer>> MakeTracer(const ManagerConfig& config) {
  tracing::ExportOptions exported;
  exported.protocol = config.tracing.protocol;
  exported.endpoint = config.tracing.endpoint;
  exported.path = config.tracing.path;
  exported.headers = config.tracing.headers;
  telemetry::TracerOptions options;
  options.name = "manager";
  options.resource = {{"service.name", config.tracing.service_name},
                      {"service.namespace", "dragonfly"},
                      {"service.version", StrCat("v", kVersion)}};
  const auto hostname = runtime::SystemHostname();
  if (hostname.ok()) options.resource.emplace_back("host.name", *hostname);
  const auto address = runtime::FindLocalAddress(config.enable_ipv6);
  if (address.ok()) options.resource.emplace_back("host.ip", address->ip);
  return tracing::MakeTracer(exported, std::move(options));
}

rpc::ServerOptions ToRpcOptions(const ManagerConfig& config) {
  const ManagerConfig::Server::Grpc& grpc = config.server.grpc;
  rpc::ServerOptions options;
  const std::string any = config.enable_ipv6 ? "::" : "0.0.0.0";
  options.addresses = {rpc::HostPort(grpc.listen_ip.empty() ? any : grpc.listen_ip, grpc.port)};
  options.tls = rpc::FilesOf(grpc.tls, "server.grpc.tls");
  options.reflection = grpc.reflection;
  return options;
}

}  // namespace

// In the order of need: each member uses only those above it.
struct Manager::State {
  State(const ManagerConfig& given, runtime::IoThreads& threads, std::unique_ptr<telemetry::Tracer> spans,
        std::unique_ptr<db::Database> opened, std::unique_ptr<redis::Client> opened_redis, std::string jwt_key)
      : config(given),
        io(threads),
        tracer(std::move(spans)),
        database(std::move(opened)),
        probe(metrics),
        directory(*database),
        calls(threads.At(0).get_executor()),
        keep_alives(*database, calls),
        service(*database, directory, keep_alives, calls, config.server.grpc.request_rate_limit,
                SearchCounters{[this](const std::string& version, const std::string& commit) {
                                 probe.CountSearch(version, commit);
                               },
                               [this](const std::string& version, const std::string& commit) {
                                 probe.CountSearchFailure(version, commit);
                               }}),
        audit(*database),
        passwords(kPasswordThreads, kPasswordsWaitingMax),
        web(threads.Next()),
        redis(std::move(opened_redis)),
        redis_calls(redis == nullptr ? 1 : kRedisThreads, kRedisWaitingMax),
        limiter(redis.get(), &redis_calls),
        identities(*database),
        rest_context{*database,          passwords, throttle, audit,        probe,      config,
                     std::move(jwt_key), web,       limiter,  tracer.get(), identities, counts},
        rest(rest_context),
        upkeep(threads.At(0).get_executor()) {}

  asio::awaitable<void> SweepSchedulers() {
    for (;;) {
      co_await runtime::SleepUntil(Clock::now() + kSweepInterval);
      const absl::Time since = absl::Now() - kLease;
      const db::Database::Work<int64_t> expire = [since](db::Connection& connection) {
        return ExpireSchedulers(connection, since);
      };
      const auto expired = co_await database->Run<int64_t>(expire, Clock::now() + kSweepInterval);
      if (!expired.ok()) DF_LOG(Warn, "look for silent schedulers: {}", MessageOf(expired.status()));
      if (expired.ok() && *expired > 0) DF_LOG(Info, "{} schedulers have gone silent", *expired);
    }
  }

  // `remove` deletes a batch and tells how many rows that were: batches, so that nobody waits long for the table. When
  // there is nothing left, it is tried again after `interval`.
  asio::awaitable<void> DeleteForever(std::string what, db::Database::Work<int64_t> remove,
                                      std::chrono::minutes interval) {
    for (;;) {
      const auto removed = co_await database->Run<int64_t>(remove, Clock::now() + std::chrono::minutes(1));
      if (!removed.ok()) DF_LOG(Warn, "delete {}: {}", what, MessageOf(removed.status()));
      if (removed.ok() && *removed > 0) {
        DF_LOG(Info, "{} {} were deleted", *removed, what);
        continue;
      }
      co_await runtime::SleepUntil(Clock::now() + interval);
    }
  }

  void CollectGarbage() {
    const auto expire_audits = [](db::Connection& connection) {
      return ExpireAudits(connection, absl::Now(), kAuditBatch);
    };
    upkeep.Spawn(DeleteForever("old audits", expire_audits, kAuditInterval));
    if (config.gc.inactive_ttl <= absl::ZeroDuration()) return;
    const auto forget = [ttl = config.gc.inactive_ttl](db::Connection& connection) {
      return ForgetInactive(connection, absl::Now() - ttl, kForgetBatch);
    };
    upkeep.Spawn(DeleteForever("inactive schedulers and seed peers", forget, kForgetInterval));
  }

  void WaitFor(asio::awaitable<void> work) { asio::co_spawn(io.At(0), std::move(work), asio::use_future).get(); }

  const ManagerConfig config;
  runtime::IoThreads& io;
  const std::unique_ptr<telemetry::Tracer> tracer;  // null: no traces are exported
  const std::unique_ptr<db::Database> database;
  telemetry::Metrics metrics;
  Probe probe;
  DirectoryReader directory;
  runtime::TaskGroup calls;
  KeepAlives keep_alives;
  GrpcService service;
  AuditLog audit;
  LoginThrottle throttle;
  runtime::BlockingPool passwords;
  WebClient web;
  const std::unique_ptr<redis::Client> redis;  // null: none is configured
  runtime::BlockingPool redis_calls;
  RateLimiter limiter;
  IdentityReader identities;
  RowCounts counts;
  RestContext rest_context;
  RestApi rest;
  runtime::TaskGroup upkeep;
  std::unique_ptr<JobService> jobs;
  std::string first_password;
  std::unique_ptr<rpc::Server> grpc_server;
  std::unique_ptr<http::Server> rest_server;
  std::unique_ptr<http::Server> metrics_server;
  std::unique_ptr<http::Server> stats_server;
};

Manager::Manager(std::unique_ptr<State> state) : state_(std::move(state)) {}
Manager::~Manager() = default;

absl::StatusOr<std::unique_ptr<Manager>> Manager::Start(const ManagerConfig& config, runtime::IoThreads& io) {
  DF_ASSIGN_OR_RETURN(http::ServerOptions rest_options,
                      http::ListenOptions("server.rest.addr", config.server.rest.addr, config.enable_ipv6));
  http::ServerOptions metrics_options;
  if (config.metrics.enable) {
    DF_ASSIGN_OR_RETURN(metrics_options, http::ListenOptions("metrics.addr", config.metrics.addr, config.enable_ipv6));
  }
  DF_ASSIGN_OR_RETURN(std::unique_ptr<telemetry::Tracer> tracer, MakeTracer(config));
  DF_ASSIGN_OR_RETURN(const db::DatabaseOptions database_options, ToDatabaseOptions(config));
  DF_ASSIGN_OR_RETURN(std::unique_ptr<db::Database> database, db::Database::Open(database_options));
  DF_ASSIGN_OR_RETURN(std::string first_password, Prepare(*database, config));

  DF_ASSIGN_OR_RETURN(std::string jwt_key, JwtKey(*database, config));
  std::unique_ptr<redis::Client> redis_client;
  if (!config.database.redis.addrs.empty()) {
    DF_ASSIGN_OR_RETURN(redis_client, redis::Client::Make(redis::OptionsOf(config.database.redis)));
  }

  std::unique_ptr<Manager> manager(new Manager(std::make_unique<State>(
      config, io, std::move(tracer), std::move(database), std::move(redis_client), std::move(jwt_key))));
  State& state = *manager->state_;
  state.first_password = std::move(first_password);
  auto jobs =
      JobService::Make(io.At(0), *state.database, state.directory, state.probe, state.config, state.tracer.get());
  if (!jobs.ok()) {
    manager->Stop(Clock::now());
    return jobs.status();
  }
  state.jobs = *std::move(jobs);
  state.rest_context.jobs = state.jobs.get();
  state.jobs->Start();
  state.upkeep.Spawn(state.SweepSchedulers());
  state.upkeep.Spawn(state.audit.Run());
  state.CollectGarbage();
  const auto start = [&]() -> absl::Status {
    rpc::ServerOptions options = ToRpcOptions(config);
    options.services = {&state.service};
    options.tracer = state.tracer.get();
    options.metrics = &state.metrics;
    DF_ASSIGN_OR_RETURN(state.grpc_server, rpc::Server::Start(options));
    rest_options.body_max = config.server.rest.body_max;
    rest_options.tls.cert = config.server.rest.tls.cert;
    rest_options.tls.key = config.server.rest.tls.key;
    rest_options.tls.client_ca = config.server.rest.tls.ca_cert;
    rest_options.idle_timeout = Milliseconds(config.server.rest.timeout);
    auto rest = http::Server::Start(rest_options, io,
                                    [&rest = state.rest](http::Request request) { return rest(std::move(request)); });
    if (!rest.ok()) return Annotate(rest.status(), "server.rest");
    state.rest_server = *std::move(rest);
    if (config.pprof_port > 0) {
      http::ServerOptions stats_options;
      stats_options.ip = config.pprof_ip;
      stats_options.port = static_cast<uint16_t>(config.pprof_port);
      auto stats = http::Server::Start(stats_options, io, http::MakeStatsPages(state.passwords));
      if (!stats.ok()) return Annotate(stats.status(), "pprofPort");
      state.stats_server = *std::move(stats);
    }
    if (!config.metrics.enable) return absl::OkStatus();
    auto metrics = http::Server::Start(metrics_options, io, http::MakeMetricsPages(state.metrics, [] {}));
    if (!metrics.ok()) return Annotate(metrics.status(), "metrics.addr");
    state.metrics_server = *std::move(metrics);
    return absl::OkStatus();
  };
  absl::Status started = start();
  if (started.ok()) return manager;
  manager->Stop(Clock::now());
  return started;
}

uint16_t Manager::grpc_port() const { return static_cast<uint16_t>(state_->grpc_server->port()); }
uint16_t Manager::rest_port() const { return state_->rest_server->port(); }
uint16_t Manager::metrics_port() const {
  return state_->metrics_server == nullptr ? uint16_t{0} : state_->metrics_server->port();
}
telemetry::Metrics& Manager::metrics() { return state_->metrics; }
const std::string& Manager::first_password() const { return state_->first_password; }

void Manager::Stop(TimePoint deadline) {
  State& state = *state_;
  // Streams would last as long as their callers do.
  state.keep_alives.Close();
  if (state.grpc_server != nullptr) state.grpc_server->Shutdown(deadline);
  if (state.rest_server != nullptr) state.WaitFor(state.rest_server->Stop());
  if (state.metrics_server != nullptr) state.WaitFor(state.metrics_server->Stop());
  if (state.jobs != nullptr) state.WaitFor(state.jobs->Stop());
  if (state.stats_server != nullptr) state.WaitFor(state.stats_server->Stop());
  state.WaitFor(state.upkeep.Stop());
  state.WaitFor(state.calls.Stop());
  state.audit.Flush();
  if (state.tracer != nullptr) state.tracer->Stop(std::max(deadline, Clock::now() + kLastSpans));
}

}  // namespace dragonfly::manager
