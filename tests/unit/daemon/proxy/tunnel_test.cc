// SPDX-License-Identifier: Apache-2.0
// Tunnels through the proxy of a whole daemon, with curl as the client and nginx behind TLS as the origin.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/proxy/tls_context.h"
#include "tests/support/certificates.h"
#include "tests/support/nginx.h"
#include "tests/support/otlp_collector.h"
#include "tests/support/scripted_server.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/daemon/daemon_fixture.h"
#include "tests/unit/daemon/proxy/http_client.h"

namespace dragonfly::daemon::proxy {
namespace {

using ::dragonfly::testing::Certificates;
using ::dragonfly::testing::Nginx;
using ::dragonfly::testing::OtlpCollector;
using ::dragonfly::testing::ScriptedServer;
using test::Answer;
using test::HttpClient;
using ::testing::HasSubstr;
using ::testing::Not;

struct CurlResult {
  int exit_code = -1;
  std::string output;
};

CurlResult Curl(const std::string& arguments) {
  const std::string command =
      "env -u http_proxy -u https_proxy -u all_proxy -u no_proxy curl -sS -m 30 --noproxy '' " + arguments + " 2>&1";
  FILE* const pipe = ::popen(command.c_str(), "r");
  CurlResult result;
  if (pipe == nullptr) return result;
  char chunk[4096];
  for (size_t n; (n = std::fread(chunk, 1, sizeof(chunk), pipe)) > 0;) result.output.append(chunk, n);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

class ProxyTunnel : public daemon::test::DaemonFixture {
 protected:
  ProxyTunnel() {
    origin_.Put("p2p/file.bin", "through the tunnel");
    origin_.Put("plain", "plain");
  }
  DaemonConfig TunnelConfig(const std::string& regex) {
    DaemonConfig config = Config("peer");
    DaemonConfig::Proxy::Rule rule;
    rule.regex = regex;
    config.proxy.rules = {rule};
    config.backend.ca_file = certificates_.ca_file();
    return config;
  }
  // With no rule that may match here.
  std::unique_ptr<Daemon> StartAnother(const std::string& name) {
    DaemonConfig config = Config(name);
    config.host.hostname = name;
    config.backend.ca_file = certificates_.ca_file();
    return Start(config);
  }
  std::string OwnAuthority() const { return dir_.path() + "/peer/storage/proxy/ca.pem"; }
  static std::string Through(const Daemon& daemon) { return StrCat("-x http://127.0.0.1:", daemon.proxy_port(), " "); }

  Certificates certificates_{"IP:127.0.0.1,DNS:localhost"};
  Nginx origin_{{{certificates_.NginxLines(), true}, {""}}};
};

TEST_F(ProxyTunnel, WhatNoRuleWantsIsPassedThroughUnopened) {
  const auto daemon = Start(TunnelConfig("^https://elsewhere\\.example/"));
  ASSERT_NE(daemon, nullptr);
  const CurlResult result =
      Curl(Through(*daemon) + "--cacert " + certificates_.ca_file() + " " + origin_.Url("/plain"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "plain") << "the origin's own certificate was seen";
}

TEST_F(ProxyTunnel, IsOpenedWhereARuleMayWantWhatIsInIt) {
  const auto daemon = Start(TunnelConfig("/p2p/"));
  ASSERT_NE(daemon, nullptr);
  const std::string trust = "--cacert " + OwnAuthority() + " ";
  for (const char* const pass : {"first", "from the store"}) {
    const CurlResult result = Curl(Through(*daemon) + trust + "-D - " + origin_.Url("/p2p/file.bin"));
    EXPECT_EQ(result.exit_code, 0) << pass << result.output;
    EXPECT_THAT(result.output, HasSubstr("through the tunnel"));
    EXPECT_THAT(ToLowerAscii(result.output), HasSubstr("x-dragonfly-task-id: "));
  }
  const CurlResult plain = Curl(Through(*daemon) + trust + origin_.Url("/plain"));
  EXPECT_EQ(plain.output, "plain");
  const CurlResult two = Curl(Through(*daemon) + trust + origin_.Url("/plain") + " " + origin_.Url("/p2p/file.bin"));
  EXPECT_EQ(two.output, "plainthrough the tunnel") << "one tunnel carries several requests";
  const CurlResult range = Curl(Through(*daemon) + trust + "-r 8-10 " + origin_.Url("/p2p/file.bin"));
  EXPECT_EQ(range.output, "the");
  const CurlResult distrust =
      Curl(Through(*daemon) + "--cacert " + certificates_.ca_file() + " " + origin_.Url("/plain"));
  EXPECT_EQ(distrust.exit_code, 60) << "who does not trust the authority is not fooled";
}

TEST_F(ProxyTunnel, LargeBodiesGoThroughBothTlsConnections) {
  // Takes the whole body before it asks the second server what it was.
  const Nginx upload(
      {{certificates_.NginxLines() + " client_max_body_size 0; location / { proxy_pass http://127.0.0.1:@1@; }", true},
       {"client_max_body_size 0; location / { return 200 \"$content_length\"; }"}});
  const auto daemon = Start(TunnelConfig("/p2p/"));
  ASSERT_NE(daemon, nullptr);
  const dragonfly::testing::TempDir dir;
  const std::string file = dir.Write("body", daemon::test::RandomBytes(20 << 20));
  const std::string trust = "--cacert " + OwnAuthority() + " ";
  for (const char* const how : {"--http2 ", "--http1.1 ", "--http1.1 -H 'Transfer-Encoding: chunked' ",
                                "--http1.1 -H 'Expect: 100-continue' "}) {
    const CurlResult put = Curl(Through(*daemon) + trust + how + "-T " + file + " " + upload.Url("/up"));
    EXPECT_EQ(put.output, std::to_string(20 << 20)) << how;
  }
}

TEST_F(ProxyTunnel, SpeaksHttp2ToWhoWantsIt) {
  const std::string big = daemon::test::RandomBytes((9 << 20) + 5);
  origin_.Put("p2p/big.bin", big);
  origin_.Put("big", big);
  const auto daemon = Start(TunnelConfig("/p2p/"));
  ASSERT_NE(daemon, nullptr);
  const dragonfly::testing::TempDir dir;
  const std::string trust = "--http2 --cacert " + OwnAuthority() + " ";
  const std::string version = "-w '%{http_version} %{http_code} %{size_download}' ";
  for (const char* const path : {"/p2p/big.bin", "/p2p/big.bin", "/big"}) {
    const std::string out = (dir.path() / "out").string();
    const CurlResult result = Curl(Through(*daemon) + trust + version + "-o " + out + " " + origin_.Url(path));
    EXPECT_EQ(result.output, StrCat("2 200 ", big.size())) << path;
    EXPECT_TRUE(daemon::test::ReadFile(out) == big) << path;
  }
  EXPECT_EQ(Curl(Through(*daemon) + trust + "-r 8-10 " + origin_.Url("/p2p/file.bin")).output, "the");
  EXPECT_THAT(Curl(Through(*daemon) + trust + "-I " + origin_.Url("/p2p/big.bin")).output,
              HasSubstr(StrCat("content-length: ", big.size())));
  EXPECT_EQ(Curl(Through(*daemon) + trust + "-o /dev/null -w '%{http_code}' " + origin_.Url("/p2p/none")).output,
            "404");

  // Many at once over one connection, small and large.
  std::string urls;
  for (int i = 0; i < 60; ++i) {
    origin_.Put(StrCat("p2p/", i), StrCat("file ", i));
    urls +=
        StrCat("url = \"", origin_.Url(StrCat("/p2p/", i)), "\"\noutput = \"", dir.path().string(), "/f", i, "\"\n");
  }
  for (int i = 0; i < 4; ++i) {
    urls += StrCat("url = \"", origin_.Url(i % 2 == 0 ? "/big" : "/p2p/big.bin"), "\"\noutput = \"",
                   dir.path().string(), "/b", i, "\"\n");
  }
  const std::string list = dir.Write("list", urls);
  const CurlResult all = Curl(Through(*daemon) + trust + "-Z --parallel-max 64 -K " + list);
  EXPECT_EQ(all.exit_code, 0) << all.output;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(daemon::test::ReadFile((dir.path() / StrCat("f", i)).string()), StrCat("file ", i));
  }
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(daemon::test::ReadFile((dir.path() / StrCat("b", i)).string()) == big);

  // A client that leaves in the middle.
  const CurlResult left = Curl(Through(*daemon) + trust + "--limit-rate 100k -m 1 -o /dev/null " + origin_.Url("/big"));
  EXPECT_EQ(left.exit_code, 28);
  EXPECT_EQ(Curl(Through(*daemon) + trust + origin_.Url("/plain")).output, "plain");
}

TEST_F(ProxyTunnel, TheConfiguredAuthoritySignsAndOriginsAreVerified) {
  const Certificates other("IP:127.0.0.1");
  DaemonConfig config = TunnelConfig("/p2p/");
  config.proxy.ca_cert = other.ca_file();
  config.proxy.ca_key = other.ca_key();
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  const std::string trust = "--cacert " + other.ca_file() + " ";
  EXPECT_EQ(Curl(Through(*daemon) + trust + origin_.Url("/p2p/file.bin")).output, "through the tunnel");
  EXPECT_FALSE(std::filesystem::exists(OwnAuthority()));

  config = TunnelConfig("/p2p/");
  config.host.hostname = "distrustful";
  config.download.socket_path += "2";
  config.storage.dir += "2";
  config.backend.ca_file.clear();
  const auto distrustful = Start(config);
  ASSERT_NE(distrustful, nullptr);
  const CurlResult refused =
      Curl(Through(*distrustful) + "--cacert " + config.storage.dir + "/proxy/ca.pem " + origin_.Url("/plain"));
  EXPECT_THAT(refused.output, HasSubstr("certificate is not accepted"));

  config.proxy.registry_cert = certificates_.ca_file();
  config.host.hostname = "trustful";
  config.download.socket_path += "3";
  config.storage.dir += "3";
  const auto trustful = Start(config);
  ASSERT_NE(trustful, nullptr);
  for (const char* const path : {"/plain", "/p2p/file.bin"}) {
    const CurlResult taken =
        Curl(Through(*trustful) + "--cacert " + config.storage.dir + "/proxy/ca.pem " + origin_.Url(path));
    EXPECT_EQ(taken.exit_code, 0);
    EXPECT_THAT(taken.output, Not(HasSubstr("certificate"))) << path << ": proxy.registryMirror.cert holds for both";
  }
}

TEST_F(ProxyTunnel, ItsAuthorityIsKept) {
  const dragonfly::testing::TempDir dir;
  TunnelCertificates::Options options;
  options.own_dir = dir.path() / "proxy";
  const auto first = TunnelCertificates::Make(options);
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string pem = daemon::test::ReadFile(dir.path() / "proxy/ca.pem");
  EXPECT_THAT(pem, HasSubstr("BEGIN CERTIFICATE"));
  const auto mode = std::filesystem::status(dir.path() / "proxy/ca.key").permissions();
  EXPECT_EQ(mode & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto second = TunnelCertificates::Make(options);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(daemon::test::ReadFile(dir.path() / "proxy/ca.pem"), pem);
  const auto free_ssl = [](SSL* ssl) { SSL_free(ssl); };
  for (size_t i = 0; i < TunnelCertificates::kKeptMax + 10; ++i) {
    const std::unique_ptr<SSL, decltype(free_ssl)> ssl((*second)->NewConnection(StrCat("h", i, ".example")), free_ssl);
    ASSERT_NE(ssl, nullptr);
  }
  EXPECT_EQ((*second)->kept(), TunnelCertificates::kKeptMax);
  EXPECT_EQ((*second)->NewConnection("a,DNS:b.example"), nullptr) << "one name makes no two";

  options.ca_cert = certificates_.ca_file();
  options.ca_key = certificates_.server_key();
  EXPECT_THAT(std::string(TunnelCertificates::Make(options).status().message()), HasSubstr("is not the key of"));
}

TEST_F(ProxyTunnel, CertificatesAreRenewedBeforeTheyRunOut) {
  const dragonfly::testing::TempDir dir;
  TunnelCertificates::Options options;
  options.own_dir = dir.path() / "proxy";
  const auto made = TunnelCertificates::Make(options);
  ASSERT_TRUE(made.ok()) << made.status();
  TunnelCertificates& certificates = **made;
  const TimePoint now = Clock::now();
  const auto serial = [&](TimePoint when) {
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(certificates.NewConnection("h.example", when), SSL_free);
    const X509* const leaf = ssl == nullptr ? nullptr : SSL_get_certificate(ssl.get());
    if (leaf == nullptr) return std::string();
    const ASN1_INTEGER* const number = X509_get0_serialNumber(leaf);
    return std::string(reinterpret_cast<const char*>(number->data), static_cast<size_t>(number->length));
  };
  const std::string first = serial(now);
  ASSERT_NE(first, "");
  EXPECT_EQ(serial(now + std::chrono::hours(24 * 30)), first);
  const std::string second = serial(now + std::chrono::hours(24 * 60));
  EXPECT_NE(second, first) << "a daemon that runs for longer than certificates live still opens tunnels";
  EXPECT_EQ(serial(now + std::chrono::hours(24 * 90)), second);
  EXPECT_EQ(certificates.kept(), 1u);
}

TEST_F(ProxyTunnel, WhatIsNoTlsIsPassedThrough) {
  ScriptedServer server([](ScriptedServer::Connection& connection, const std::string& request, int) {
    connection.Send("you said " + request);
    connection.Close();
  });
  const auto daemon = Start(TunnelConfig("/p2p/"));
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  client.Send(StrCat("CONNECT 127.0.0.1:", server.port(), " HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(client.ReadHead().status, 200);
  client.Send("hello\r\n\r\n");
  std::string said;
  while (!client.AtEnd()) said += client.ReadSome();
  EXPECT_EQ(said, "you said hello\r\n\r\n");
  HttpClient nobody(daemon->proxy_port());
  nobody.Send("CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n");
  // 200 has been said by then, unless no rule may want it.
  EXPECT_EQ(nobody.ReadHead().status, 200);
  EXPECT_TRUE(nobody.AtEnd());
}

// A proxy of somebody else's: takes CONNECT and absolute URLs of who knows "user:p@ss", over TLS where it is so.
class ForeignProxy {
 public:
  ForeignProxy(const Certificates& certificates, bool tls) {
    const std::string script = R"(
import asyncio, os, ssl, sys, urllib.parse
async def pipe(source, sink):
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()
async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    method, target = head.split(b" ")[:2]
    if b"proxy-authorization: basic dxnlcjpwqhnz\r\n" not in head.lower():
        writer.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
        return writer.close()
    url = urllib.parse.urlsplit(b"//" + target if method == b"CONNECT" else target)
    there, back = await asyncio.open_connection(url.hostname.decode(), url.port)
    if method == b"CONNECT":
        writer.write(b"HTTP/1.1 200 Yes\r\nX-Y: z\r\n\r\n")
    else:
        back.write(head)
    print(method.decode(), target.decode(), file=sys.stderr, flush=True)
    await asyncio.gather(pipe(reader, back), pipe(there, writer), return_exceptions=True)
async def main():
    tls = None
    if sys.argv[1] == "tls":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[2], sys.argv[3])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    print(server.sockets[0].getsockname()[1], os.getpid(), flush=True)
    await server.serve_forever()
asyncio.run(main())
)";
    const std::string command =
        StrCat("exec python3 ", dir_.Write("proxy.py", script), " ", tls ? "tls " : "plain ", certificates.server_pem(),
               " ", certificates.server_key(), " 2>", (dir_.path() / "log").string());
    pipe_ = ::popen(command.c_str(), "r");
    if (pipe_ == nullptr || std::fscanf(pipe_, "%d %d", &port_, &pid_) != 2) throw std::runtime_error("no proxy");
  }
  ~ForeignProxy() {
    ::kill(pid_, SIGTERM);
    ::pclose(pipe_);
  }
  ForeignProxy(const ForeignProxy&) = delete;
  ForeignProxy& operator=(const ForeignProxy&) = delete;
  int port() const { return port_; }
  // "<method> <target>" of each request so far.
  std::string Log() const { return daemon::test::ReadFile((dir_.path() / "log").string()); }

 private:
  dragonfly::testing::TempDir dir_;
  FILE* pipe_ = nullptr;
  int port_ = 0;
  int pid_ = 0;
};

// Sets variables for as long as it lives.
class Environment {
 public:
  explicit Environment(const std::vector<std::pair<const char*, std::string>>& variables) : variables_(variables) {
    for (const auto& [name, value] : variables_) ::setenv(name, value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const std::vector<std::pair<const char*, std::string>> variables_;
};

TEST_F(ProxyTunnel, GoesThroughTheProxyOfTheEnvironment) {
  const std::string big = daemon::test::RandomBytes((3 << 20) + 5);
  origin_.Put("big", big);
  const auto daemon = Start(TunnelConfig("^https://elsewhere[.]example/|/p2p/"));
  ASSERT_NE(daemon, nullptr);
  const std::string registry = StrCat("X-Dragonfly-Registry: ", origin_.Url(""));
  for (const bool tls : {false, true}) {
    const ForeignProxy proxy(certificates_, tls);
    const std::string scheme = tls ? "https" : "http";
    const std::string place = StrCat("@127.0.0.1:", proxy.port());
    {
      const std::string url = StrCat(scheme, "://user:p%40ss", place);
      const Environment environment({{"http_proxy", url}, {"https_proxy", url}});
      HttpClient client(daemon->proxy_port());
      for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(client.Get(origin_.Url("/plain", 1)).body, "plain");
        EXPECT_EQ(client.Get("/plain", {registry}).body, "plain");
        EXPECT_TRUE(client.Get("/big", {registry}).body == big);
      }
      // Each kind by a kept connection of its own.
      EXPECT_EQ(proxy.Log(), StrCat("GET ", origin_.Url("/plain", 1), "\nCONNECT 127.0.0.1:", origin_.port(), "\n"));
    }
    {
      const std::string url = StrCat(scheme, "://user:wrong", place);
      const Environment environment({{"http_proxy", url}, {"https_proxy", url}});
      const auto stranger = StartAnother(StrCat("stranger-", scheme));
      ASSERT_NE(stranger, nullptr);
      HttpClient client(stranger->proxy_port());
      for (const Answer& answer : {client.Get(origin_.Url("/plain", 1)), client.Get("/plain", {registry})}) {
        EXPECT_EQ(answer.status, 502);
        EXPECT_THAT(answer.body, HasSubstr(StrCat("the proxy ", scheme, "://127.0.0.1:", proxy.port())));
        EXPECT_THAT(answer.body, HasSubstr("407"));
        EXPECT_THAT(answer.body, Not(HasSubstr("wrong")));
      }
    }
    {
      const Environment environment({{"https_proxy", StrCat(scheme, "://user:p%40ss", place)}});
      const auto blind = StartAnother(StrCat("blind-", scheme));
      ASSERT_NE(blind, nullptr);
      // A tunnel that nobody opens.
      HttpClient client(blind->proxy_port());
      client.Send(StrCat("CONNECT 127.0.0.1:", origin_.port(1), " HTTP/1.1\r\nHost: x\r\n\r\n"));
      EXPECT_EQ(client.ReadHead().status, 200);
      EXPECT_EQ(client.Get("/plain").body, "plain");
      EXPECT_THAT(proxy.Log(), HasSubstr(StrCat("CONNECT 127.0.0.1:", origin_.port(1), "\n")));
      // Addresses that stand in a request are looked at as ever.
      HttpClient other(blind->proxy_port());
      EXPECT_EQ(other.Get("169.254.169.254:443", {}, "CONNECT").status, 403);
    }
  }
  const Environment excepted({{"http_proxy", "http://127.0.0.1:1"}, {"no_proxy", "127.0.0.0/8"}});
  HttpClient client(daemon->proxy_port());
  EXPECT_EQ(client.Get(origin_.Url("/plain", 1)).body, "plain");
}

TEST_F(ProxyTunnel, DoesNotTakeItselfForTheProxyOfItsOrigins) {
  const auto daemon = Start(TunnelConfig("/p2p/"));
  ASSERT_NE(daemon, nullptr);
  const std::string port = std::to_string(daemon->proxy_port());
  for (const std::string& host : {"127.0.0.1:", "http://localhost:", "http://[::1]:", "http://0.0.0.0:"}) {
    const Environment environment({{"http_proxy", host + port}, {"https_proxy", host + port}});
    HttpClient client(daemon->proxy_port());
    EXPECT_EQ(client.Get(origin_.Url("/plain", 1)).body, "plain") << host;
    EXPECT_EQ(client.Get("/plain", {StrCat("X-Dragonfly-Registry: ", origin_.Url(""))}).body, "plain") << host;
  }
  // Through another name it comes back, and is known.
  const ScriptedServer other([&](ScriptedServer::Connection& connection, const std::string& request, int) {
    HttpClient again(daemon->proxy_port());
    again.Send(request);
    const Answer answer = again.ReadHead();
    connection.Send(StrCat("HTTP/1.1 ", answer.status, " x\r\nContent-Length: 0\r\n\r\n"));
    connection.Close();
  });
  const Environment environment({{"https_proxy", other.Url("")}});
  HttpClient client(daemon->proxy_port());
  const Answer answer = client.Get("/plain", {StrCat("X-Dragonfly-Registry: ", origin_.Url(""))});
  EXPECT_EQ(answer.status, 502);
  EXPECT_THAT(answer.body, HasSubstr("508"));
}

TEST_F(ProxyTunnel, SpansTellTheWayOfARequest) {
  OtlpCollector collector;
  DaemonConfig config = TunnelConfig("/p2p/");
  config.tracing.protocol = "grpc";
  config.tracing.endpoint = collector.endpoint();
  const auto daemon = Start(config);
  ASSERT_NE(daemon, nullptr);
  HttpClient client(daemon->proxy_port());
  EXPECT_EQ(client.Get(origin_.Url("/plain?signature=secret", 1)).body, "plain");
  const std::string here = StrCat("X-Dragonfly-Registry: http://127.0.0.1:", origin_.port(1));
  EXPECT_EQ(client.Get("/p2p/file.bin", {here}).body, "through the tunnel");
  EXPECT_EQ(client.Get("/plain", {StrCat("X-Dragonfly-Registry: ", origin_.Url("", 0))}).body, "plain");
  const CurlResult tunnel = Curl(Through(*daemon) + "--cacert " + OwnAuthority() + " " + origin_.Url("/plain"));
  EXPECT_EQ(tunnel.output, "plain");
  EXPECT_TRUE(daemon->Stop(Clock::now() + std::chrono::seconds(5)).ok());

  const auto spans = collector.WaitForNames({"handler", "http_handler", "https_handler", "registry_mirror_http_handler",
                                             "registry_mirror_https_handler", "upgraded_tunnel", "upgraded_handler",
                                             "proxy_via_http", "proxy_via_https", "proxy_via_dfdaemon", "download"});
  const auto find = [&](const std::string& name) {
    const auto found = std::ranges::find_if(spans, [&](const auto& one) { return one.span.name() == name; });
    EXPECT_NE(found, spans.end()) << name;
    return found == spans.end() ? OtlpCollector::Received() : *found;
  };
  const auto handler = find("handler");
  EXPECT_EQ(handler.Attribute("method"), "GET");
  EXPECT_EQ(handler.Attribute("url"), origin_.Url("/plain", 1)) << "without its query";
  EXPECT_EQ(find("http_handler").span.parent_span_id(), handler.span.span_id());
  EXPECT_EQ(find("proxy_via_http").span.parent_span_id(), find("http_handler").span.span_id());
  const auto via = find("proxy_via_dfdaemon");
  EXPECT_EQ(via.span.parent_span_id(), find("registry_mirror_http_handler").span.span_id());
  EXPECT_EQ(via.Attribute("task_id").size(), 64u);
  EXPECT_EQ(via.Attribute("host_id"), "127.0.0.1-peer");
  EXPECT_EQ(find("download").span.parent_span_id(), via.span.span_id());
}

}  // namespace
}  // namespace dragonfly::daemon::proxy
