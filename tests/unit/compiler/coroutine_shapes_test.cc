// SPDX-License-Identifier: Apache-2.0
// Shapes of expressions with co_await in which a compiler may destroy a temporary twice or not at all. GCC 12.2 breaks
// most of them, without a warning; the compiler that builds us must break none.
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;

// Knows where every instance was constructed. One that was copied bit by bit is destroyed where none was constructed.
class Tracked {
 public:
  explicit Tracked(std::string text) : text_(std::move(text)) { Born(); }
  Tracked(const Tracked& other) : text_(other.text_) { Born(); }
  Tracked(Tracked&& other) noexcept : text_(std::move(other.text_)) { Born(); }
  Tracked& operator=(const Tracked&) = default;
  Tracked& operator=(Tracked&&) = default;
  ~Tracked() {
    if (alive_.erase(this) == 0) ++wrong_destructions_;
  }

  const std::string& text() const { return text_; }
  size_t size() const { return text_.size(); }

  static void Reset() {
    alive_.clear();
    wrong_destructions_ = 0;
  }
  static size_t alive() { return alive_.size(); }
  static int wrong_destructions() { return wrong_destructions_; }

 private:
  void Born() { alive_.insert(this); }

  std::string text_;
  static inline std::set<const Tracked*> alive_;
  static inline int wrong_destructions_ = 0;
};

// Longer than what std::string keeps inside itself, so that AddressSanitizer sees a second free, too.
Tracked Value() { return Tracked("a text that does not fit into the string itself"); }
constexpr size_t kSize = 47;

struct Aggregate {
  Tracked tracked = Value();
  int number = 1;
};

awaitable<void> Suspend() { co_await asio::post(co_await asio::this_coro::executor, use_awaitable); }

awaitable<size_t> Measure(Aggregate aggregate) {
  co_await Suspend();
  co_return aggregate.tracked.size() + static_cast<size_t>(aggregate.number);
}

awaitable<size_t> MeasureDefault(int number, Aggregate aggregate = Aggregate{.tracked = Value(), .number = 2}) {
  co_await Suspend();
  co_return aggregate.tracked.size() + static_cast<size_t>(aggregate.number + number);
}

awaitable<size_t> Call(std::function<size_t()> function) {
  co_await Suspend();
  co_return function();
}

awaitable<Tracked> Make() {
  co_await Suspend();
  co_return Value();
}

awaitable<std::unique_ptr<Tracked>> MakeUnique() {
  co_await Suspend();
  co_return std::make_unique<Tracked>(Value());
}

awaitable<size_t> Count(std::vector<std::string> texts) {
  co_await Suspend();
  co_return texts.size();
}

size_t Use(const Aggregate& aggregate, const Tracked& tracked) { return aggregate.tracked.size() + tracked.size(); }

class CoroutineShapes : public testing::Test {
 protected:
  void SetUp() override { Tracked::Reset(); }

  void TearDown() override {
    EXPECT_EQ(Tracked::alive(), 0u);
    EXPECT_EQ(Tracked::wrong_destructions(), 0);
  }

  size_t Run(awaitable<size_t> coroutine) {
    asio::io_context io;
    std::optional<size_t> result;
    asio::co_spawn(io, std::move(coroutine), [&](std::exception_ptr error, size_t value) {
      EXPECT_EQ(error, nullptr);
      result = value;
    });
    io.run();
    EXPECT_TRUE(result.has_value());
    return result.value_or(0);
  }
};

awaitable<size_t> BracedArgument() { co_return co_await Measure(Aggregate{.tracked = Value()}); }
TEST_F(CoroutineShapes, BracedAggregateAsArgument) { EXPECT_EQ(Run(BracedArgument()), kSize + 1); }

awaitable<size_t> ImplicitBraces() { co_return co_await Measure({Value(), 3}); }
TEST_F(CoroutineShapes, ImplicitBracesAsArgument) { EXPECT_EQ(Run(ImplicitBraces()), kSize + 3); }

awaitable<size_t> DefaultArgument() { co_return co_await MeasureDefault(5); }
TEST_F(CoroutineShapes, AggregateAsDefaultArgument) { EXPECT_EQ(Run(DefaultArgument()), kSize + 7); }

awaitable<size_t> CapturingLambda() {
  Tracked big = Value();
  co_return co_await Call([big] { return big.size(); });
}
TEST_F(CoroutineShapes, LambdaWithCaptureAsArgument) { EXPECT_EQ(Run(CapturingLambda()), kSize); }

awaitable<size_t> InvokedCoroutineLambda() {
  const Tracked tracked = Value();
  co_return co_await [tracked]() -> awaitable<size_t> {
    co_await Suspend();
    co_return tracked.size();
  }();
}
TEST_F(CoroutineShapes, InvokedCoroutineLambdaWithCapture) { EXPECT_EQ(Run(InvokedCoroutineLambda()), kSize); }

awaitable<size_t> SpawnedCoroutineLambda() {
  const Tracked tracked = Value();
  const auto executor = co_await asio::this_coro::executor;
  co_return co_await asio::co_spawn(
      executor,
      [tracked]() -> awaitable<size_t> {
        co_await Suspend();
        co_return tracked.size();
      },
      use_awaitable);
}
TEST_F(CoroutineShapes, SpawnedCoroutineLambdaWithCapture) { EXPECT_EQ(Run(SpawnedCoroutineLambda()), kSize); }

awaitable<size_t> AwaitInBraces() {
  const Aggregate aggregate{co_await Make(), 4};
  co_return aggregate.tracked.size() + static_cast<size_t>(aggregate.number);
}
TEST_F(CoroutineShapes, AwaitInsideTheBracesOfALocal) { EXPECT_EQ(Run(AwaitInBraces()), kSize + 4); }

awaitable<size_t> MemberOfTemporary() { co_return Aggregate{co_await Make(), 1}.tracked.size(); }
TEST_F(CoroutineShapes, AwaitInsideTheBracesOfATemporary) { EXPECT_EQ(Run(MemberOfTemporary()), kSize); }

awaitable<size_t> BesideAwait() { co_return Use(Aggregate{.tracked = Value()}, co_await Make()); }
TEST_F(CoroutineShapes, AggregateBesideAwait) { EXPECT_EQ(Run(BesideAwait()), 2 * kSize); }

awaitable<size_t> PushedBack() {
  std::vector<Aggregate> aggregates;
  aggregates.push_back(Aggregate{co_await Make(), 1});
  aggregates.push_back(Aggregate{co_await Make(), 2});
  co_return aggregates[0].tracked.size() + aggregates[1].tracked.size();
}
TEST_F(CoroutineShapes, PushBackOfAnAggregateWithAwait) { EXPECT_EQ(Run(PushedBack()), 2 * kSize); }

awaitable<size_t> Conditional(bool first) {
  const Tracked tracked = first ? co_await Make() : co_await Make();
  co_return tracked.size();
}
TEST_F(CoroutineShapes, AwaitInBothBranchesOfAConditional) {
  EXPECT_EQ(Run(Conditional(true)), kSize);
  EXPECT_EQ(Run(Conditional(false)), kSize);
}

awaitable<size_t> Switched() {
  switch ((co_await MakeUnique())->size()) {
    case kSize:
      co_return kSize;
    default:
      co_return 0;
  }
}
TEST_F(CoroutineShapes, SwitchOnATemporaryOfAwait) { EXPECT_EQ(Run(Switched()), kSize); }

awaitable<size_t> InitializerList() {
  const std::string a = "a", b = "b";
  co_return co_await Count({a, b});
}
TEST_F(CoroutineShapes, InitializerListAsArgument) { EXPECT_EQ(Run(InitializerList()), 2u); }

awaitable<std::vector<Tracked>> MakeTwo() {
  co_await Suspend();
  std::vector<Tracked> two;
  two.push_back(Value());
  two.push_back(Value());
  co_return two;
}

awaitable<std::pair<Tracked, int>> MakePair() {
  co_await Suspend();
  co_return std::pair(Value(), 1);
}

awaitable<size_t> Statements() {
  size_t sum = 0;
  for (const Tracked& tracked : co_await MakeTwo()) sum += tracked.size();
  if (const Tracked tracked = co_await Make(); tracked.size() == kSize && (co_await Make()).size() == kSize) {
    sum += tracked.size();
  }
  const auto [tracked, number] = co_await MakePair();
  co_return sum + tracked.size() + static_cast<size_t>(number);
}
TEST_F(CoroutineShapes, AwaitInStatementHeadsAndBindings) { EXPECT_EQ(Run(Statements()), 4 * kSize + 1); }

awaitable<size_t> Thrown() {
  try {
    const Aggregate aggregate{co_await Make(), 1};
    co_await Suspend();
    throw Value();
  } catch (const Tracked& tracked) {
    co_return tracked.size();
  }
}
TEST_F(CoroutineShapes, ThrowAfterAwait) { EXPECT_EQ(Run(Thrown()), kSize); }

// A coroutine that is destroyed while it waits must destroy its parameters and locals once.
TEST_F(CoroutineShapes, AbandonedWhileSuspended) {
  asio::io_context io;
  asio::co_spawn(io, AwaitInBraces(), [](std::exception_ptr, size_t) { FAIL(); });
  asio::co_spawn(io, Measure({Value(), 3}), [](std::exception_ptr, size_t) { FAIL(); });
  io.run_one();
}

}  // namespace
