// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "base/text.h"
#include "tests/support/python_server.h"
#include "tests/support/scripted_server.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/source/source_fixture.h"

namespace dragonfly::source {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class HubSource : public SourceFixture {
 protected:
  HubSource() {
    files_.Write("models/owner/name/config.json", "{}");
    files_.Write("models/owner/name/onnx/deep/model.bin", large_);
    files_.Write("models/owner/name/onnx/read me.txt", "text");
    files_.Write("datasets/owner/name/train.csv", "1,2");
  }
  void Start(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), files_.path().string());
    server_ = std::make_unique<testing::PythonServer>("hub_server.py", arguments);
    access_.hugging_face.base_url = StrCat("http://127.0.0.1:", server_->port(), "/");
    access_.model_scope.base_url = access_.hugging_face.base_url;
  }

  const std::string large_ = Pattern(200'000);
  testing::TempDir files_;
  std::unique_ptr<testing::PythonServer> server_;
};

TEST_F(HubSource, HuggingFaceReadsSmallAndLargeFiles) {
  Start({"--token", "hf_secret"});
  access_.hugging_face.token = "hf_secret";
  const std::string small = "hf://owner/name/onnx/read%20me.txt";
  ASSERT_TRUE(ReadAll(small).ok());
  EXPECT_EQ(sink_.text, "text");

  const std::string large = "hf://models/owner/name/onnx/deep/model.bin";
  const absl::StatusOr<OriginStat> stat = Stat(large);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->content_length, large_.size());
  EXPECT_TRUE(stat->accepts_ranges);
  const absl::Status read = Read(large, {5'000, 100'000}, VersionOf(*stat));
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == large_.substr(5'000, 100'000));

  const absl::StatusOr<OriginStat> dataset = Stat("hf://datasets/owner/name/train.csv");
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ(dataset->content_length, 3u);
}

TEST_F(HubSource, OpensASmallFileWithOneRequest) {
  const testing::ScriptedServer hub([](testing::ScriptedServer::Connection& connection, const std::string&, int) {
    connection.Send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\ntext");
  });
  access_.hugging_face.base_url = hub.Url("");
  access_.model_scope.base_url = hub.Url("");
  for (const std::string url : {"hf://owner/name/file", "modelscope://owner/name/file"}) {
    sink_.text.clear();
    const auto opened = [&](const OriginStat& stat) -> absl::StatusOr<ByteSink*> {
      EXPECT_EQ(stat.content_length, 4u);
      return &sink_;
    };
    const absl::StatusOr<Opening> opening = Run(SourceFor(url).Open(Ask(url), 1 << 20, opened, limiter_));
    ASSERT_TRUE(opening.ok()) << opening.status();
    EXPECT_TRUE(opening->body.ok()) << opening->body;
    EXPECT_EQ(sink_.text, "text");
  }
  EXPECT_EQ(hub.requests().size(), 2u);
}

TEST_F(HubSource, ModelScopeReadsSmallAndLargeFiles) {
  Start({"--token", "ms_secret", "--revision", "master"});
  access_.model_scope.token = "ms_secret";
  ASSERT_TRUE(ReadAll("modelscope://owner/name/config.json").ok());
  EXPECT_EQ(sink_.text, "{}");
  const absl::Status read = Read("modelscope://owner/name/onnx/deep/model.bin", {199'999, 1});
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_TRUE(sink_.text == large_.substr(199'999));
  EXPECT_TRUE(Stat("modelscope://datasets/owner/name/train.csv").ok());
}

TEST_F(HubSource, TheTokenWinsOverAHeaderAndStandsInNoMessage) {
  Start({"--token", "right"});
  access_.hugging_face.token = "wrong-secret";
  const absl::Status refused = Stat("hf://owner/name/config.json").status();
  EXPECT_EQ(CodeOf(refused), 401);
  EXPECT_THAT(refused.ToString(), HasSubstr("Invalid credentials"));
  EXPECT_THAT(refused.ToString(), Not(HasSubstr("wrong-secret")));
  access_.hugging_face.token = "right";
  header_ = {{"authorization", "Bearer other"}};
  EXPECT_TRUE(Stat("hf://owner/name/config.json").ok());
  access_.hugging_face.token = "right\r\nX: y";
  EXPECT_TRUE(absl::IsInvalidArgument(Stat("hf://owner/name/config.json").status()));
}

TEST_F(HubSource, AsksForTheRevision) {
  Start({"--revision", "refs/pr/1"});
  EXPECT_EQ(CodeOf(Stat("hf://owner/name/config.json").status()), 404);
  access_.hugging_face.revision = "refs/pr/1";
  EXPECT_TRUE(Stat("hf://owner/name/config.json").ok());
  EXPECT_TRUE(List("hf://owner/name/").ok());
  access_.model_scope.revision = "refs/pr/1";
  EXPECT_TRUE(Stat("modelscope://owner/name/config.json").ok());
  EXPECT_TRUE(List("modelscope://owner/name/").ok());
}

TEST_F(HubSource, HuggingFaceListsByItsTreePageByPage) {
  Start({"--token", "t"});
  access_.hugging_face.token = "t";
  const absl::StatusOr<std::vector<OriginEntry>> all = List("hf://owner/name/");
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_THAT(Described(*all),
              ElementsAre("hf://owner/name/config.json 2", "hf://owner/name/onnx/", "hf://owner/name/onnx/deep/",
                          "hf://owner/name/onnx/deep/model.bin 200000", "hf://owner/name/onnx/read%20me.txt 4"));
  const absl::StatusOr<std::vector<OriginEntry>> below = List("hf://models/owner/name/onnx/");
  ASSERT_TRUE(below.ok()) << below.status();
  EXPECT_THAT(Described(*below),
              ElementsAre("hf://models/owner/name/onnx/deep/", "hf://models/owner/name/onnx/deep/model.bin 200000",
                          "hf://models/owner/name/onnx/read%20me.txt 4"));
  for (const OriginEntry& entry : *all) {
    if (!entry.is_directory) EXPECT_TRUE(ReadAll(entry.url).ok()) << entry.url;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(List("hf://owner/name/", 4).status()));
  EXPECT_EQ(CodeOf(List("hf://owner/name/missing/").status()), 404);
  EXPECT_EQ(CodeOf(List("hf://owner/missing/").status()), 404);
}

TEST_F(HubSource, HuggingFaceTakesNoPartOfATreeForTheWhole) {
  for (const char* link : {"<http://hub/tree?page=2>; rel=\"next\"", "<http://hub/tree?cursor=same>; rel=\"next\""}) {
    const std::string body = R"([{"type":"file","path":"a","size":1}])";
    const std::string page =
        StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(), "\r\nLink: ", std::string(link), "\r\n\r\n", body);
    testing::ScriptedServer server({page});
    access_.hugging_face.base_url = server.Url("");
    const absl::Status status = List("hf://owner/name/").status();
    EXPECT_TRUE(absl::IsInternal(status)) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("the tree of the repository")) << link;
  }
}

TEST_F(HubSource, HuggingFaceListsAMirrorWithoutTrees) {
  Start({"--no-tree"});
  const absl::StatusOr<std::vector<OriginEntry>> below = List("hf://owner/name/onnx/");
  ASSERT_TRUE(below.ok()) << below.status();
  EXPECT_THAT(Described(*below),
              ElementsAre("hf://owner/name/onnx/deep/model.bin 200000", "hf://owner/name/onnx/read%20me.txt 4"));
  EXPECT_EQ(CodeOf(List("hf://owner/name/missing/").status()), 404);
}

TEST_F(HubSource, ModelScopeLists) {
  Start({"--token", "t", "--revision", "master"});
  access_.model_scope.token = "t";
  const absl::StatusOr<std::vector<OriginEntry>> below = List("modelscope://owner/name/onnx/");
  ASSERT_TRUE(below.ok()) << below.status();
  EXPECT_THAT(Described(*below),
              ElementsAre("modelscope://owner/name/onnx/deep/", "modelscope://owner/name/onnx/deep/model.bin 200000",
                          "modelscope://owner/name/onnx/read%20me.txt 4"));
  access_.model_scope.revision = "other";
  const absl::Status refused = List("modelscope://owner/name/").status();
  EXPECT_TRUE(absl::IsInternal(refused)) << refused;
  EXPECT_THAT(refused.ToString(), HasSubstr("revision not found"));
}

TEST_F(HubSource, RefusesUrlsThatNameNoFile) {
  Start();
  for (const char* url :
       {"hf://owner", "hf://owner/", "hf://models/owner", "hf://owner/name", "hf://owner/name/",
        "hf://owner:80/name/file", "hf://user@owner/name/file", "modelscope://owner/name/", "hf:///owner/name/file"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Stat(url).status())) << url << ": " << Stat(url).status();
  }
  EXPECT_EQ(CodeOf(Stat("modelscope://spaces/owner/name").status()), 404) << "no type of ModelScope's";
  access_.hugging_face.base_url = "file:///etc/";
  EXPECT_TRUE(absl::IsInvalidArgument(Stat("hf://owner/name/file").status()));
}

}  // namespace
}  // namespace dragonfly::source
