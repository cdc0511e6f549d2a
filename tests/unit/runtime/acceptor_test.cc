// SPDX-License-Identifier: Apache-2.0
#include "runtime/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/io_threads.h"
#include "tests/unit/runtime/run_coroutine.h"

namespace dragonfly::runtime {
namespace {

namespace asio = boost::asio;

TEST(Seats, GoToTheThreadThatHasTheFewest) {
  Seats seats(3, 100);
  std::vector<Seats::Seat> taken;
  for (size_t i = 0; i < 6; ++i) taken.push_back(*seats.Take());
  std::vector<size_t> threads;
  for (const Seats::Seat& seat : taken) threads.push_back(seat.thread());
  EXPECT_EQ(threads, (std::vector<size_t>{0, 1, 2, 0, 1, 2}));
  {
    const Seats::Seat given_back = std::move(taken[4]);
  }
  EXPECT_EQ(seats.taken(), 5u);
  EXPECT_EQ(seats.Take()->thread(), 1u);
}

TEST(Seats, AreGivenUpToTheLimitAndAgainWhenOneIsFree) {
  Seats seats(2, 2);
  std::optional<Seats::Seat> first = seats.Take();
  const std::optional<Seats::Seat> second = seats.Take();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(seats.Take());
  first.reset();
  EXPECT_TRUE(seats.Take());
}

class AcceptorTest : public ::testing::Test {
 protected:
  AcceptorTest() {
    UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    socklen_t size = sizeof(address_);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address_), size), 0);
    EXPECT_EQ(::listen(listening.get(), 128), 0);
    EXPECT_EQ(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address_), &size), 0);
    Acceptor::Options options;
    options.backoff_min = options.backoff_max = std::chrono::milliseconds(1);
    options.report = [this](const absl::Status& status) { Note([&] { reports_.push_back(status); }); };
    acceptor_ = std::make_unique<Acceptor>(io_.At(0), std::move(listening), options,
                                           [this](UniqueFd fd, const sockaddr_storage& address) {
                                             Note([&] {
                                               clients_.push_back(reinterpret_cast<const sockaddr_in&>(address));
                                               accepted_.push_back(std::move(fd));
                                             });
                                           });
  }
  ~AcceptorTest() override {
    if (acceptor_ != nullptr) Stop();
  }

  void Stop() {
    const auto stop = [](Acceptor& acceptor) -> asio::awaitable<int> {
      co_await acceptor.Stop();
      co_return 0;
    };
    RunOn(io_.At(1), stop(*acceptor_));
    acceptor_.reset();
  }
  int Connect(const UniqueFd& client) const {
    return ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof(address_));
  }
  UniqueFd Client() const {
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(Connect(client), 0);
    return client;
  }
  template <typename Change>
  void Note(Change change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_all();
  }
  bool AwaitAccepted(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return accepted_.size() >= count; });
  }
  bool AwaitReports(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return reports_.size() >= count; });
  }

  IoThreads io_{2};
  sockaddr_in address_{};
  std::unique_ptr<Acceptor> acceptor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<UniqueFd> accepted_;
  std::vector<sockaddr_in> clients_;
  std::vector<absl::Status> reports_;
};

TEST_F(AcceptorTest, GivesEveryConnectionWithItsClient) {
  acceptor_->Start();
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < 100; ++i) clients.push_back(Client());
  ASSERT_TRUE(AwaitAccepted(100));
  for (const UniqueFd& fd : accepted_) {
    EXPECT_NE(::fcntl(fd.get(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  }
  sockaddr_in own{};
  socklen_t size = sizeof(own);
  ASSERT_EQ(::getsockname(clients[0].get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
  EXPECT_EQ(clients_[0].sin_port, own.sin_port);
  EXPECT_TRUE(reports_.empty());
}

TEST_F(AcceptorTest, WaitsWhileDescriptorsAreShortAndGoesOnByItself) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<UniqueFd> clients;
  clients.push_back(Client());
  clients.push_back(Client());
  {
    // The lowest number that is free is one too many now.
    const UniqueFd next(::dup(clients[0].get()));
    rlimit short_of(before);
    short_of.rlim_cur = static_cast<rlim_t>(next.get());
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &short_of), 0);
  }
  acceptor_->Start();
  const bool reported = AwaitReports(1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(reported);
  EXPECT_EQ(reports_[0].message(), "accept: Too many open files");
  EXPECT_TRUE(AwaitAccepted(2));
  clients.push_back(Client());
  EXPECT_TRUE(AwaitAccepted(3));
  EXPECT_EQ(reports_.size(), 1u) << "told once, not at each try";
}

TEST_F(AcceptorTest, RefusesClientsAfterItsStop) {
  acceptor_->Start();
  const UniqueFd served = Client();
  ASSERT_TRUE(AwaitAccepted(1));
  Stop();
  const UniqueFd late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(Connect(late), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  // What was accepted is its owner's.
  EXPECT_EQ(::send(served.get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  pollfd readable{.fd = accepted_[0].get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(::poll(&readable, 1, 30'000), 1);
  EXPECT_EQ(::recv(accepted_[0].get(), &byte, 1, 0), 1);
}

TEST(Acceptor, EndsWithAReportWhenItsSocketIsNone) {
  IoThreads io(1);
  std::promise<absl::Status> reported;
  Acceptor::Options options;
  options.report = [&reported](const absl::Status& status) { reported.set_value(status); };
  // Takes connections as little as any file that can be waited for.
  UniqueFd unconnected(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  Acceptor acceptor(io.At(0), std::move(unconnected), options, [](UniqueFd, const sockaddr_storage&) {});
  acceptor.Start();
  std::future<absl::Status> report = reported.get_future();
  ASSERT_EQ(report.wait_for(kPatience), std::future_status::ready);
  EXPECT_EQ(report.get().message(), "accept: Operation not supported");
  const auto stop = [](Acceptor& stopped) -> asio::awaitable<int> {
    co_await stopped.Stop();
    co_return 0;
  };
  RunOn(io.At(0), stop(acceptor));
}

}  // namespace
}  // namespace dragonfly::runtime
