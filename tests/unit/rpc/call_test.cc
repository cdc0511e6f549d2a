// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <atomic>
#include <boost/asio/execution.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/backend_error.h"
#include "runtime/timeout.h"
#include "tests/unit/rpc/rpc_fixture.h"

namespace dragonfly::rpc {
namespace {

class CallTest : public RpcTest {};

asio::awaitable<absl::Status> Echo(const DownloadPieceRequest& request, DownloadPieceResponse* response) {
  response->mutable_piece()->set_number(request.piece_number());
  co_return absl::OkStatus();
}

// Waits until it is cancelled.
asio::awaitable<absl::Status> WaitForCancel(Flag* started, Flag* cancelled) {
  started->Set();
  struct OnExit {
    Flag* flag;
    ~OnExit() { flag->Set(); }
  } on_exit{cancelled};
  co_await runtime::SleepUntil(Clock::now() + kPatience);
  co_return absl::InternalError("was not cancelled");
}

SyncPiecesResponse Piece(uint32_t number) {
  SyncPiecesResponse response;
  response.set_number(number);
  return response;
}

using PieceWriter = std::shared_ptr<ResponseWriter<SyncPiecesResponse>>;

TEST_F(CallTest, AnswersAUnaryCall) {
  upload_.download_piece = Echo;
  Serve();
  DownloadPieceRequest request;
  request.set_piece_number(7);
  const auto response = DownloadPiece(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->piece().number(), 7u);
}

TEST_F(CallTest, CarriesCodeTextAndBackendErrorToTheCaller) {
  upload_.download_piece = [](const DownloadPieceRequest&, DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
    BackendError error;
    error.message = "404 Not Found";
    error.header = {{"content-type", "text/html"}};
    error.status_code = 404;
    co_return MakeBackendErrorStatus(error);
  };
  Serve();
  const auto response = DownloadPiece({});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(response.status().message(), "backend error 404 Not Found");
  const std::optional<BackendError> error = GetBackendError(response.status());
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, 404);
  EXPECT_EQ(error->header.at("content-type"), "text/html");
}

TEST_F(CallTest, CarriesAWholePieceBothWays) {
  const std::string content(64 << 20, 'p');
  upload_.download_piece = [&](const DownloadPieceRequest& request, DownloadPieceResponse* response) {
    auto work = [](const DownloadPieceRequest& q, DownloadPieceResponse* r,
                   const std::string* c) -> asio::awaitable<absl::Status> {
      if (q.task_id() != *c) co_return absl::DataLossError("the request came through spoilt");
      r->mutable_piece()->set_content(*c);
      co_return absl::OkStatus();
    };
    return work(request, response, &content);
  };
  ServerOptions options;
  options.receive_message_max = 80 << 20;
  Serve(options);
  DownloadPieceRequest request;
  request.set_task_id(content);
  const auto response = DownloadPiece(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->piece().content(), content);
}

TEST_F(CallTest, RefusesAMessageOverTheServersLimit) {
  upload_.download_piece = Echo;
  ServerOptions options;
  options.receive_message_max = 1 << 20;
  Serve(options);
  DownloadPieceRequest request;
  request.set_task_id(std::string(2 << 20, 'x'));
  EXPECT_EQ(DownloadPiece(request).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CallTest, DeadlineOfTheClientCancelsTheHandler) {
  Flag started;
  Flag cancelled;
  upload_.download_piece = [&](const DownloadPieceRequest&, DownloadPieceResponse*) {
    return WaitForCancel(&started, &cancelled);
  };
  Serve();
  EXPECT_EQ(DownloadPiece({}, std::chrono::milliseconds(100)).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(cancelled.Await());
}

TEST_F(CallTest, CancelledCoroutineCancelsTheCall) {
  Flag started;
  Flag cancelled;
  upload_.download_piece = [&](const DownloadPieceRequest&, DownloadPieceResponse*) {
    return WaitForCancel(&started, &cancelled);
  };
  Serve();
  runtime::TaskGroup callers(client_io().get_executor());
  auto call = [](dfdaemon::v2::DfdaemonUpload::Stub* stub) -> asio::awaitable<void> {
    (void)co_await CallDownloadPiece(stub, DownloadPieceRequest(), kPatience);
  };
  callers.Spawn(call(upload_stub_.get()));
  ASSERT_TRUE(started.Await());
  runtime::RunOn(client_io(), callers.Stop());
  EXPECT_TRUE(cancelled.Await());
}

TEST_F(CallTest, StoppedGroupAnswersUnavailable) {
  Flag started;
  Flag cancelled;
  upload_.download_piece = [&](const DownloadPieceRequest&, DownloadPieceResponse*) {
    return WaitForCancel(&started, &cancelled);
  };
  Serve();
  std::future<absl::StatusOr<DownloadPieceResponse>> running = asio::co_spawn(
      client_io(), CallDownloadPiece(upload_stub_.get(), DownloadPieceRequest(), kPatience), asio::use_future);
  ASSERT_TRUE(started.Await());
  runtime::RunOn(client_io(), group_.Stop());
  EXPECT_EQ(running.get().status().code(), absl::StatusCode::kUnavailable) << "a call that was running";
  EXPECT_EQ(DownloadPiece({}).status().code(), absl::StatusCode::kUnavailable) << "a call that came later";
}

TEST_F(CallTest, ExceptionOfAHandlerEndsOnlyItsCall) {
  upload_.download_piece = [](const DownloadPieceRequest& request,
                              DownloadPieceResponse*) -> asio::awaitable<absl::Status> {
    if (request.piece_number() == 1) throw std::runtime_error("library trouble");
    co_return absl::OkStatus();
  };
  Serve();
  DownloadPieceRequest request;
  request.set_piece_number(1);
  EXPECT_EQ(DownloadPiece(request).status(), absl::InternalError("library trouble"));
  EXPECT_TRUE(DownloadPiece({}).ok());
}

TEST_F(CallTest, StreamDeliversAllMessagesInOrderThenTheEnd) {
  constexpr uint32_t kCount = 1000;
  upload_.sync_pieces = [](const SyncPiecesRequest&, PieceWriter writer) -> asio::awaitable<absl::Status> {
    for (uint32_t i = 0; i < kCount; ++i) {
      SyncPiecesResponse piece = Piece(i);
      const absl::Status status = co_await writer->Write(std::move(piece));
      if (!status.ok()) co_return status;
    }
    co_return absl::OkStatus();
  };
  Serve();
  const auto stream = StartSyncPieces();
  for (uint32_t i = 0; i < kCount; ++i) {
    const auto message = Read(stream);
    ASSERT_TRUE(message.ok()) << message.status();
    ASSERT_TRUE(message->has_value()) << i;
    EXPECT_EQ((*message)->number(), i);
  }
  const auto end = Read(stream);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
}

TEST_F(CallTest, StreamDeliversWhatWasWrittenBeforeAnError) {
  upload_.sync_pieces = [](const SyncPiecesRequest&, PieceWriter writer) -> asio::awaitable<absl::Status> {
    SyncPiecesResponse piece = Piece(3);
    (void)co_await writer->Write(std::move(piece));
    BackendError error;
    error.message = "503";
    error.status_code = 503;
    co_return MakeBackendErrorStatus(error);
  };
  Serve();
  const auto stream = StartSyncPieces();
  const auto message = Read(stream);
  ASSERT_TRUE(message.ok() && message->has_value()) << message.status();
  const auto end = Read(stream);
  EXPECT_EQ(end.status().code(), absl::StatusCode::kInternal);
  const std::optional<BackendError> error = GetBackendError(end.status());
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status_code, 503);
}

TEST_F(CallTest, StreamReadGivesUpAtItsDeadlineAndCancelsTheCall) {
  Flag started;
  Flag cancelled;
  upload_.sync_pieces = [&](const SyncPiecesRequest&, PieceWriter) { return WaitForCancel(&started, &cancelled); };
  Serve();
  const auto stream = StartSyncPieces();
  ASSERT_TRUE(started.Await());
  EXPECT_EQ(Read(stream, Clock::now() + std::chrono::milliseconds(20)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(cancelled.Await());
  EXPECT_EQ(Read(stream).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(CallTest, DroppedStreamCancelsTheHandler) {
  Flag started;
  Flag cancelled;
  upload_.sync_pieces = [&](const SyncPiecesRequest&, PieceWriter) { return WaitForCancel(&started, &cancelled); };
  Serve();
  auto stream = StartSyncPieces();
  ASSERT_TRUE(started.Await());
  stream.reset();
  EXPECT_TRUE(cancelled.Await());
}

TEST_F(CallTest, KeptRunningHandlerSeesThatTheCallerHasGone) {
  Flag started;
  Flag saw_it;
  upload_.keep_running = true;
  upload_.sync_pieces = [&](const SyncPiecesRequest&, PieceWriter writer) {
    auto work = [](PieceWriter w, Flag* s, Flag* saw) -> asio::awaitable<absl::Status> {
      s->Set();
      while (!w->cancelled()) co_await runtime::SleepUntil(Clock::now() + std::chrono::milliseconds(1));
      SyncPiecesResponse piece = Piece(0);
      const absl::Status status = co_await w->Write(std::move(piece));
      if (absl::IsCancelled(status)) saw->Set();
      co_return status;
    };
    return work(std::move(writer), &started, &saw_it);
  };
  Serve();
  auto stream = StartSyncPieces();
  ASSERT_TRUE(started.Await());
  stream.reset();
  EXPECT_TRUE(saw_it.Await());
}

TEST_F(CallTest, SlowReaderStopsTheWriter) {
  constexpr size_t kMessage = 1 << 20;
  constexpr size_t kCount = 200;
  std::atomic<size_t> written{0};
  runtime::Signal progress;
  upload_.download_task = [&](const dfdaemon::v2::DownloadTaskRequest&,
                              std::shared_ptr<ResponseWriter<dfdaemon::v2::DownloadTaskResponse>> writer) {
    auto work = [](std::shared_ptr<ResponseWriter<dfdaemon::v2::DownloadTaskResponse>> w, std::atomic<size_t>* count,
                   runtime::Signal changed) -> asio::awaitable<absl::Status> {
      for (size_t i = 0; i < kCount; ++i) {
        dfdaemon::v2::DownloadTaskResponse response;
        response.mutable_download_piece_finished_response()->mutable_piece()->set_content(std::string(kMessage, 'x'));
        const absl::Status status = co_await w->Write(std::move(response));
        if (!status.ok()) co_return status;
        ++*count;
        changed.Notify();
      }
      co_return absl::OkStatus();
    };
    return work(std::move(writer), &written, progress);
  };
  Serve();
  const auto stream = StartServerStream<dfdaemon::v2::DownloadTaskResponse>(
      [this](grpc::ClientContext* context, const dfdaemon::v2::DownloadTaskRequest* request,
             grpc::ClientReadReactor<dfdaemon::v2::DownloadTaskResponse>* reactor) {
        upload_stub_->async()->DownloadTask(context, request, reactor);
      },
      dfdaemon::v2::DownloadTaskRequest());
  // Until nothing moves for a while: buffers and windows are full.
  auto settle = [](runtime::Signal changed) -> asio::awaitable<bool> {
    for (;;) {
      const uint64_t seen = changed.version();
      if (!co_await changed.Wait(seen, Clock::now() + std::chrono::milliseconds(300))) co_return true;
    }
  };
  ASSERT_TRUE(runtime::RunOn(client_io(), settle(progress)));
  EXPECT_LT(written, kCount / 2) << "the writer ran ahead of the reader without a bound";

  for (size_t i = 0; i < kCount; ++i) {
    const auto message = Read(stream);
    ASSERT_TRUE(message.ok() && message->has_value()) << message.status();
  }
  const auto end = Read(stream);
  EXPECT_TRUE(end.ok() && !end->has_value());
}

// A scheduler that answers each message by one, and ends after a terminal one.
PeerSession::Callbacks EchoUntilFinished(std::shared_ptr<PeerSession> session) {
  return {.on_message =
              [session](AnnouncePeerRequest request) {
                if (request.has_download_peer_finished_request()) {
                  session->Finish(absl::OkStatus());
                  return;
                }
                AnnouncePeerResponse response;
                response.mutable_need_back_to_source_response()->set_description(request.peer_id());
                session->Write(std::move(response));
              },
          .on_end = [session](bool) { session->Finish(absl::CancelledError("the peer has gone")); }};
}

TEST_F(CallTest, BidiDialogueRunsToItsEnd) {
  scheduler_.open = EchoUntilFinished;
  Serve();
  const auto stream = StartAnnouncePeer();
  for (int i = 0; i < 100; ++i) {
    AnnouncePeerRequest request;
    request.set_peer_id(std::to_string(i));
    stream->Write(std::move(request));
  }
  for (int i = 0; i < 100; ++i) {
    const auto message = Read(stream);
    ASSERT_TRUE(message.ok() && message->has_value()) << message.status();
    EXPECT_EQ((*message)->need_back_to_source_response().description(), std::to_string(i));
  }
  AnnouncePeerRequest request;
  request.mutable_download_peer_finished_request();
  stream->Write(std::move(request));
  const auto end = Read(stream);
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_FALSE(end->has_value());
  stream->Write(AnnouncePeerRequest());  // dropped
}

TEST_F(CallTest, BidiServerHearsOfAHalfClose) {
  std::promise<bool> half_closed;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message = [](AnnouncePeerRequest) {},
            .on_end =
                [session, &half_closed](bool half) {
                  half_closed.set_value(half);
                  session->Finish(absl::AbortedError("no terminal message"));
                }};
  };
  Serve();
  const auto stream = StartAnnouncePeer();
  stream->WritesDone();
  EXPECT_EQ(Read(stream).status(), absl::AbortedError("no terminal message"));
  EXPECT_TRUE(half_closed.get_future().get());
}

TEST_F(CallTest, BidiServerHearsOfAClientThatGoesAway) {
  Flag opened;
  Flag ended;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message = [&opened](AnnouncePeerRequest) { opened.Set(); },
            .on_end =
                [session, &ended](bool) {
                  ended.Set();
                  session->Finish(absl::CancelledError());
                }};
  };
  Serve();
  auto stream = StartAnnouncePeer();
  stream->Write(AnnouncePeerRequest());
  ASSERT_TRUE(opened.Await());
  stream.reset();
  EXPECT_TRUE(ended.Await());
}

// An executor that runs `before_first` when it is given its first work, before that work is in the queue. Copies share
// their count.
class Hooked {
 public:
  Hooked(asio::io_context& io, std::function<void()> before_first)
      : inner_(io.get_executor()), state_(std::make_shared<State>(std::move(before_first))) {}

  asio::execution_context& query(asio::execution::context_t) const { return inner_.context(); }
  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) {
    return asio::execution::blocking.never;
  }
  template <typename Work>
  void execute(Work&& work) const {
    if (state_->submissions++ == 0) state_->before_first();
    asio::post(inner_, std::forward<Work>(work));
  }
  bool operator==(const Hooked& other) const noexcept { return state_ == other.state_; }
  int submissions() const { return state_->submissions; }

 private:
  struct State {
    explicit State(std::function<void()> hook) : before_first(std::move(hook)) {}
    std::atomic<int> submissions = 0;
    const std::function<void()> before_first;
  };
  asio::io_context::executor_type inner_;
  std::shared_ptr<State> state_;
};

// The cancellation is served by another thread of gRPC while the opening is on its way to the executor.
TEST_F(CallTest, RoutedBidiServerOpensAStreamBeforeItEndsIt) {
  std::mutex mutex;
  std::vector<std::string> order;
  Flag ended;
  const auto note = [&](std::string what) {
    const std::lock_guard lock(mutex);
    order.push_back(std::move(what));
  };
  std::shared_ptr<BidiStream<AnnouncePeerRequest, AnnouncePeerResponse>> stream;
  Flag started;
  std::optional<Hooked> executor;
  executor.emplace(server_io(), [&] {
    started.Await();
    stream->Cancel();
    // Nothing tells that the cancellation waits its turn: it has this long to come too early.
    const TimePoint until = Clock::now() + std::chrono::milliseconds(300);
    while (executor->submissions() == 1 && Clock::now() < until) std::this_thread::yield();
  });
  scheduler_.route = [&](const AnnouncePeerRequest&) { return asio::any_io_executor(*executor); };
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    note("open");
    return {.on_message = [&note](AnnouncePeerRequest) { note("message"); },
            .on_end =
                [&note, &ended, session](bool) {
                  note("end");
                  session->Finish(absl::CancelledError());
                  ended.Set();
                }};
  };
  Serve();
  stream = StartAnnouncePeer();
  stream->Write(AnnouncePeerRequest());
  started.Set();
  ASSERT_TRUE(ended.Await());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(order, (std::vector<std::string>{"open", "message", "end"}));
}

TEST_F(CallTest, BidiServerHandlesOneMessageAfterAnother) {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message =
                [&, session](AnnouncePeerRequest) {
                  most = std::max(most.load(), ++inside);
                  session->Write(AnnouncePeerResponse());
                  --inside;
                },
            .on_end = [session](bool) { session->Finish(absl::OkStatus()); }};
  };
  Serve();
  const auto stream = StartAnnouncePeer();
  for (int i = 0; i < 50; ++i) stream->Write(AnnouncePeerRequest());
  stream->WritesDone();
  int count = 0;
  for (;; ++count) {
    const auto message = Read(stream);
    ASSERT_TRUE(message.ok()) << message.status();
    if (!message->has_value()) break;
  }
  EXPECT_EQ(count, 50);
  EXPECT_EQ(most, 1);
}

TEST_F(CallTest, BidiSessionGetsAllMessagesInOrderBeforeTheEndAlsoWhenItsThreadIsLate) {
  // More, and larger, than what is read while the thread does not come to it.
  constexpr int kCount = 40;
  const std::string large(PeerSession::kInboxBytesMax, 'x');
  std::vector<std::string> seen;
  std::promise<bool> ended;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message = [&](AnnouncePeerRequest request) { seen.push_back(request.peer_id()); },
            .on_end =
                [&, session](bool half_closed) {
                  session->Finish(absl::OkStatus());
                  ended.set_value(half_closed);
                }};
  };
  Serve();
  std::promise<void> go_on;
  asio::post(server_io(), [late = go_on.get_future().share()] { late.wait(); });
  const auto stream = StartAnnouncePeer();
  for (int i = 0; i < kCount; ++i) {
    AnnouncePeerRequest request;
    request.set_peer_id(std::to_string(i));
    if (i % 4 == 0) request.set_task_id(large);
    stream->Write(std::move(request));
  }
  stream->WritesDone();
  go_on.set_value();
  const auto end = Read(stream);
  EXPECT_TRUE(end.ok() && !end->has_value()) << end.status();
  EXPECT_TRUE(ended.get_future().get());
  ASSERT_EQ(seen.size(), static_cast<size_t>(kCount));
  for (int i = 0; i < kCount; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], std::to_string(i));
}

TEST_F(CallTest, BidiSessionReadsOnlyAFewMessagesAhead) {
  std::promise<void> in_message;
  std::promise<void> go_on;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message =
                [&, first = true](AnnouncePeerRequest) mutable {
                  if (!std::exchange(first, false)) return;
                  in_message.set_value();
                  go_on.get_future().wait();
                },
            .on_end = [session](bool) { session->Finish(absl::OkStatus()); }};
  };
  Serve();
  // A client that knows which of its messages have gone: the library takes one after another.
  const auto stub =
      scheduler::v2::Scheduler::NewStub(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->AnnouncePeer(&context);
  AnnouncePeerRequest request;
  request.set_task_id(std::string(1 << 20, 'x'));
  std::atomic<int> sent{0};
  constexpr int kCount = 64;
  std::thread writer([&] {
    while (sent < kCount && stream->Write(request)) ++sent;
    stream->WritesDone();
  });
  in_message.get_future().wait();
  // Until the client has been stopped by the window of its stream.
  for (int before = -1; before != sent;) {
    before = sent;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_LT(sent, kCount / 2);
  go_on.set_value();
  writer.join();
  EXPECT_EQ(sent, kCount);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(CallTest, BidiSessionFinishedFromAnotherThreadEndsWithWhatWasQueued) {
  std::promise<std::shared_ptr<PeerSession>> opened;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    opened.set_value(session);
    return {.on_message = [](AnnouncePeerRequest) {}, .on_end = [](bool) {}};
  };
  Serve();
  const auto stream = StartAnnouncePeer();
  const std::shared_ptr<PeerSession> session = opened.get_future().get();
  session->Write(AnnouncePeerResponse());
  session->Write(AnnouncePeerResponse());
  session->Finish(absl::ResourceExhaustedError("too many"));
  session->Finish(absl::OkStatus());       // the first one counts
  session->Write(AnnouncePeerResponse());  // dropped
  EXPECT_TRUE(Read(stream)->has_value());
  EXPECT_TRUE(Read(stream)->has_value());
  EXPECT_EQ(Read(stream).status(), absl::ResourceExhaustedError("too many"));
}

TEST_F(CallTest, BidiClientThatDoesNotReadIsCutOff) {
  Flag ended;
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) -> PeerSession::Callbacks {
    return {.on_message =
                [session](AnnouncePeerRequest) {
                  for (int i = 0; i < 64; ++i) {
                    AnnouncePeerResponse response;
                    response.mutable_need_back_to_source_response()->set_description(std::string(1 << 20, 'x'));
                    session->Write(std::move(response));
                  }
                },
            .on_end =
                [session, &ended](bool) {
                  ended.Set();
                  session->Finish(absl::ResourceExhaustedError("does not read"));
                }};
  };
  Serve();
  const auto stream = StartAnnouncePeer();
  stream->Write(AnnouncePeerRequest());
  EXPECT_TRUE(ended.Await());
}

TEST_F(CallTest, ThousandBidiSessionsAtOnce) {
  constexpr size_t kCount = 1000;
  std::atomic<size_t> open{0};
  scheduler_.open = [&](std::shared_ptr<PeerSession> session) {
    ++open;
    return EchoUntilFinished(std::move(session));
  };
  Serve();
  std::vector<std::shared_ptr<BidiStream<AnnouncePeerRequest, AnnouncePeerResponse>>> streams;
  for (size_t i = 0; i < kCount; ++i) {
    streams.push_back(StartAnnouncePeer());
    AnnouncePeerRequest request;
    request.set_peer_id(std::to_string(i));
    streams.back()->Write(std::move(request));
  }
  for (size_t i = 0; i < kCount; ++i) {
    const auto message = Read(streams[i]);
    ASSERT_TRUE(message.ok() && message->has_value()) << message.status();
    EXPECT_EQ((*message)->need_back_to_source_response().description(), std::to_string(i));
  }
  EXPECT_EQ(open, kCount);
  for (const auto& stream : streams) {
    AnnouncePeerRequest request;
    request.mutable_download_peer_finished_request();
    stream->Write(std::move(request));
  }
  for (const auto& stream : streams) {
    const auto end = Read(stream);
    EXPECT_TRUE(end.ok() && !end->has_value()) << end.status();
  }
}

TEST_F(CallTest, ShutdownEndsOpenStreams) {
  scheduler_.open = EchoUntilFinished;
  Flag started;
  Flag cancelled;
  upload_.sync_pieces = [&](const SyncPiecesRequest&, PieceWriter) { return WaitForCancel(&started, &cancelled); };
  Serve();
  const auto sync = StartSyncPieces();
  const auto announce = StartAnnouncePeer();
  announce->Write(AnnouncePeerRequest());
  ASSERT_TRUE(Read(announce)->has_value());
  ASSERT_TRUE(started.Await());
  server_->Shutdown(Clock::now());
  EXPECT_TRUE(cancelled.Await());
  EXPECT_FALSE(Read(sync).ok());
  EXPECT_FALSE(Read(announce).ok());
}

}  // namespace
}  // namespace dragonfly::rpc
