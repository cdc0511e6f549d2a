// SPDX-License-Identifier: Apache-2.0
#include "telemetry/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "opentelemetry/proto/collector/trace/v1/trace_service.pb.h"
#include "telemetry/span_exporter.h"
#include "telemetry/trace_environment.h"

namespace dragonfly::telemetry {
namespace {

namespace wire = opentelemetry::proto;
using Request = wire::collector::trace::v1::ExportTraceServiceRequest;
using std::chrono::steady_clock;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;

steady_clock::time_point Soon() { return steady_clock::now() + std::chrono::seconds(20); }

// A collector in memory.
struct Collector {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Request> requests;
  std::vector<absl::Status> answers;  // of the next exports, first to last; OK when there is none
  std::string response;
  size_t tries = 0;
  bool silent = false;  // answers only when cancelled
  bool cancelled = false;

  std::vector<wire::trace::v1::Span> Spans() {
    const std::lock_guard lock(mutex);
    std::vector<wire::trace::v1::Span> spans;
    for (const Request& request : requests)
      for (const auto& span : request.resource_spans(0).scope_spans(0).spans()) spans.push_back(span);
    return spans;
  }
  bool WaitForTries(size_t count) {
    std::unique_lock lock(mutex);
    return changed.wait_until(lock, Soon(), [&] { return tries >= count; });
  }
};

class ToCollector final : public SpanExporter {
 public:
  explicit ToCollector(Collector& collector) : collector_(collector) {}
  absl::StatusOr<std::string> Export(const std::string& request, steady_clock::time_point deadline) override {
    std::unique_lock lock(collector_.mutex);
    ++collector_.tries;
    collector_.changed.notify_all();
    if (collector_.silent) {
      collector_.changed.wait_until(lock, deadline, [&] { return collector_.cancelled; });
      return absl::DeadlineExceededError("collector x:1: no answer");
    }
    if (!collector_.answers.empty()) {
      const absl::Status answer = collector_.answers.front();
      collector_.answers.erase(collector_.answers.begin());
      if (!answer.ok()) return answer;
    }
    Request message;
    EXPECT_TRUE(message.ParseFromString(request));
    collector_.requests.push_back(std::move(message));
    collector_.changed.notify_all();
    return collector_.response;
  }
  void Cancel() override {
    const std::lock_guard lock(collector_.mutex);
    collector_.cancelled = true;
    collector_.changed.notify_all();
  }

 private:
  Collector& collector_;
};

class TraceTest : public ::testing::Test {
 protected:
  Tracer& Make(TracerOptions options = {}) {
    options.name = "test";
    tracer_ = std::make_unique<Tracer>(std::move(options), std::make_unique<ToCollector>(collector_));
    return *tracer_;
  }
  std::vector<wire::trace::v1::Span> StopAndTake() {
    tracer_->Stop(Soon());
    return collector_.Spans();
  }

  Collector collector_;
  std::unique_ptr<Tracer> tracer_;
};

TEST(Span, WithoutATracerDoesNothing) {
  const SpanParent none;
  Span span = none.Start("x");
  EXPECT_FALSE(span.recording());
  span.Set("a", "b");
  span.Set("n", 1);
  span.Event("e");
  span.SetStatus(absl::InternalError("x"));
  EXPECT_FALSE(span.context().valid());
  EXPECT_FALSE(span.AsParent().Start("y").recording());
}

TEST_F(TraceTest, ExportsWhatASpanWasTold) {
  TracerOptions options;
  options.resource = {{"service.name", "dfdaemon-10.0.0.1"}, {"host.seed_peer", true}};
  Tracer& tracer = Make(options);
  {
    Span span = tracer.Root().Start("download_task", SpanKind::kServer);
    ASSERT_TRUE(span.recording());
    span.Set("task_id", std::string("abc"));
    span.Set("content_length", uint64_t{7});
    span.Set("content_length", uint64_t{8});  // again
    span.Set("seed", true);
    span.Set("bytes", "a\xff\xc3\xa4\xed\xa0\x80z");
    span.Event("started");
    span.SetStatus(absl::NotFoundError("no such task"));
  }
  const auto spans = StopAndTake();
  ASSERT_THAT(spans, SizeIs(1));
  const wire::trace::v1::Span& span = spans[0];
  EXPECT_EQ(span.name(), "download_task");
  EXPECT_EQ(span.kind(), wire::trace::v1::Span::SPAN_KIND_SERVER);
  EXPECT_EQ(span.trace_id().size(), 16u);
  EXPECT_EQ(span.span_id().size(), 8u);
  EXPECT_EQ(span.parent_span_id(), "");
  EXPECT_EQ(span.flags(), 1u);
  EXPECT_GT(span.start_time_unix_nano(), 0u);
  EXPECT_GE(span.end_time_unix_nano(), span.start_time_unix_nano());
  std::map<std::string, std::string> attributes;
  for (const auto& attribute : span.attributes()) attributes[attribute.key()] = attribute.value().ShortDebugString();
  EXPECT_EQ(attributes["task_id"], "string_value: \"abc\"");
  EXPECT_EQ(attributes["content_length"], "int_value: 8");
  EXPECT_EQ(attributes["seed"], "bool_value: true");
  // Bytes that are no UTF-8 must not make the collector refuse the batch.
  EXPECT_EQ(span.attributes(3).value().string_value(), "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz");
  ASSERT_EQ(span.events_size(), 1);
  EXPECT_EQ(span.events(0).name(), "started");
  EXPECT_EQ(span.status().code(), wire::trace::v1::Status::STATUS_CODE_ERROR);
  EXPECT_EQ(span.status().message(), "no such task");

  const auto& resource = collector_.requests[0].resource_spans(0);
  EXPECT_EQ(resource.scope_spans(0).scope().name(), "test");
  ASSERT_EQ(resource.resource().attributes_size(), 2);
  EXPECT_EQ(resource.resource().attributes(0).value().string_value(), "dfdaemon-10.0.0.1");
  EXPECT_TRUE(resource.resource().attributes(1).value().bool_value());
}

TEST_F(TraceTest, ChildrenStandUnderTheirParentAlsoAcrossPrograms) {
  Tracer& tracer = Make();
  const auto remote = ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b");
  {
    Span server = SpanParent(&tracer, *remote).Start("server", SpanKind::kServer);
    Span child = server.AsParent().Start("child");
    child.Link(*remote);
    EXPECT_EQ(child.context().state, "a=b");
  }
  const auto spans = StopAndTake();
  ASSERT_THAT(spans, SizeIs(2));
  const auto& child = spans[0].name() == "child" ? spans[0] : spans[1];
  const auto& server = spans[0].name() == "child" ? spans[1] : spans[0];
  EXPECT_EQ(server.parent_span_id(), std::string("\x00\xf0\x67\xaa\x0b\xa9\x02\xb7", 8));
  EXPECT_EQ(child.parent_span_id(), server.span_id());
  EXPECT_EQ(child.trace_id(), server.trace_id());
  EXPECT_EQ(child.trace_state(), "a=b");
  ASSERT_EQ(child.links_size(), 1);
  EXPECT_EQ(child.links(0).span_id(), server.parent_span_id());
}

TEST_F(TraceTest, FollowsTheDecisionOfTheCaller) {
  Tracer& tracer = Make();
  const auto unsampled = ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "");
  const Span span = tracer.Start("x", SpanKind::kServer, *unsampled);
  EXPECT_FALSE(span.recording());
  // What is called from here is told so.
  EXPECT_EQ(span.context().trace_id, unsampled->trace_id);
  EXPECT_FALSE(span.context().sampled);
  EXPECT_TRUE(span.context().valid());
}

TEST_F(TraceTest, RecordsAShareOfTheTraces) {
  TracerOptions options;
  options.sampler.ratio = 0.25;
  options.queue_max = 1;
  Tracer& tracer = Make(options);
  int recorded = 0;
  for (int i = 0; i < 4000; ++i) recorded += tracer.Root().Start("x").recording() ? 1 : 0;
  EXPECT_GT(recorded, 800);  // more than seven standard deviations below the mean
  EXPECT_LT(recorded, 1200);
}

TEST_F(TraceTest, SendsAFullBatchAtOnceAndTheRestAfterTheDelay) {
  TracerOptions options;
  options.batch_max = 3;
  options.batch_delay = std::chrono::hours(1);
  Tracer& tracer = Make(options);
  for (int i = 0; i < 3; ++i) tracer.Root().Start("x").End();
  ASSERT_TRUE(collector_.WaitForTries(1));
  tracer.Root().Start("y").End();
  EXPECT_THAT(StopAndTake(), SizeIs(4));
  EXPECT_EQ(tracer.counts().exported, 4u);

  options.batch_delay = std::chrono::milliseconds(1);
  Tracer& quick = Make(options);
  quick.Root().Start("z").End();
  EXPECT_TRUE(collector_.WaitForTries(3));
}

TEST_F(TraceTest, DropsAndCountsWhatTheQueueCannotHold) {
  TracerOptions options;
  options.queue_max = 2;
  options.batch_delay = std::chrono::hours(1);
  Tracer& tracer = Make(options);
  for (int i = 0; i < 5; ++i) tracer.Root().Start("x").End();
  EXPECT_EQ(tracer.counts().dropped, 3u);
  EXPECT_THAT(StopAndTake(), SizeIs(2));
  tracer.Root().Start("late").End();
  EXPECT_EQ(tracer.counts().dropped, 4u);
}

TEST_F(TraceTest, TriesAgainWhatMaySucceedAndNothingElse) {
  collector_.answers = {absl::UnavailableError("down"), absl::OkStatus(), absl::InvalidArgumentError("bad")};
  TracerOptions options;
  options.batch_delay = std::chrono::milliseconds(1);
  Tracer& tracer = Make(options);
  tracer.Root().Start("x").End();
  ASSERT_TRUE(collector_.WaitForTries(2));
  tracer.Root().Start("y").End();
  ASSERT_TRUE(collector_.WaitForTries(3));
  EXPECT_THAT(StopAndTake(), SizeIs(1));
  EXPECT_EQ(tracer.counts().exported, 1u);
  EXPECT_EQ(tracer.counts().dropped, 1u);
  EXPECT_EQ(tracer.counts().failed_exports, 1u);
}

TEST_F(TraceTest, CountsWhatTheCollectorRefuses) {
  wire::collector::trace::v1::ExportTraceServiceResponse response;
  response.mutable_partial_success()->set_rejected_spans(1);
  response.mutable_partial_success()->set_error_message("too old");
  collector_.response = response.SerializeAsString();
  Tracer& tracer = Make();
  tracer.Root().Start("x").End();
  tracer.Root().Start("y").End();
  tracer.Stop(Soon());
  EXPECT_EQ(tracer.counts().exported, 1u);
  EXPECT_EQ(tracer.counts().dropped, 1u);
}

TEST_F(TraceTest, StopWaitsForASpanThatIsAboutToEnd) {
  for (uint64_t round = 0; round < 100; ++round) {
    Tracer& tracer = Make();
    Span span = tracer.Root().Start("x");
    std::jthread stop([&] { tracer.Stop(Soon()); });
    span.End();
    stop.join();
    ASSERT_EQ(tracer.counts().exported, 1u) << round;
    ASSERT_EQ(tracer.counts().dropped, 0u) << round;
  }
}

TEST_F(TraceTest, StopDoesNotWaitForASpanThatNeverEnds) {
  Tracer& tracer = Make();
  const Span open = tracer.Root().Start("open");
  tracer.Root().Start("x").End();
  EXPECT_THAT(StopAndTake(), SizeIs(1));
}

TEST_F(TraceTest, StopWaitsForASilentCollectorNoLongerThanItsDeadline) {
  collector_.silent = true;
  TracerOptions options;
  options.batch_delay = std::chrono::milliseconds(1);
  options.export_timeout = std::chrono::hours(1);
  Tracer& tracer = Make(options);
  tracer.Root().Start("x").End();
  ASSERT_TRUE(collector_.WaitForTries(1));
  const auto begin = steady_clock::now();
  tracer.Stop(begin + std::chrono::milliseconds(50));
  EXPECT_GE(steady_clock::now() - begin, std::chrono::milliseconds(50));
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(tracer.counts().dropped, 1u);
}

class TraceEnvironmentTest : public ::testing::Test {
 protected:
  TraceEnvironment Apply(std::map<std::string, std::string> variables) {
    variables_ = std::move(variables);
    return ApplyTraceEnvironment(
        [this](const char* name) -> const char* {
          const auto found = variables_.find(name);
          return found == variables_.end() ? nullptr : found->second.c_str();
        },
        options_);
  }
  std::map<std::string, std::string> variables_;
  TracerOptions options_;
};

TEST_F(TraceEnvironmentTest, SetsNothingByItself) {
  const TraceEnvironment environment = Apply({{"OTEL_TRACES_SAMPLER", " "}});
  EXPECT_FALSE(environment.disabled);
  EXPECT_THAT(environment.warnings, IsEmpty());
  EXPECT_EQ(options_.queue_max, 2048u);
  EXPECT_EQ(options_.batch_max, 512u);
  EXPECT_EQ(options_.batch_delay, std::chrono::seconds(5));
  EXPECT_EQ(options_.export_timeout, std::chrono::seconds(10));
  EXPECT_EQ(options_.sampler.ratio, 1);
  EXPECT_TRUE(options_.sampler.follow_parent);
}

TEST_F(TraceEnvironmentTest, AppliesWhatOperatorsSet) {
  options_.resource = {{"service.name", "dfdaemon-10.0.0.1"}, {"host.ip", "10.0.0.1"}};
  const TraceEnvironment environment = Apply({{"OTEL_SERVICE_NAME", "peers"},
                                              {"OTEL_RESOURCE_ATTRIBUTES", "zone=a%20b, host.ip=9.9.9.9"},
                                              {"OTEL_TRACES_SAMPLER", "parentbased_traceidratio"},
                                              {"OTEL_TRACES_SAMPLER_ARG", "0.5"},
                                              {"OTEL_BSP_MAX_QUEUE_SIZE", "100"},
                                              {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200"},
                                              {"OTEL_BSP_SCHEDULE_DELAY", "250"},
                                              {"OTEL_BSP_EXPORT_TIMEOUT", "30000"},
                                              {"OTEL_EXPORTER_OTLP_TIMEOUT", "4000"},
                                              {"OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t"},
                                              {"OTEL_SDK_DISABLED", "TRUE"}});
  EXPECT_THAT(environment.warnings, IsEmpty());
  EXPECT_TRUE(environment.disabled);
  EXPECT_THAT(environment.headers, ElementsAre(Pair("authorization", "Bearer t")));
  EXPECT_THAT(options_.resource,
              ElementsAre(Pair("host.ip", AttributeValue("10.0.0.1")), Pair("zone", AttributeValue("a b")),
                          Pair("service.name", AttributeValue("peers"))));
  EXPECT_EQ(options_.sampler.ratio, 0.5);
  EXPECT_TRUE(options_.sampler.follow_parent);
  EXPECT_EQ(options_.queue_max, 100u);
  EXPECT_EQ(options_.batch_max, 100u);
  EXPECT_EQ(options_.batch_delay, std::chrono::milliseconds(250));
  EXPECT_EQ(options_.export_timeout, std::chrono::seconds(4));
}

TEST_F(TraceEnvironmentTest, NamesTheVariableThatMeansNothing) {
  const TraceEnvironment environment = Apply({{"OTEL_TRACES_SAMPLER", "sometimes"},
                                              {"OTEL_BSP_SCHEDULE_DELAY", "5s"},
                                              {"OTEL_EXPORTER_OTLP_HEADERS", "secret"}});
  ASSERT_THAT(environment.warnings, SizeIs(3));
  EXPECT_THAT(environment.warnings[0], HasSubstr("OTEL_TRACES_SAMPLER=\"sometimes\" is ignored"));
  EXPECT_THAT(environment.warnings[1], HasSubstr("OTEL_BSP_SCHEDULE_DELAY=\"5s\""));
  EXPECT_THAT(environment.warnings[2], Not(HasSubstr("secret")));
  EXPECT_EQ(Apply({{"OTEL_TRACES_SAMPLER", "traceidratio"}, {"OTEL_TRACES_SAMPLER_ARG", "2"}}).warnings.size(), 1u);
  Apply({{"OTEL_TRACES_SAMPLER", "always_off"}});
  EXPECT_EQ(options_.sampler.ratio, 0);
  EXPECT_FALSE(options_.sampler.follow_parent);
}

}  // namespace
}  // namespace dragonfly::telemetry
