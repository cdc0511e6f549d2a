// SPDX-License-Identifier: Apache-2.0
// A manager in this process, on ephemeral ports, over any of the databases.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "db/connection.h"
#include "gtest/gtest.h"
#include "manager/manager.h"
#include "manager/v2/manager.grpc.pb.h"
#include "runtime/io_threads.h"
#include "tests/support/sql_server.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::manager {

// The database lives as long as the object, the manager may be started again on it.
class RunningManager {
 public:
  explicit RunningManager(db::Engine engine) : engine_(engine) {
    using Kind = testing::SqlServer::Kind;
    if (engine == db::Engine::kPostgres) server_.emplace(Kind::kPostgres);
    if (engine == db::Engine::kMysql) server_.emplace(Kind::kMariaDb);
  }
  ~RunningManager() { Stop(); }

  ManagerConfig Config() const {
    using Type = ManagerConfig::Database::Type;
    ManagerConfig config;
    config.server.data_dir = (dir_.path() / "data").string();
    config.server.grpc.listen_ip = "127.0.0.1";
    config.server.grpc.port = 0;
    config.server.rest.addr = "127.0.0.1:0";
    if (engine_ == db::Engine::kPostgres) {
      config.database.type = Type::kPostgres;
      config.database.postgres.host = "127.0.0.1";
      config.database.postgres.port = server_->port();
      config.database.postgres.user = "dragonfly";
      config.database.postgres.password = testing::SqlServer::kPassword;
    }
    if (engine_ == db::Engine::kMysql) {
      config.database.type = Type::kMysql;
      config.database.mysql.host = "127.0.0.1";
      config.database.mysql.port = server_->port();
      config.database.mysql.user = "dragonfly";
      config.database.mysql.password = testing::SqlServer::kPassword;
    }
    return config;
  }

  void Start() { Start(Config()); }
  void Start(const ManagerConfig& config) {
    io_.emplace(2);
    auto started = Manager::Start(config, *io_);
    ASSERT_TRUE(started.ok()) << started.status();
    manager_ = *std::move(started);
    channel_ = grpc::CreateChannel(StrCat("127.0.0.1:", manager_->grpc_port()), grpc::InsecureChannelCredentials());
  }
  void Stop() {
    channel_.reset();
    if (manager_ != nullptr) manager_->Stop(Clock::now() + std::chrono::seconds(5));
    manager_.reset();
    io_.reset();
  }

  // Of PostgreSQL and MariaDB.
  testing::SqlServer& server() { return *server_; }
  Manager& manager() { return *manager_; }
  std::unique_ptr<::manager::v2::Manager::Stub> Stub() const { return ::manager::v2::Manager::NewStub(channel_); }
  const testing::TempDir& dir() const { return dir_; }

 private:
  const db::Engine engine_;
  testing::TempDir dir_;
  std::optional<testing::SqlServer> server_;
  std::optional<runtime::IoThreads> io_;
  std::unique_ptr<Manager> manager_;
  std::shared_ptr<grpc::Channel> channel_;
};

}  // namespace dragonfly::manager
