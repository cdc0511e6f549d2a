// SPDX-License-Identifier: Apache-2.0
// The servers of a manager: encryption, limits, who is at the other end.
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "absl/strings/escaping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/certificates.h"
#include "tests/support/otlp_collector.h"
#include "tests/support/redis_server.h"
#include "tests/unit/manager/rest_client.h"
#include "tests/unit/manager/running_manager.h"

namespace dragonfly::manager {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// What the curl command says: the body, then the status.
std::string Curl(const std::string& arguments) {
  const std::string command = "curl -sS --max-time 20 -w ' %{http_code}' " + arguments + " 2>&1";
  FILE* const pipe = popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> bytes;
  for (size_t got; (got = std::fread(bytes.data(), 1, bytes.size(), pipe)) > 0;) output.append(bytes.data(), got);
  pclose(pipe);
  return output;
}

class ManagerServer : public ::testing::Test {
 protected:
  std::string SignInBody() const { return json{{"name", "root"}, {"password", running_.first_password}}.dump(); }
  void Start(const ManagerConfig& config) {
    running_.Start(config);
    ASSERT_FALSE(HasFatalFailure());
    if (running_.first_password.empty()) running_.first_password = running_.manager().first_password();
  }
  std::string RootToken() const {
    return RestClient(running_.manager().rest_port()).Call("POST", "/api/v1/users/signin", SignInBody()).json["token"];
  }

  struct Running : RunningManager {
    Running() : RunningManager(db::Engine::kSqlite) {}
    std::string first_password;
  };
  mutable Running running_;
};

class ManagerTls : public ManagerServer {
 protected:
  std::string Url(const std::string& path) const {
    return "https://127.0.0.1:" + std::to_string(running_.manager().rest_port()) + path;
  }
  testing::Certificates certificates_{"IP:127.0.0.1"};
};

TEST_F(ManagerTls, ServesRestEncryptedAlone) {
  ManagerConfig config = running_.Config();
  config.server.rest.tls.cert = certificates_.server_pem();
  config.server.rest.tls.key = certificates_.server_key();
  Start(config);
  EXPECT_EQ(Curl("--cacert " + certificates_.ca_file() + " " + Url("/healthy")), "\"OK\" 200");
  // Not by an authority that is not ours, not in the clear, not by what is broken.
  EXPECT_THAT(Curl(Url("/healthy")), HasSubstr("certificate"));
  EXPECT_THAT(Curl("http://127.0.0.1:" + std::to_string(running_.manager().rest_port()) + "/healthy"),
              HasSubstr(" 000"));
  EXPECT_THAT(Curl("--tls-max 1.1 --cacert " + certificates_.ca_file() + " " + Url("/healthy")), HasSubstr(" 000"));
  // The cookie stays on encrypted ways.
  EXPECT_THAT(
      Curl("-i --cacert " + certificates_.ca_file() + " -d '" + SignInBody() + "' " + Url("/api/v1/users/signin")),
      HasSubstr("; Secure"));
}

TEST_F(ManagerTls, AsksClientsForCertificates) {
  ManagerConfig config = running_.Config();
  config.server.rest.tls.cert = certificates_.server_pem();
  config.server.rest.tls.key = certificates_.server_key();
  config.server.rest.tls.ca_cert = certificates_.ca_file();
  Start(config);
  const std::string ca = "--cacert " + certificates_.ca_file() + " ";
  EXPECT_THAT(Curl(ca + Url("/healthy")), HasSubstr(" 000"));
  EXPECT_EQ(Curl(ca + "--cert " + certificates_.server_pem() + " --key " + certificates_.server_key() + " " +
                 Url("/healthy")),
            "\"OK\" 200");
  const testing::Certificates others("IP:127.0.0.1");
  EXPECT_THAT(Curl(ca + "--cert " + others.server_pem() + " --key " + others.server_key() + " " + Url("/healthy")),
              HasSubstr(" 000"));
}

TEST_F(ManagerTls, NamesTheFileThatCannotBeUsed) {
  ManagerConfig config = running_.Config();
  config.server.rest.tls.cert = certificates_.server_pem();
  config.server.rest.tls.key = certificates_.ca_key();
  runtime::IoThreads io(1);
  const auto started = Manager::Start(config, io);
  ASSERT_FALSE(started.ok());
  EXPECT_THAT(std::string(started.status().message()), HasSubstr(certificates_.ca_key()));
}

TEST_F(ManagerTls, ServesGrpcToOwnersOfCertificatesAlone) {
  ManagerConfig config = running_.Config();
  config.server.grpc.tls.ca_cert = certificates_.ca_file();
  config.server.grpc.tls.cert = certificates_.server_pem();
  config.server.grpc.tls.key = certificates_.server_key();
  Start(config);
  const std::string address = "127.0.0.1:" + std::to_string(running_.manager().grpc_port());
  const auto call = [&](const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    const auto stub = ::manager::v2::Manager::NewStub(grpc::CreateChannel(address, credentials));
    ::manager::v2::DeleteSeedPeerRequest request;
    request.set_hostname("h");
    request.set_ip("10.0.0.1");
    request.set_source_type(::manager::v2::SEED_PEER_SOURCE);
    request.set_seed_peer_cluster_id(1);
    google::protobuf::Empty response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    return stub->DeleteSeedPeer(&context, request, &response).ok();
  };
  const auto text = [](const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  };
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = text(certificates_.ca_file());
  EXPECT_FALSE(call(grpc::InsecureChannelCredentials()));
  EXPECT_FALSE(call(grpc::SslCredentials(options)));
  options.pem_cert_chain = text(certificates_.server_pem());
  options.pem_private_key = text(certificates_.server_key());
  EXPECT_TRUE(call(grpc::SslCredentials(options)));
}

class ManagerLimits : public ManagerServer {};

TEST_F(ManagerLimits, HoldAddresses) {
  ManagerConfig config = running_.Config();
  config.server.rest.address_rate = 5;
  Start(config);
  const RestClient client(running_.manager().rest_port());
  int refused = 0;
  RestReply last;
  for (int i = 0; i < 30; ++i) {
    const RestReply reply = client.Call("GET", "/api/v1/users");
    if (reply.status == 429) {
      ++refused;
      last = reply;
    }
  }
  EXPECT_GE(refused, 15);
  EXPECT_EQ(last.json["message"], "rate limit exceeded");
  EXPECT_EQ(last.header.at("retry-after"), "1");
  // A limit must not make the manager look dead.
  EXPECT_EQ(client.Call("GET", "/healthy").status, 200);
}

TEST_F(ManagerLimits, HoldUsersAcrossManagers) {
  testing::RedisServer redis;
  ManagerConfig config = running_.Config();
  config.auth.jwt_key = "the same on both";
  config.server.rest.user_rate = 0.01;
  config.database.redis.addrs = {redis.address()};
  Start(config);
  const std::string token = RootToken();
  EXPECT_EQ(RestClient(running_.manager().rest_port()).Call("GET", "/api/v1/users", "", token).status, 200);
  // Another process than the one that has counted.
  running_.Stop();
  Start(config);
  EXPECT_EQ(RestClient(running_.manager().rest_port()).Call("GET", "/api/v1/users", "", token).status, 429);
}

TEST_F(ManagerLimits, CountsWhoATrustedProxyNames) {
  ManagerConfig config = running_.Config();
  config.server.rest.trusted_proxies = {"127.0.0.1"};
  config.server.rest.address_rate = 0.01;
  Start(config);
  const RestClient client(running_.manager().rest_port());
  const auto from = [&](const char* address) {
    return client.Call("GET", "/api/v1/users", "", "", {{"X-Forwarded-For", address}}).status;
  };
  EXPECT_EQ(from("1.2.3.4"), 401);
  EXPECT_EQ(from("1.2.3.5"), 401);
  EXPECT_EQ(from("1.2.3.4"), 429);
  // The first entry is what the stranger has written.
  EXPECT_EQ(from("6.6.6.6, 1.2.3.4"), 429);
}

TEST_F(ManagerLimits, ListensToNoStrangersHeader) {
  ManagerConfig config = running_.Config();
  config.server.rest.address_rate = 0.01;
  Start(config);
  const RestClient client(running_.manager().rest_port());
  EXPECT_EQ(client.Call("GET", "/api/v1/users", "", "", {{"X-Forwarded-For", "1.2.3.4"}}).status, 401);
  EXPECT_EQ(client.Call("GET", "/api/v1/users", "", "", {{"X-Forwarded-For", "1.2.3.5"}}).status, 429);
}

class ManagerOrigins : public ManagerServer {};

TEST_F(ManagerOrigins, LendsTheCookieToNoForeignPage) {
  ManagerConfig config = running_.Config();
  config.server.rest.cors_origins = {"https://console.example"};
  Start(config);
  const RestClient client(running_.manager().rest_port());
  const RestReply known = client.Call("GET", "/healthy", "", "", {{"Origin", "https://console.example"}});
  EXPECT_EQ(known.header.at("access-control-allow-origin"), "https://console.example");
  EXPECT_EQ(known.header.at("access-control-allow-credentials"), "true");
  for (const char* const method : {"GET", "OPTIONS"}) {
    const RestReply foreign = client.Call(method, "/api/v1/users", "", "", {{"Origin", "https://evil.example"}});
    EXPECT_FALSE(foreign.header.contains("access-control-allow-origin")) << method;
    EXPECT_FALSE(foreign.header.contains("access-control-allow-credentials")) << method;
  }
}

class ManagerTelemetry : public ManagerServer {};

TEST_F(ManagerTelemetry, CountsByTheNamesOfTheOriginalAndThoseOfItsDashboards) {
  ManagerConfig config = running_.Config();
  config.metrics.enable = true;
  config.metrics.addr = "127.0.0.1:0";
  Start(config);
  const RestClient client(running_.manager().rest_port());
  client.Call("GET", "/api/v1/users/7?token=x");
  client.Call("GET", "/api/v1/users/8");
  client.Call("GET", "/no/such/path/of/a/stranger");
  const std::string text = RestClient(running_.manager().metrics_port()).Call("GET", "/metrics").body;
  for (const char* const prefix : {"", "dragonfly_"}) {
    EXPECT_THAT(text, HasSubstr(std::string(prefix) +
                                R"(manager_requests_total{code="401",method="GET",url="/api/v1/users/:id"} 2)"));
    EXPECT_THAT(text, HasSubstr(std::string(prefix) + "manager_request_duration_seconds_bucket"));
  }
  // Labels that strangers choose are bounded.
  EXPECT_THAT(text, Not(HasSubstr("stranger")));
  EXPECT_THAT(text, HasSubstr("manager_request_size_bytes_count 3"));
  EXPECT_THAT(text, HasSubstr("manager_response_size_bytes{quantile=\"0.99\"}"));
  EXPECT_THAT(text, HasSubstr("dragonfly_manager_version{"));
  // Not on the port of the API, where everyone can read it in the original.
  EXPECT_EQ(client.Call("GET", "/metrics").status, 404);
}

TEST_F(ManagerTelemetry, ExportsASpanForEachRequestAndCall) {
  testing::OtlpCollector collector;
  ManagerConfig config = running_.Config();
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  Start(config);
  const RestClient client(running_.manager().rest_port());
  const std::string trace = "0af7651916cd43dd8448eb211c80319c";
  client.Call("GET", "/api/v1/users/7", "", "", {{"traceparent", "00-" + trace + "-b7ad6b7169203331-01"}});
  ::manager::v2::ListSchedulersRequest request;
  request.set_hostname("h");
  request.set_ip("10.0.0.1");
  ::manager::v2::ListSchedulersResponse response;
  grpc::ClientContext context;
  running_.Stub()->ListSchedulers(&context, request, &response);
  running_.Stop();
  const auto spans = collector.WaitForNames({"http_request", "list_schedulers"});
  for (const auto& received : spans) {
    EXPECT_EQ(received.resource.at("service.name"), "manager");
    EXPECT_EQ(received.resource.at("service.namespace"), "dragonfly");
    if (received.span.name() != "http_request") continue;
    EXPECT_EQ(absl::BytesToHexString(received.span.trace_id()), trace);
    EXPECT_EQ(received.Attribute("http.route"), "/api/v1/users/:id");
    EXPECT_EQ(received.Attribute("http.response.status_code"), "401");
  }
}

TEST_F(ManagerTelemetry, NamesTheSpansOfJobsAsTheOriginalDoes) {
  testing::OtlpCollector collector;
  ManagerConfig config = running_.Config();
  config.auth.root_password = "root-of-the-test";
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  running_.first_password = config.auth.root_password;
  Start(config);
  const RestClient client(running_.manager().rest_port());
  const std::string token = RootToken();
  const std::string id(64, 'a');
  // No scheduler is there: each fails, and its span says so.
  const std::pair<const char*, json> jobs[] = {
      {"preheat", {{"type", "file"}, {"url", "http://origin/a?Signature=of-the-user"}}},
      {"get_task", {{"task_id", id}}},
      {"delete_task", {{"task_id", id}}},
      {"list_task_entries", {{"url", "s3://bucket/dir/?Signature=of-the-user"}}},
      {"get_image_distribution", {{"url", "http://registry/v2/a/manifests/1"}}},
      {"sync_peers", json::object()}};
  for (const auto& [type, args] : jobs) {
    EXPECT_EQ(client.Call("POST", "/api/v1/jobs", json{{"type", type}, {"args", args}}.dump(), token).status, 409)
        << type;
  }
  running_.Stop();
  const auto spans = collector.WaitForNames(
      {"preheat", "get-task", "delete-task", "list-task-entries", "get-image-distribution", "sync-peers"});
  for (const auto& received : spans) {
    const std::string& name = received.span.name();
    if (name == "http_request" || received.span.kind() == opentelemetry::proto::trace::v1::Span::SPAN_KIND_SERVER) {
      continue;
    }
    EXPECT_EQ(received.span.status().code(), opentelemetry::proto::trace::v1::Status::STATUS_CODE_ERROR) << name;
    EXPECT_FALSE(received.span.parent_span_id().empty()) << name;
    if (name == "preheat") {
      EXPECT_EQ(received.Attribute("d7y.manager.preheat.type"), "file");
      EXPECT_EQ(received.Attribute("d7y.manager.preheat.url"), "http://origin/a");
    }
    if (name == "get-task") EXPECT_EQ(received.Attribute("d7y.manager.get_task.id"), id);
    if (name == "delete-task") EXPECT_EQ(received.Attribute("d7y.manager.delete_task.id"), id);
    if (name == "list-task-entries") {
      EXPECT_EQ(received.Attribute("d7y.manager.list_task_entries.url"), "s3://bucket/dir/");
    }
  }
}

}  // namespace
}  // namespace dragonfly::manager
