// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>

#include "base/unique_fd.h"
#include "rpc/unix_client.h"
#include "runtime/timeout.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

class ServerTest : public RpcTest {
 protected:
  // A unary call by name with serialised messages.
  grpc::Status CallRaw(const std::string& method, const std::string& request, std::string* reply) {
    grpc::GenericStub stub(pool_->Get(address_));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const grpc::Slice slice(request);
    const grpc::ByteBuffer in(&slice, 1);
    grpc::ByteBuffer out;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, method, grpc::StubOptions(), &in, &out,
                   [&](grpc::Status status) { done.set_value(std::move(status)); });
    grpc::Status status = done.get_future().get();
    grpc::Slice bytes;
    if (status.ok() && out.DumpToSingleSlice(&bytes).ok())
      reply->assign(reinterpret_cast<const char*>(bytes.begin()), bytes.size());
    return status;
  }

  // grpc.health.v1.HealthCheckRequest{service = 1}; the reply holds {status = 1}: 1 SERVING, 2 NOT_SERVING.
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty()) request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    std::string reply;
    const grpc::Status status = CallRaw("/grpc.health.v1.Health/Check", request, &reply);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return "not found";
    if (!status.ok()) return status.error_message();
    if (reply == "\x08\x01") return "serving";
    if (reply == "\x08\x02") return "not serving";
    return "unexpected reply";
  }
};

asio::awaitable<absl::Status> WriteAfter(std::shared_ptr<ResponseWriter<SyncPiecesResponse>> writer, TimePoint when) {
  co_await runtime::SleepUntil(when);
  SyncPiecesResponse response;
  response.set_number(1);
  co_return co_await writer->Write(std::move(response));
}

// Clients of the original put 10 or 15 s on streams that live for hours, and mean the response headers.
TEST_F(ServerTest, DeadlineHeaderDoesNotCutAStream) {
  upload_.sync_pieces = [this](const SyncPiecesRequest&, std::shared_ptr<ResponseWriter<SyncPiecesResponse>> writer) {
    const auto left = upload_.deadline - std::chrono::system_clock::now();
    return WriteAfter(std::move(writer), Clock::now() + std::chrono::duration_cast<Clock::duration>(left) +
                                             std::chrono::milliseconds(100));
  };
  Serve();
  grpc::ClientContext context;
  // As a header only: our own library would enforce a deadline that it knows of.
  context.AddMetadata("grpc-timeout", "200m");
  const auto reader = upload_stub_->SyncPieces(&context, SyncPiecesRequest());
  reader->WaitForInitialMetadata();
  SyncPiecesResponse response;
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_FALSE(reader->Read(&response));
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_LT(upload_.deadline, std::chrono::system_clock::now()) << "the header reached the server and has passed";
}

TEST_F(ServerTest, SendsInitialMetadataBeforeTheFirstMessage) {
  Flag release;
  runtime::Signal signal;
  upload_.sync_pieces = [signal](const SyncPiecesRequest&, std::shared_ptr<ResponseWriter<SyncPiecesResponse>> writer) {
    auto work = [](runtime::Signal s,
                   std::shared_ptr<ResponseWriter<SyncPiecesResponse>> w) -> asio::awaitable<absl::Status> {
      co_await s.Wait(0);
      SyncPiecesResponse response;
      co_return co_await w->Write(std::move(response));
    };
    return work(signal, std::move(writer));
  };
  scheduler_.open = [](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message = [](AnnouncePeerRequest) {}, .on_end = [session](bool) { session->Finish(absl::OkStatus()); }};
  };
  Serve();
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = upload_stub_->SyncPieces(&context, SyncPiecesRequest());
    reader->WaitForInitialMetadata();  // would last until the deadline
    signal.Notify();
    SyncPiecesResponse response;
    EXPECT_TRUE(reader->Read(&response));
    EXPECT_TRUE(reader->Finish().ok());
  }
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto stream = scheduler_stub_->AnnouncePeer(&context);
    stream->WaitForInitialMetadata();
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  }
}

TEST_F(ServerTest, HealthKnowsTheServerAndTheNamesThatWereSet) {
  Serve();
  EXPECT_EQ(Health(""), "serving");
  EXPECT_EQ(Health("dfdaemon.v2.DfdaemonUpload"), "not found");
  server_->SetServing("dfdaemon.v2.DfdaemonUpload", true);
  EXPECT_EQ(Health("dfdaemon.v2.DfdaemonUpload"), "serving");
  server_->SetServing("dfdaemon.v2.DfdaemonUpload", false);
  EXPECT_EQ(Health("dfdaemon.v2.DfdaemonUpload"), "not serving");
  EXPECT_EQ(Health(""), "serving");
}

TEST_F(ServerTest, HealthTurnsNotServingBeforeTheServerGoes) {
  TempDir dir;
  ServerOptions options;
  options.addresses = {"unix:" + dir.File("s.sock")};
  Serve(options);
  auto client = UnixClient::Connect(dir.File("s.sock"));
  ASSERT_TRUE(client.ok());
  // Watch tells each change of the status.
  std::vector<std::string> seen;
  std::thread stopper;
  const absl::Status status = (*client)->Call(
      "/grpc.health.v1.Health/Watch", "",
      [&](std::string_view message) {
        seen.emplace_back(message);
        if (seen.size() == 1) stopper = std::thread([this] { server_->Shutdown(Clock::now() + kPatience); });
        return seen.size() == 2 ? absl::AbortedError("enough") : absl::OkStatus();
      },
      Soon());
  client->reset();  // would leave the server's ping at shutdown unanswered
  stopper.join();
  EXPECT_THAT(seen, testing::ElementsAre("\x08\x01", "\x08\x02"));
}

// ServerReflectionRequest{list_services = 7}.
TEST_F(ServerTest, ReflectionListsTheServices) {
  Serve();
  std::string reply;
  const grpc::Status status =
      CallRaw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x00", 2), &reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(reply, testing::HasSubstr("dfdaemon.v2.DfdaemonUpload"));
  EXPECT_THAT(reply, testing::HasSubstr("grpc.health.v1.Health"));
}

TEST_F(ServerTest, ReflectionCanBeLeftOut) {
  ServerOptions options;
  options.reflection = false;
  Serve(options);
  std::string reply;
  EXPECT_EQ(CallRaw("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "", &reply).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerTest, BusyPortIsAnErrorThatNamesTheAddress) {
  Serve();
  ServerOptions options;
  options.addresses = {address_};
  const absl::StatusOr<std::unique_ptr<Server>> second = Server::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr(address_));
}

class UnixSocketTest : public ServerTest {
 protected:
  absl::Status TryServe(unsigned mode = 0660) {
    ServerOptions options;
    options.addresses = {"unix:" + path_};
    options.unix_socket_mode = mode;
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options);
    if (server.ok()) (*server)->Shutdown(Clock::now());
    return server.status();
  }

  // What a process leaves behind that was killed.
  void LeaveStaleSocket() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(fd.get(), 1), 0);
  }

  TempDir dir_;
  std::string path_ = dir_.File("run.sock");
};

TEST_F(UnixSocketTest, MakesTheDirectoryAndTheModeAndCleansUp) {
  path_ = dir_.File("a/b/run.sock");
  ServerOptions options;
  options.addresses = {"unix:" + path_};
  options.unix_socket_mode = 0640;
  Serve(options);
  struct stat state{};
  ASSERT_EQ(::stat(path_.c_str(), &state), 0);
  EXPECT_TRUE(S_ISSOCK(state.st_mode));
  EXPECT_EQ(state.st_mode & 0777, 0640u);
  EXPECT_EQ(server_->port(), 0);
  EXPECT_EQ(Health(""), "serving");
  server_->Shutdown(Clock::now());
  EXPECT_TRUE(std::filesystem::is_empty(dir_.File("a/b")));
}

TEST_F(UnixSocketTest, ReplacesASocketThatNobodyServes) {
  LeaveStaleSocket();
  EXPECT_EQ(TryServe(), absl::OkStatus());
}

TEST_F(UnixSocketTest, LeavesASocketThatIsServedToItsOwner) {
  ServerOptions options;
  options.addresses = {"unix:" + path_};
  Serve(options);
  EXPECT_EQ(TryServe().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Health(""), "serving");
}

TEST_F(UnixSocketTest, NeverRemovesAFileThatIsNoSocket) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(TryServe().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixSocketTest, DoesNotRemoveTheSocketOfASuccessor) {
  ServerOptions options;
  options.addresses = {"unix:" + path_};
  Serve(options);
  std::filesystem::remove(path_);
  LeaveStaleSocket();
  server_->Shutdown(Clock::now());
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(UnixSocketTest, RefusesAPathThatIsTooLong) {
  path_ = dir_.File(std::string(120, 'x'));
  EXPECT_EQ(TryServe().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dragonfly::rpc
