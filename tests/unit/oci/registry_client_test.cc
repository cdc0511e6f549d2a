// SPDX-License-Identifier: Apache-2.0
// Registries that a real one does not play: wrong digests, redirects, places for tokens. The real ones are in
// tests/e2e/preheat_test.cc.
#include "oci/registry_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "http/server.h"
#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::oci {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;
using ::testing::Not;

std::string DigestOf(const std::string& text) {
  Hasher hasher(DigestAlgorithm::kSha256);
  hasher.Update(std::as_bytes(std::span(text.data(), text.size())));
  return hasher.Finish().ToString();
}

const std::string kLayer = "sha256:" + std::string(64, 'b');
const std::string kImage = R"({"schemaVersion":2,"config":{"mediaType":"c","digest":"sha256:)" + std::string(64, 'a') +
                           R"(","size":1},"layers":[{"mediaType":"l","digest":")" + kLayer + R"(","size":2}]})";

// An HTTP server whose answers are functions of the request.
class Web {
 public:
  using Answer = std::function<http::Response(const http::Request&)>;
  explicit Web(runtime::IoThreads& io) : io_(io) {
    http::ServerOptions options;
    options.ip = "127.0.0.1";
    auto server =
        http::Server::Start(options, io, [this](http::Request request) { return Handle(std::move(request)); });
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  ~Web() { runtime::RunOn(io_.At(0), server_->Stop()); }
  std::string url() const { return StrCat("http://127.0.0.1:", server_->port()); }
  void On(const std::string& path, Answer answer) { answers_[path] = std::move(answer); }
  void On(const std::string& path, const std::string& body) {
    On(path, [body](const http::Request&) {
      http::Response response;
      response.body = body;
      return response;
    });
  }
  std::vector<http::Request> requests;

 private:
  asio::awaitable<http::Response> Handle(http::Request request) {
    requests.push_back(request);
    const auto found = answers_.find(request.target);
    http::Response missing;
    missing.status = 404;
    co_return found == answers_.end() ? missing : found->second(request);
  }

  runtime::IoThreads& io_;
  std::map<std::string, Answer> answers_;
  std::unique_ptr<http::Server> server_;
};

class RegistryClientTest : public ::testing::Test {
 protected:
  ImageRequest Request(const std::string& reference = "tag") {
    ImageRequest request;
    request.image = *ImageUrl::Parse(registry_.url() + "/v2/app/manifests/" + reference);
    request.platform = *Platform::Parse("linux/amd64");
    request.deadline = Clock::now() + std::chrono::seconds(20);
    return request;
  }
  absl::StatusOr<ResolvedImage> Resolve(ImageRequest request) {
    const auto run = [](asio::io_context& io, ImageRequest asked) -> asio::awaitable<absl::StatusOr<ResolvedImage>> {
      http::CurlClient http(io);
      RegistryClient client(http);
      co_return co_await client.Resolve(std::move(asked));
    };
    return runtime::RunOn(io_.At(0), run(io_.At(0), std::move(request)));
  }
  static http::Response Challenge(const std::string& how) {
    http::Response response;
    response.status = 401;
    response.header.emplace_back("WWW-Authenticate", how);
    return response;
  }

  runtime::IoThreads io_{1};
  Web registry_{io_};
  Web other_{io_};
};

TEST_F(RegistryClientTest, TakesTheManifestOfThePlatformAndChecksItsDigest) {
  const std::string list = R"({"schemaVersion":2,"manifests":[{"digest":")" + DigestOf(kImage) +
                           R"(","size":1,"platform":{"os":"linux","architecture":"amd64"}},{"digest":")" + kLayer +
                           R"(","size":1,"platform":{"os":"linux","architecture":"arm64"}}]})";
  registry_.On("/v2/app/manifests/tag", list);
  registry_.On("/v2/app/manifests/" + DigestOf(kImage), kImage);
  const auto image = Resolve(Request());
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->blobs.size(), 2u);
  EXPECT_EQ(image->blobs[1].digest, kLayer);
  EXPECT_EQ(image->authorization, "");

  registry_.On("/v2/app/manifests/" + DigestOf(kImage), kImage + " ");
  EXPECT_TRUE(absl::IsDataLoss(Resolve(Request()).status()));
  ImageRequest other = Request();
  other.platform = *Platform::Parse("linux/s390x");
  EXPECT_EQ(MessageOf(Resolve(other).status()), "no matching manifest for platform linux/s390x");
  EXPECT_TRUE(absl::IsNotFound(Resolve(Request("none")).status()));
}

TEST_F(RegistryClientTest, FetchesATokenAndUsesItForTheRegistryAlone) {
  registry_.On("/v2/app/manifests/tag", [&](const http::Request& request) {
    if (request.Find("authorization") != "Bearer t0ken") {
      return Challenge("Bearer realm=\"" + other_.url() + "/token\",service=\"a registry\",scope=\"x\"");
    }
    http::Response response;
    response.body = kImage;
    return response;
  });
  other_.On("/token?service=a%20registry&scope=repository%3Aapp%3Apull", R"({"access_token":"t0ken"})");
  ImageRequest request = Request();
  request.username = "user";
  request.password = "hunter2";
  request.header = {{"X-Key", "registry only"}};
  const auto image = Resolve(request);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->authorization, "Bearer t0ken");
  ASSERT_EQ(other_.requests.size(), 1u);
  EXPECT_EQ(other_.requests[0].Find("authorization"), "Basic dXNlcjpodW50ZXIy");
  EXPECT_EQ(other_.requests[0].Find("x-key"), "");
  EXPECT_EQ(registry_.requests[0].Find("x-key"), "registry only");
}

TEST_F(RegistryClientTest, AnAuthorizationOfTheCallerIsUsedAsItStands) {
  registry_.On("/v2/app/manifests/tag", [](const http::Request&) { return Challenge("Basic realm=\"r\""); });
  ImageRequest request = Request();
  request.username = "user";
  request.header = {{"authorization", "Bearer own"}};
  EXPECT_TRUE(absl::IsUnauthenticated(Resolve(request).status()));
  ASSERT_EQ(registry_.requests.size(), 1u);
  EXPECT_EQ(registry_.requests[0].Find("authorization"), "Bearer own");
}

TEST_F(RegistryClientTest, NoCredentialsGoWhereTheRegistryRedirects) {
  registry_.On("/v2/app/manifests/tag", [&](const http::Request&) {
    http::Response response;
    response.status = 307;
    response.header.emplace_back("Location", other_.url() + "/elsewhere");
    return response;
  });
  other_.On("/elsewhere", kImage);
  ImageRequest request = Request();
  request.header = {{"Authorization", "Bearer own"}, {"X-Key", "k"}};
  ASSERT_TRUE(Resolve(request).ok());
  ASSERT_EQ(other_.requests.size(), 1u);
  EXPECT_EQ(other_.requests[0].Find("authorization"), "");
  EXPECT_EQ(other_.requests[0].Find("x-key"), "");
  EXPECT_THAT(std::string(other_.requests[0].Find("accept")), HasSubstr("image.manifest"));
}

TEST_F(RegistryClientTest, GivesUpARegistryThatLeadsNowhere) {
  registry_.On("/v2/app/manifests/tag", [&](const http::Request&) {
    http::Response response;
    response.status = 307;
    response.header.emplace_back("Location", registry_.url() + "/v2/app/manifests/tag");
    return response;
  });
  EXPECT_TRUE(absl::IsInvalidArgument(Resolve(Request()).status()));
  // A list that names itself.
  registry_.On("/v2/app/manifests/big", std::string(kManifestMax + 1, ' '));
  EXPECT_TRUE(absl::IsResourceExhausted(Resolve(Request("big")).status()));
  registry_.On("/v2/app/manifests/closed",
               [](const http::Request&) { return Challenge("Bearer realm=\"file:///x\""); });
  const absl::Status closed = Resolve(Request("closed")).status();
  EXPECT_TRUE(absl::IsUnauthenticated(closed));
  EXPECT_THAT(std::string(MessageOf(closed)), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace dragonfly::oci
