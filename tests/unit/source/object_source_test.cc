// SPDX-License-Identifier: Apache-2.0
// Each vendor against a server that verifies signatures by itself.
#include "source/object_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/clock.h"
#include "base/backend_error.h"
#include "base/text.h"
#include "source/http_source.h"
#include "tests/support/certificates.h"
#include "tests/support/object_storage.h"
#include "tests/support/scripted_server.h"
#include "tests/support/temp_dir.h"

namespace dragonfly::source {
namespace {

namespace asio = boost::asio;
using nlohmann::json;
using testing::Certificates;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using testing::HeaderOf;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::ObjectStorage;
using testing::ScriptedServer;
using ::testing::SizeIs;
using ::testing::StartsWith;
using testing::TempDir;
using ::testing::UnorderedElementsAre;

class Collector : public ByteSink {
 public:
  absl::Status Append(std::span<const std::byte> bytes) override {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  std::string text;
};

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

constexpr char kSecret[] = "c2VjcmV0K2tleS8=";
// Keys that every encoder and signature has to get right.
constexpr char kOddKey[] = "dir/a b+c%~(x)'&=?#!*;@:$,\xC3\xBC.bin";
constexpr char kOddUrl[] = "dir/a%20b%2Bc%25~%28x%29%27%26%3D%3F%23%21%2A%3B%40%3A%24%2C%C3%BC.bin";

json Config(const std::string& vendor) {
  std::string large(100'000, 'x');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + (i * 7919 >> 4) % 26);
  json config = {{"vendor", vendor},
                 {"bucket", "bkt-125"},
                 {"objects",
                  {{kOddKey, "odd content"},
                   {"dir/", ""},
                   {"dir/empty", ""},
                   {"dir/sub/large", large},
                   {"dir/sub/marker/", ""},
                   {"dirt", "not below"},
                   {"other", "o"}}},
                 {"access_key_id", "AKID"},
                 {"access_key_secret", kSecret},
                 {"page_size", 2}};
  if (vendor == "s3") config["region"] = "eu-west-1";
  if (vendor == "gs") config.erase("access_key_id");
  return config;
}

class ObjectSourceTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { ::setenv("no_proxy", "*", 1); }

  ObjectSourceTest() {
    options_.backoff_min = std::chrono::milliseconds(1);
    options_.backoff_max = std::chrono::milliseconds(4);
    hooks_.now = [this] { return absl::Now() + clock_offset_; };
    hooks_.environment = [this](const char* name) { return environment_[name]; };
  }

  // Makes the server and points `access_` at it.
  void Start(const json& config, const std::string& host = "127.0.0.1") {
    scheme_ = config["vendor"].get<std::string>();
    storage_ = std::make_unique<ObjectStorage>(config.dump());
    access_.endpoint = storage_->Endpoint(host);
    access_.access_key_id = config.value("access_key_id", "");
    if (!access_.access_key_id.empty()) access_.access_key_secret = kSecret;
    access_.region = config.value("region", "");
  }

  std::string Url(const std::string& path) const { return StrCat(scheme_, "://bkt-125/", path); }
  OriginRequest Ask(const std::string& path, std::vector<std::pair<std::string, std::string>> header = {}) const {
    OriginRequest request;
    request.url = Url(path);
    request.access.object_storage = access_;
    request.header = std::move(header);
    request.deadline = Clock::now() + std::chrono::seconds(20);
    return request;
  }

  ObjectSource& source() {
    if (objects_ == nullptr) {
      http_ = std::make_unique<HttpSource>(io_, options_);
      objects_ = std::make_unique<ObjectSource>(io_, options_, *http_, hooks_);
    }
    return *objects_;
  }

  template <typename T>
  static asio::awaitable<void> Keep(asio::awaitable<T> work, T& outcome) {
    outcome = co_await std::move(work);
  }
  template <typename T>
  T Run(asio::awaitable<T> work) {
    T outcome = absl::UnknownError("did not end");
    Spawn(std::move(work), outcome);
    Run();
    return outcome;
  }
  template <typename T>
  void Spawn(asio::awaitable<T> work, T& outcome) {
    asio::co_spawn(io_, Keep(std::move(work), outcome), [](const std::exception_ptr& error) {
      if (error) std::rethrow_exception(error);
    });
  }
  void Run() {
    io_.restart();
    io_.run();
  }

  absl::StatusOr<OriginStat> Stat(OriginRequest request) { return Run(source().Stat(std::move(request))); }
  absl::StatusOr<std::string> Read(OriginRequest request, ByteRange range, ObjectVersion version = ObjectVersion()) {
    Collector sink;
    const absl::Status status = Run(source().Read(std::move(request), range, std::move(version), sink, unlimited_));
    if (!status.ok()) return status;
    return sink.text;
  }
  absl::StatusOr<std::vector<OriginEntry>> List(OriginRequest request, size_t entries_max = 100) {
    return Run(source().List(std::move(request), entries_max));
  }
  // "url length" or "url directory" of each.
  static std::vector<std::string> Texts(const absl::StatusOr<std::vector<OriginEntry>>& entries) {
    std::vector<std::string> texts;
    if (!entries.ok()) return {std::string(entries.status().message())};
    for (const OriginEntry& entry : *entries) {
      texts.push_back(StrCat(entry.url, " ", entry.is_directory ? "directory" : StrCat(entry.content_length)));
    }
    return texts;
  }

  // All that a vendor has to be able to do.
  void ReadsAndLists(const json& config) {
    const absl::StatusOr<OriginStat> stat = Stat(Ask(kOddUrl));
    ASSERT_TRUE(stat.ok()) << stat.status();
    EXPECT_EQ(stat->content_length, 11u);
    EXPECT_TRUE(stat->accepts_ranges);
    const auto large = config["objects"]["dir/sub/large"].get<std::string>();
    const ObjectVersion version = VersionOf(*Stat(Ask("dir/sub/large")));
    EXPECT_NE(version.etag, "");
    EXPECT_EQ(Read(Ask("dir/sub/large"), {50'000, 30'000}, version).value_or(""), large.substr(50'000, 30'000));
    EXPECT_EQ(Read(Ask(kOddUrl), {4, 7}).value_or(""), "content");
    EXPECT_EQ(Stat(Ask("dir/empty"))->content_length, 0u);
    Collector sink;
    EXPECT_EQ(Run(source().ReadAll(Ask("dir/sub/large"), version, sink, unlimited_)).value_or(0), large.size());
    EXPECT_EQ(sink.text, large);

    EXPECT_THAT(Texts(List(Ask("dir/"))),
                UnorderedElementsAre(Url(kOddUrl) + " 11", Url("dir/empty") + " 0", Url("dir/sub/large") + " 100000",
                                     Url("dir/sub/marker/") + " directory"));
    EXPECT_THAT(List(Ask("")).value(), SizeIs(7));
    EXPECT_THAT(List(Ask("nothing/")).value(), IsEmpty());

    const absl::Status missing = Stat(Ask("dir/missing")).status();
    EXPECT_EQ(GetBackendError(missing)->status_code, 404);
    EXPECT_THAT(std::string(missing.message()), HasSubstr("The specified key does not exist."));
  }
  // The message of what comes when the secret is wrong.
  std::string WrongSecret() {
    access_.access_key_secret = "d3Jvbmcgc2VjcmV0";
    const absl::Status status = Stat(Ask("other")).status();
    EXPECT_EQ(GetBackendError(status)->status_code, 403);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr(access_.access_key_secret)));
    EXPECT_EQ(GetBackendError(List(Ask("dir/")).status())->status_code, 403);
    return std::string(status.message());
  }

  asio::io_context io_;
  SourceOptions options_;
  ObjectSourceHooks hooks_;
  absl::Duration clock_offset_;
  std::map<std::string, std::string> environment_;
  std::string scheme_;
  std::unique_ptr<ObjectStorage> storage_;
  OriginAccess::ObjectStorage access_;
  std::unique_ptr<HttpSource> http_;
  std::unique_ptr<ObjectSource> objects_;
  runtime::TokenBucket unlimited_{0};
};

// ---- vendors ----

TEST_F(ObjectSourceTest, S3WithTheBucketInThePath) {
  Start(Config("s3"));
  ReadsAndLists(Config("s3"));
  EXPECT_THAT(WrongSecret(), HasSubstr("403 Forbidden: SignatureDoesNotMatch: The signature is not the one"));
  EXPECT_THAT(storage_->Stop(), Contains(StartsWith("206 GET /bkt-125/dir/a%20b%2Bc")));
}

TEST_F(ObjectSourceTest, S3WithTheBucketInTheHostName) {
  Start(Config("s3"), "bkt-125.localhost");
  ReadsAndLists(Config("s3"));
  EXPECT_THAT(storage_->Stop(), Contains(StartsWith("206 GET /dir/a%20b%2Bc")));
}

TEST_F(ObjectSourceTest, S3WithASessionToken) {
  json config = Config("s3");
  config["token"] = "session/token+=";
  Start(config);
  EXPECT_THAT(std::string(Stat(Ask("other")).status().message()), HasSubstr("InvalidToken"));
  access_.session_token = "session/token+=";
  ReadsAndLists(config);
}

TEST_F(ObjectSourceTest, OssV4) {
  json config = Config("oss");
  config["region"] = "cn-hangzhou";
  config["token"] = "security/token+=";
  Start(config, "localhost");
  access_.security_token = "security/token+=";
  ReadsAndLists(config);
  EXPECT_THAT(WrongSecret(), HasSubstr("SignatureDoesNotMatch"));
}

TEST_F(ObjectSourceTest, OssV1WithoutARegion) {
  Start(Config("oss"), "localhost");
  ReadsAndLists(Config("oss"));
  EXPECT_THAT(WrongSecret(), HasSubstr("SignatureDoesNotMatch"));
}

TEST_F(ObjectSourceTest, OssAtAnAddress) {
  for (const char* region : {"", "cn-hangzhou"}) {
    json config = Config("oss");
    config["region"] = region;
    Start(config);
    ReadsAndLists(config);
  }
}

TEST_F(ObjectSourceTest, Obs) {
  json config = Config("obs");
  config["token"] = "security/token+=";
  Start(config, "bkt-125.localhost");
  access_.security_token = "security/token+=";
  ReadsAndLists(config);
  EXPECT_THAT(WrongSecret(), HasSubstr("SignatureDoesNotMatch"));
}

TEST_F(ObjectSourceTest, ObsAtADomainOfTheUsersOwn) {
  Start(Config("obs"), "localhost");
  ReadsAndLists(Config("obs"));
}

TEST_F(ObjectSourceTest, Cos) {
  json config = Config("cos");
  config["token"] = "security/token+=";
  Start(config, "localhost");
  access_.security_token = "security/token+=";
  ReadsAndLists(config);
  EXPECT_THAT(WrongSecret(), HasSubstr("SignatureDoesNotMatch"));
}

TEST_F(ObjectSourceTest, Azure) {
  Start(Config("abs"));
  ReadsAndLists(Config("abs"));
  EXPECT_THAT(WrongSecret(), HasSubstr("SignatureDoesNotMatch"));
  access_.access_key_secret = "not base64";
  const std::string message(Stat(Ask("other")).status().message());
  EXPECT_THAT(message, HasSubstr("access_key_secret of abs is not base64"));
}

// ---- Google ----

class GoogleTest : public ObjectSourceTest {
 protected:
  GoogleTest() {
    const std::string at = dir_.path().string();
    const std::string command = StrCat("cd ", at,
                                       " && openssl genrsa -out key.pem 2048 2>/dev/null && openssl rsa -in "
                                       "key.pem -pubout -out public.pem 2>/dev/null");
    EXPECT_EQ(std::system(command.c_str()), 0);
    config_ = Config("gs");
    config_["public_key"] = at + "/public.pem";
    access_.credential_path = at + "/account.json";
  }

  void Start() {
    ObjectSourceTest::Start(config_);
    WriteAccount(storage_->Endpoint());
  }
  void WriteAccount(const std::string& token_service) const {
    dir_.Write("account.json", json{{"type", "service_account"},
                                    {"client_email", "robot@project.iam.gserviceaccount.com"},
                                    {"private_key_id", "key-1"},
                                    {"private_key", ReadFile(dir_.path() / "key.pem")},
                                    {"token_uri", token_service + "/token"}}
                                   .dump());
  }
  // How many tokens were issued.
  size_t Tokens() {
    const std::vector<std::string> requests = storage_->Stop();
    return static_cast<size_t>(std::count(requests.begin(), requests.end(), "200 POST /token"));
  }

  TempDir dir_;
  json config_;
};

TEST_F(GoogleTest, ReadsAndListsWithTheKeyOfAServiceAccount) {
  Start();
  ReadsAndLists(config_);
  EXPECT_EQ(Tokens(), 1u);
}

TEST_F(GoogleTest, TakesTheKeyOfAUsersLogin) {
  Start();
  dir_.Write("account.json", json{{"type", "authorized_user"},
                                  {"client_id", "client"},
                                  {"client_secret", "s&cret"},
                                  {"refresh_token", "1//refresh"},
                                  {"token_uri", storage_->Endpoint() + "/token"}}
                                 .dump());
  EXPECT_TRUE(Stat(Ask("other")).ok());
}

TEST_F(GoogleTest, FetchesOneTokenForAllWhoWait) {
  Start();
  std::vector<absl::StatusOr<OriginStat>> stats(5, absl::UnknownError("did not end"));
  for (auto& stat : stats) Spawn(source().Stat(Ask("other")), stat);
  Run();
  for (const auto& stat : stats) EXPECT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(Tokens(), 1u);
}

TEST_F(GoogleTest, RenewsATokenBeforeItRunsOut) {
  Start();
  EXPECT_TRUE(Stat(Ask("other")).ok());
  clock_offset_ = absl::Minutes(57);
  EXPECT_TRUE(Stat(Ask("other")).ok());
  clock_offset_ = absl::Minutes(59);
  // The assertion of our clock is from the server's future.
  const absl::Status early = Stat(Ask("other")).status();
  EXPECT_THAT(std::string(early.message()), HasSubstr("token of gs refused: invalid_grant"));
  EXPECT_EQ(Tokens(), 1u);
}

TEST_F(GoogleTest, AsksForAnotherTokenWhenOneIsRefused) {
  config_["token_lifetime"] = 0;  // refused at once
  Start();
  const absl::Status status = Stat(Ask("other")).status();
  EXPECT_EQ(GetBackendError(status)->status_code, 401);
  EXPECT_THAT(std::string(status.message()), HasSubstr("Invalid Credentials"));
}

TEST_F(GoogleTest, TellsABadKeyFileWithoutItsContent) {
  Start();
  const auto message = [this] { return std::string(Stat(Ask("other")).status().message()); };
  dir_.Write("account.json", "top secret");
  EXPECT_THAT(message(), HasSubstr("account.json\": neither the key of a service account nor a user's login"));
  EXPECT_THAT(message(), Not(HasSubstr("top secret")));
  dir_.Write("account.json", R"({"type":"service_account","private_key":"-----BEGIN NOTHING-----"})");
  EXPECT_THAT(message(), HasSubstr("its private_key is no RSA key"));
  access_.credential_path = dir_.path().string() + "/nothing";
  EXPECT_THAT(message(), HasSubstr("nothing\": No such file"));
  access_.credential_path = dir_.path().string();
  EXPECT_THAT(message(), HasSubstr("not a file"));
  access_.credential_path = "/dev/zero";
  EXPECT_THAT(message(), HasSubstr("not a file"));
}

TEST_F(GoogleTest, SaysThatNobodyHasSigned) {
  Start();
  access_.credential_path.clear();
  EXPECT_THAT(std::string(Stat(Ask("other")).status().message()),
              HasSubstr("the request was not signed: credential_path not given"));
}

TEST_F(ObjectSourceTest, ExplainsARefusalInOneLine) {
  const std::string body = "<Error><Code>Auth</Code><Message>Not &#10;you.\nRequestId:1\nTime:2</Message></Error>";
  for (const bool cut : {false, true}) {
    const std::string sent = cut ? "<Error><Code>Auth</Code><Message>Not you." + std::string(1000, '!') : body;
    ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string&, int) {
      connection.Send(StrCat("HTTP/1.1 403 Forbidden\r\nContent-Length: ", sent.size(), "\r\n\r\n", sent));
    });
    scheme_ = "s3";
    access_.endpoint = StrCat("http://127.0.0.1:", server.port());
    access_.access_key_id = "id";
    access_.access_key_secret = "secret";
    const std::string message(Stat(Ask("other")).status().message());
    EXPECT_THAT(message, StartsWith("backend error 403 Forbidden: Auth"));
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    EXPECT_LT(message.size(), 400u);
  }
}

// ---- credentials ----

TEST_F(ObjectSourceTest, ReadsPublicBucketsUnsigned) {
  for (const char* vendor : {"s3", "oss", "cos", "abs"}) {
    json config = Config(vendor);
    config.erase("access_key_id");
    access_ = OriginAccess::ObjectStorage();
    Start(config);
    ReadsAndLists(config);
  }
}

TEST_F(ObjectSourceTest, OpensASmallObjectWithOneRequest) {
  for (const char* vendor : {"s3", "abs", "oss", "obs", "cos"}) {  // of gs, the token would come first
    SCOPED_TRACE(vendor);
    objects_.reset();
    access_ = OriginAccess::ObjectStorage();
    Start(Config(vendor));
    Collector sink;
    std::optional<OriginStat> told;
    const auto opened = [&](const OriginStat& stat) -> absl::StatusOr<ByteSink*> {
      told = stat;
      return &sink;
    };
    const absl::StatusOr<Opening> opening = Run(source().Open(Ask(kOddUrl), 1 << 20, opened, unlimited_));
    ASSERT_TRUE(opening.ok()) << opening.status();
    EXPECT_TRUE(opening->body.ok()) << opening->body;
    EXPECT_EQ(told->content_length, 11u);
    EXPECT_EQ(sink.text, "odd content");
    EXPECT_THAT(storage_->Stop(), ElementsAre(HasSubstr("GET")));
  }
}

TEST_F(ObjectSourceTest, SaysThatNobodyHasSigned) {
  Start(Config("s3"));
  access_.access_key_id.clear();
  access_.access_key_secret.clear();
  access_.own_key_allowed = true;
  EXPECT_THAT(std::string(Stat(Ask("other")).status().message()),
              HasSubstr("403 Forbidden: AccessDenied: Access Denied; the request was not signed: access_key_id and "
                        "access_key_secret not given"));
  environment_["AWS_ACCESS_KEY_ID"] = "AKID";
  environment_["AWS_SECRET_ACCESS_KEY"] = kSecret;
  EXPECT_THAT(std::string(Stat(Ask("other")).status().message()),
              HasSubstr("not given, and those of dfdaemon's environment are not for this endpoint"));
}

TEST_F(ObjectSourceTest, SignsWithTheEnvironmentsKeyForItsEndpoint) {
  Start(Config("s3"));
  environment_["AWS_ACCESS_KEY_ID"] = "AKID";
  environment_["AWS_SECRET_ACCESS_KEY"] = kSecret;
  environment_["AWS_REGION"] = "eu-west-1";
  environment_["AWS_ENDPOINT_URL_S3"] = access_.endpoint;
  access_ = OriginAccess::ObjectStorage();
  access_.own_key_allowed = true;
  EXPECT_TRUE(Stat(Ask("other")).ok());
  access_.own_key_allowed = false;
  EXPECT_THAT(std::string(Stat(Ask("other")).status().message()),
              HasSubstr("not given, and those of dfdaemon's environment are for callers on its own host"));
}

TEST_F(ObjectSourceTest, KeepsCallersApart) {
  Start(Config("s3"));
  EXPECT_TRUE(Stat(Ask("other")).ok());
  const OriginAccess::ObjectStorage good = access_;
  access_.access_key_secret = "wrong";
  EXPECT_FALSE(Stat(Ask("other")).ok());
  access_ = good;
  EXPECT_TRUE(Stat(Ask("other")).ok());
}

TEST_F(ObjectSourceTest, DoesNotLetTheUsersHeadersBreakTheSignature) {
  Start(Config("s3"));
  const absl::StatusOr<OriginStat> stat = Stat(Ask("other", {{"Host", "elsewhere"},
                                                             {"authorization", "Basic x"},
                                                             {"X-Amz-Date", "never"},
                                                             {"x-amz-request-payer", "requester"},
                                                             {"X-Other", "y"}}));
  EXPECT_TRUE(stat.ok()) << stat.status();
}

TEST_F(ObjectSourceTest, AcceptsAnyCertificateOnlyWhenToldSo) {
  const Certificates certificates("IP:127.0.0.1");
  json config = Config("s3");
  config["certificate"] = certificates.server_pem();
  config["key"] = certificates.server_key();
  Start(config);
  access_.endpoint = StrCat("https://127.0.0.1:", storage_->port());
  const absl::Status refused = Stat(Ask("other")).status();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("certificate"));
  access_.insecure_skip_verify = true;
  EXPECT_TRUE(Stat(Ask("other")).ok());
  EXPECT_THAT(List(Ask("dir/")).value(), SizeIs(4));
  access_.insecure_skip_verify = false;
  EXPECT_FALSE(Stat(Ask("other")).ok());
}

// ---- mending ----

TEST_F(ObjectSourceTest, FindsTheRegionThatTheServiceNames) {
  Start(Config("s3"));
  access_.region = "us-east-1";
  EXPECT_TRUE(Stat(Ask("other")).ok());
  EXPECT_EQ(Read(Ask("other"), {0, 1}).value_or(""), "o");
  EXPECT_THAT(storage_->Stop(), ElementsAre(StartsWith("400"), StartsWith("206"), StartsWith("206")));
}

TEST_F(ObjectSourceTest, FollowsABucketOfAwsToItsRegion) {
  // Stands in for AWS as the environment's proxy, which gets URLs whole.
  ScriptedServer aws([](ScriptedServer::Connection& connection, const std::string& request, int) {
    const bool at_home = request.starts_with("GET http://s3.eu-west-1.amazonaws.com/bkt-125/other ") &&
                         HeaderOf(request, "Authorization").find("/eu-west-1/s3/") != std::string::npos;
    connection.Send(at_home ? "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1\r\nContent-Length: 1\r\n\r\no"
                            : "HTTP/1.1 301 Moved Permanently\r\nx-amz-bucket-region: eu-west-1\r\n"
                              "Content-Length: 0\r\n\r\n");
  });
  ::setenv("http_proxy", aws.Url("").c_str(), 1);
  ::unsetenv("no_proxy");
  scheme_ = "s3";
  access_.endpoint = "http://s3.us-east-1.amazonaws.com";
  access_.access_key_id = "id";
  access_.access_key_secret = "secret";
  const absl::StatusOr<OriginStat> stat = Stat(Ask("other"));
  EXPECT_TRUE(stat.ok()) << stat.status();
  EXPECT_THAT(aws.requests(), SizeIs(2));
  EXPECT_EQ(Read(Ask("other"), {0, 1}).value_or(""), "o");
  EXPECT_THAT(aws.requests(), SizeIs(3));
  ::unsetenv("http_proxy");
  ::setenv("no_proxy", "*", 1);
}

TEST_F(ObjectSourceTest, SignsByTheServicesClockWhenItsOwnIsWrong) {
  for (const char* vendor : {"s3", "oss", "cos", "abs"}) {
    Start(Config(vendor));
    clock_offset_ = absl::Hours(-5);
    objects_.reset();
    const absl::StatusOr<OriginStat> stat = Stat(Ask("other"));
    EXPECT_TRUE(stat.ok()) << stat.status();
    EXPECT_EQ(Read(Ask("other"), {0, 1}).value_or(""), "o");
    EXPECT_THAT(storage_->Stop(), ElementsAre(StartsWith("403"), StartsWith("206"), StartsWith("206"))) << vendor;
  }
}

// ---- lists ----

TEST_F(ObjectSourceTest, BoundsTheList) {
  Start(Config("s3"));
  EXPECT_THAT(List(Ask("dir/"), 4).value(), SizeIs(4));
  const absl::Status status = List(Ask("dir/"), 3).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("has more than 3 entries"));
}

TEST_F(ObjectSourceTest, ListsDirectoriesOnly) {
  Start(Config("s3"));
  EXPECT_TRUE(absl::IsInvalidArgument(List(Ask("dir")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Stat(Ask("")).status()));
  EXPECT_THAT(storage_->Stop(), IsEmpty());
}

TEST_F(ObjectSourceTest, KeepsTheTextOfTheDirectorysUrl) {
  Start(Config("s3"));
  EXPECT_THAT(Texts(List(Ask("d%69r/sub/"))),
              UnorderedElementsAre(Url("d%69r/sub/large") + " 100000", Url("d%69r/sub/marker/") + " directory"));
}

// What a liar answers to every request for a page.
class LyingListTest : public ObjectSourceTest {
 protected:
  absl::Status ListOf(const std::string& page) {
    ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string&, int) {
      connection.Send(StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", page.size(), "\r\n\r\n", page));
    });
    scheme_ = "s3";
    access_.endpoint = StrCat("http://127.0.0.1:", server.port());
    absl::Status status = List(Ask("dir/")).status();
    requests_ = server.requests().size();
    return status;
  }
  size_t requests_ = 0;
};

TEST_F(LyingListTest, RefusesKeysThatLeaveTheDirectory) {
  for (const char* key : {"dir/../etc", "dir/a/./b", "dir/.."}) {
    const absl::Status status =
        ListOf(StrCat("<ListBucketResult><Contents><Key>", key, "</Key><Size>1</Size></Contents></ListBucketResult>"));
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << key << status;
  }
  const absl::Status status =
      ListOf("<ListBucketResult><Contents><Key>else/where</Key><Size>1</Size></Contents></ListBucketResult>");
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(LyingListTest, EndsAListThatTurnsInCircles) {
  const absl::Status status = ListOf(
      "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
      "</ListBucketResult>");
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(requests_, 2u);
}

TEST_F(LyingListTest, BoundsAPage) {
  const absl::Status status = ListOf(std::string((16 << 20) + 1, ' '));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST_F(ObjectSourceTest, AsksForAPageThatBrokeOffAgain) {
  const std::string page = "<ListBucketResult><Contents><Key>dir/a</Key><Size>1</Size></Contents></ListBucketResult>";
  ScriptedServer server([&](ScriptedServer::Connection& connection, const std::string&, int number) {
    connection.Send(StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", page.size(), "\r\n\r\n",
                           page.substr(0, number == 0 ? 20 : page.size())));
    connection.Close();
  });
  scheme_ = "s3";
  access_.endpoint = StrCat("http://127.0.0.1:", server.port());
  EXPECT_THAT(Texts(List(Ask("dir/"))), ElementsAre(Url("dir/a") + " 1"));
}

TEST(MakeSources, KnowsTheObjectStorages) {
  asio::io_context io;
  const std::unique_ptr<SourceSet> sources = MakeSources(io, SourceOptions());
  for (const char* scheme : {"s3", "gs", "abs", "oss", "obs", "cos"}) {
    EXPECT_TRUE(sources->For(StrCat(scheme, "://bucket/key")).ok()) << scheme;
  }
}

}  // namespace
}  // namespace dragonfly::source
