// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "manager/v2/manager.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/client_call.h"
#include "rpc/server.h"
#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::rpc {
namespace {

using google::protobuf::Empty;
using manager::v2::KeepAliveRequest;

constexpr std::chrono::seconds kPatience{30};

// Counts the messages of the streams and ends one as the test says.
class Manager final : public manager::v2::Manager::Service {
 public:
  grpc::Status KeepAlive(grpc::ServerContext* context, grpc::ServerReader<KeepAliveRequest>* reader, Empty*) override {
    KeepAliveRequest request;
    while (reader->Read(&request)) {
      const absl::MutexLock lock(&mutex_);
      hosts_.push_back(request.hostname());
      if (hosts_.size() >= end_after) return grpc::Status(grpc::INTERNAL, "record not found");
    }
    const absl::MutexLock lock(&mutex_);
    ended_ = true;
    cancelled_ = context->IsCancelled();
    return grpc::Status::OK;
  }

  std::vector<std::string> WaitForHosts(size_t count) const {
    const absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return hosts_.size() >= count; };
    mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::FromChrono(kPatience));
    return hosts_;
  }
  // Whether the stream that has ended was cancelled; false also when none ends.
  bool WaitForCancel() const {
    const absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&ended_), absl::FromChrono(kPatience));
    return ended_ && cancelled_;
  }

  size_t end_after = SIZE_MAX;

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::string> hosts_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

class ClientStreamTest : public testing::Test {
 protected:
  using Stream = ClientStream<KeepAliveRequest, Empty>;

  ClientStreamTest() {
    ServerOptions options;
    options.addresses = {"127.0.0.1:0"};
    options.services = {&manager_};
    server_ = *Server::Start(options);
  }
  ~ClientStreamTest() override { server_->Shutdown(Clock::now()); }

  std::shared_ptr<Stream> Open() {
    const std::shared_ptr<manager::v2::Manager::Stub> stub =
        manager::v2::Manager::NewStub(channels_.Get(StrCat("127.0.0.1:", server_->port())));
    return StartClientStream<KeepAliveRequest, Empty>(
        [stub](grpc::ClientContext* context, Empty* answer, grpc::ClientWriteReactor<KeepAliveRequest>* reactor) {
          stub->async()->KeepAlive(context, answer, reactor);
        });
  }
  static KeepAliveRequest From(const std::string& hostname) {
    KeepAliveRequest request;
    request.set_hostname(hostname);
    return request;
  }
  absl::StatusOr<Empty> End(const std::shared_ptr<Stream>& stream, Clock::duration patience = kPatience) {
    return runtime::RunOn(io_.At(0), stream->End(Clock::now() + patience));
  }

  runtime::IoThreads io_{1};
  Manager manager_;
  std::unique_ptr<Server> server_;
  ChannelPool channels_{ChannelOptions()};
};

TEST_F(ClientStreamTest, SendsInOrderAndTakesTheAnswerAtTheEnd) {
  const auto stream = Open();
  for (int i = 0; i < 50; ++i) stream->Write(From(StrCat(i)));
  stream->WritesDone();
  stream->Write(From("too late"));
  EXPECT_TRUE(End(stream).ok());
  const auto hosts = manager_.WaitForHosts(50);
  ASSERT_EQ(hosts.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(hosts[static_cast<size_t>(i)], StrCat(i));
}

TEST_F(ClientStreamTest, StaysOpenUntilItIsEnded) {
  const auto stream = Open();
  stream->Write(From("a"));
  EXPECT_EQ(manager_.WaitForHosts(1).size(), 1u);
  EXPECT_TRUE(absl::IsDeadlineExceeded(End(stream, std::chrono::milliseconds(50)).status()));
  stream->Write(From("b"));
  EXPECT_EQ(manager_.WaitForHosts(2).size(), 2u);
}

TEST_F(ClientStreamTest, TellsWhyTheServerHasEndedIt) {
  manager_.end_after = 1;
  const auto stream = Open();
  stream->Write(From("a"));
  absl::StatusOr<Empty> end = absl::DeadlineExceededError("");
  for (const TimePoint deadline = Clock::now() + kPatience;
       absl::IsDeadlineExceeded(end.status()) && Clock::now() < deadline;) {
    stream->Write(From("b"));
    end = End(stream, std::chrono::milliseconds(10));
  }
  EXPECT_EQ(end.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(end.status().message(), "record not found");
}

TEST_F(ClientStreamTest, DroppingItCancelsTheCall) {
  auto stream = Open();
  stream->Write(From("a"));
  EXPECT_EQ(manager_.WaitForHosts(1).size(), 1u);
  stream.reset();
  EXPECT_TRUE(manager_.WaitForCancel());
}

TEST_F(ClientStreamTest, TellsThatNobodyServes) {
  server_->Shutdown(Clock::now());
  const auto stream = Open();
  stream->Write(From("a"));
  stream->WritesDone();
  EXPECT_TRUE(absl::IsUnavailable(End(stream).status()));
}

}  // namespace
}  // namespace dragonfly::rpc
