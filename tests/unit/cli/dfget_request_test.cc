// SPDX-License-Identifier: Apache-2.0
#include "cli/dfget_request.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace dragonfly::cli {
namespace {

const std::vector<std::string>& AllOriginFlags() {
  static const std::vector<std::string> flags = {"--storage-region=r",
                                                 "--storage-endpoint=http://e",
                                                 "--storage-access-key-id=id",
                                                 "--storage-access-key-secret=secret",
                                                 "--storage-session-token=session",
                                                 "--storage-security-token=security",
                                                 "--storage-credential-path=/key.json",
                                                 "--storage-predefined-acl=private",
                                                 "--storage-insecure-skip-verify=true",
                                                 "--hdfs-delegation-token=delegation",
                                                 "--hf-token=hf",
                                                 "--hf-revision=v1",
                                                 "--hf-base-url=http://hub",
                                                 "--ms-token=ms",
                                                 "--ms-revision=v2",
                                                 "--ms-base-url=http://scope"};
  return flags;
}

DfgetOptions Options(const std::string& url, const std::vector<std::string>& flags = {}) {
  std::vector<std::string> arguments = {url, "-O", "/out"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  ParsedDfgetOptions parsed = ParseDfgetOptions(arguments);
  EXPECT_FALSE(parsed.exit_code.has_value());
  return parsed.options;
}

common::v2::Download Request(const std::string& url, const std::vector<std::string>& flags = {}) {
  return MakeDownloadRequest(Options(url, flags), url, "/out").download();
}

void ExpectAllOfTheStorage(const common::v2::ObjectStorage& storage) {
  EXPECT_EQ(storage.region(), "r");
  EXPECT_EQ(storage.endpoint(), "http://e");
  EXPECT_EQ(storage.access_key_id(), "id");
  EXPECT_EQ(storage.access_key_secret(), "secret");
  EXPECT_EQ(storage.session_token(), "session");
  EXPECT_EQ(storage.security_token(), "security");
  EXPECT_EQ(storage.credential_path(), "/key.json");
  EXPECT_EQ(storage.predefined_acl(), "private");
  EXPECT_TRUE(storage.insecure_skip_verify());
}

TEST(DfgetRequest, SendsObjectStorageOptionsToObjectStoragesOnly) {
  for (const char* const scheme : {"s3", "gs", "abs", "oss", "obs", "cos"}) {
    const common::v2::Download download = Request(std::string(scheme) + "://bucket/key", AllOriginFlags());
    ExpectAllOfTheStorage(download.object_storage());
    EXPECT_FALSE(download.has_hdfs() || download.has_hugging_face() || download.has_model_scope()) << scheme;
  }
}

TEST(DfgetRequest, SendsEachTokenToItsOriginOnly) {
  const common::v2::Download hdfs = Request("hdfs://namenode/f", AllOriginFlags());
  EXPECT_EQ(hdfs.hdfs().delegation_token(), "delegation");
  EXPECT_FALSE(hdfs.has_object_storage() || hdfs.has_hugging_face() || hdfs.has_model_scope());
  const common::v2::Download hub = Request("hf://owner/repository/f", AllOriginFlags());
  EXPECT_EQ(hub.hugging_face().token(), "hf");
  EXPECT_EQ(hub.hugging_face().revision(), "v1");
  EXPECT_EQ(hub.hugging_face().base_url(), "http://hub");
  EXPECT_FALSE(hub.has_object_storage() || hub.has_hdfs() || hub.has_model_scope());
  const common::v2::Download scope = Request("modelscope://owner/repository/f", AllOriginFlags());
  EXPECT_EQ(scope.model_scope().token(), "ms");
  EXPECT_EQ(scope.model_scope().revision(), "v2");
  EXPECT_EQ(scope.model_scope().base_url(), "http://scope");
  EXPECT_FALSE(scope.has_object_storage() || scope.has_hdfs() || scope.has_hugging_face());
  const common::v2::Download http = Request("https://host/f", AllOriginFlags());
  EXPECT_FALSE(http.has_object_storage() || http.has_hdfs() || http.has_hugging_face() || http.has_model_scope());
}

TEST(DfgetRequest, LeavesOutWhatIsNotGiven) {
  const common::v2::Download storage = Request("s3://bucket/key");
  EXPECT_TRUE(storage.has_object_storage());
  EXPECT_FALSE(storage.object_storage().has_access_key_secret() || storage.object_storage().has_insecure_skip_verify());
  EXPECT_EQ(storage.object_storage().predefined_acl(), "publicRead");
  EXPECT_FALSE(Request("hdfs://namenode/f").has_hdfs());
  EXPECT_EQ(Request("hf://o/r/f").hugging_face().revision(), "main");
  EXPECT_FALSE(Request("hf://o/r/f").hugging_face().has_token());
  EXPECT_EQ(Request("modelscope://o/r/f").model_scope().revision(), "master");
}

TEST(DfgetRequest, TakesCredentialsFromTheEnvironment) {
  std::vector<std::string> names;
  for (const std::string& flag : AllOriginFlags()) {
    const size_t equals = flag.find('=');
    std::string name = "DFGET_";
    for (const char c : flag.substr(2, equals - 2)) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
    ::setenv(name.c_str(), flag.substr(equals + 1).c_str(), 1);
    names.push_back(name);
  }
  const common::v2::Download storage = Request("s3://bucket/key");
  const common::v2::Download hdfs = Request("hdfs://namenode/f");
  const common::v2::Download hub = Request("hf://o/r/f");
  const common::v2::Download scope = Request("modelscope://o/r/f");
  const common::v2::Download given = Request("s3://bucket/key", {"--storage-region=command-line"});
  for (const std::string& name : names) ::unsetenv(name.c_str());
  ExpectAllOfTheStorage(storage.object_storage());
  EXPECT_EQ(hdfs.hdfs().delegation_token(), "delegation");
  EXPECT_EQ(hub.hugging_face().token() + hub.hugging_face().revision() + hub.hugging_face().base_url(),
            "hfv1http://hub");
  EXPECT_EQ(scope.model_scope().token() + scope.model_scope().revision() + scope.model_scope().base_url(),
            "msv2http://scope");
  EXPECT_EQ(given.object_storage().region(), "command-line");
}

TEST(DfgetRequest, CarriesTheOptionsOfTheTask) {
  const common::v2::Download plain = Request("https://host/f");
  EXPECT_TRUE(plain.has_tag() && plain.tag().empty());
  EXPECT_TRUE(plain.has_application() && plain.application().empty());
  EXPECT_EQ(plain.output_path(), "/out");
  EXPECT_EQ(plain.timeout().seconds(), 7200);
  EXPECT_FALSE(plain.has_content_for_calculating_task_id() || plain.need_piece_content() || plain.force_hard_link());
  const common::v2::Download given =
      Request("https://host/f", {"--content-for-calculating-task-id", "same", "--force-hard-link",
                                 "--disable-back-to-source", "-p", "3", "--tag", "t", "-H", "X-A: b"});
  EXPECT_EQ(given.content_for_calculating_task_id(), "same");
  EXPECT_TRUE(given.force_hard_link());
  EXPECT_TRUE(given.disable_back_to_source());
  EXPECT_EQ(given.priority(), common::v2::LEVEL3);
  EXPECT_EQ(given.request_header().at("X-A"), "b");
  const common::v2::Download transferred = Request("https://host/f", {"--transfer-from-dfdaemon"});
  EXPECT_TRUE(transferred.need_piece_content());
  EXPECT_FALSE(transferred.has_output_path());
}

TEST(DfgetRequest, NamesTheUnitOfARange) {
  const std::string url = "http://o/f";
  EXPECT_EQ(Request(url, {"--range=5-9"}).request_header().at("Range"), "bytes=5-9");
  EXPECT_EQ(Request(url, {"--range=bytes=5-9"}).request_header().at("Range"), "bytes=5-9");
}

TEST(DfgetRequest, ListsWithTheCredentialsOfTheOrigin) {
  const auto request = MakeListRequest(Options("s3://bucket/d/", AllOriginFlags()), "s3://bucket/d/");
  EXPECT_EQ(request.url(), "s3://bucket/d/");
  EXPECT_FALSE(request.task_id().empty());
  ExpectAllOfTheStorage(request.object_storage());
  EXPECT_FALSE(request.has_hdfs() || request.has_hugging_face() || request.has_model_scope());
}

}  // namespace
}  // namespace dragonfly::cli
