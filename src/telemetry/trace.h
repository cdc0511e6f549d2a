// SPDX-License-Identifier: Apache-2.0
// Spans: what a program did, for how long, within what. See docs/telemetry.md.
//
// A span is handed down by hand, as a SpanParent: nothing is kept in thread-local variables, since a coroutine may
// resume on another thread. Without a tracer every call below is one branch and allocates nothing:
//
//   telemetry::Span span = parent.Start("stat_task", telemetry::SpanKind::kServer);
//   span.Set("task_id", id.str());
//   const absl::Status status = co_await Stat(id, span.AsParent());
//   span.SetStatus(status);                                  // ends with the scope, or with End()
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "telemetry/span_context.h"

namespace dragonfly::telemetry {

class SpanExporter;
class Tracer;

enum class SpanKind { kInternal = 1, kServer = 2, kClient = 3 };  // numbers of OTLP

using AttributeValue = std::variant<std::string, int64_t, bool>;
using Attributes = std::vector<std::pair<std::string, AttributeValue>>;

struct SpanEvent {
  std::chrono::system_clock::time_point time;
  std::string name;
};

// A span that has ended, as it waits to be exported.
struct SpanData {
  SpanContext context;
  std::array<uint8_t, 8> parent_id{};  // zero: a root
  std::string_view name;               // a literal
  SpanKind kind = SpanKind::kInternal;
  std::chrono::system_clock::time_point begin;
  std::chrono::nanoseconds duration{};
  std::vector<std::pair<std::string_view, AttributeValue>> attributes;  // names are literals
  std::vector<SpanEvent> events;
  std::vector<SpanContext> links;
  absl::Status status;
};

class Span;

// Where new spans hang: a span of this program, or one of a caller in another. A value; the default one starts spans
// that record nothing. The tracer must outlive it.
class SpanParent {
 public:
  SpanParent() = default;
  SpanParent(Tracer* tracer, SpanContext context) : tracer_(tracer), context_(std::move(context)) {}

  // `name`: a literal.
  Span Start(std::string_view name, SpanKind kind = SpanKind::kInternal) const;
  // To be sent along with a call; not valid() when there is nothing to send.
  const SpanContext& context() const { return context_; }

 private:
  Tracer* tracer_ = nullptr;
  SpanContext context_;
};

// A span that runs; ends when destroyed. Not thread-safe: it belongs to the coroutine that started it.
class Span {
 public:
  static constexpr size_t kAttributesMax = 64;
  static constexpr size_t kEventsMax = 64;
  static constexpr size_t kLinksMax = 64;
  static constexpr size_t kTextMax = 4 << 10;  // bytes of a text; longer ones are cut

  Span() = default;
  Span(Span&&) noexcept;
  Span& operator=(Span&&) noexcept;
  ~Span() { End(); }

  // False: everything but AsParent() does nothing. Ask before a costly attribute is made.
  bool recording() const { return data_ != nullptr; }
  // Parent of what happens within this span.
  SpanParent AsParent() const { return SpanParent(tracer_, context_); }
  const SpanContext& context() const { return context_; }

  // `name`: a literal. What exceeds the limits above is dropped.
  void Set(std::string_view name, std::string_view value) {
    if (data_) Add(name, std::string(value.substr(0, kTextMax)));
  }
  void Set(std::string_view name, const std::string& value) { Set(name, std::string_view(value)); }
  void Set(std::string_view name, const char* value) { Set(name, std::string_view(value)); }
  template <typename Integer>
    requires std::is_integral_v<Integer>
  void Set(std::string_view name, Integer value) {
    if (!data_) return;
    if constexpr (std::is_same_v<Integer, bool>) {
      Add(name, value);
    } else {
      Add(name, static_cast<int64_t>(value));
    }
  }
  void Event(std::string_view text);
  // Another span that this one has to do with, as that of a download which is shared.
  void Link(const SpanContext& other);
  // An error marks the span as failed, with its message.
  void SetStatus(const absl::Status& status);
  void End();

 private:
  friend class Tracer;
  void Add(std::string_view name, AttributeValue value);

  Tracer* tracer_ = nullptr;
  SpanContext context_;
  std::unique_ptr<SpanData> data_;  // null: nothing is recorded
  std::chrono::steady_clock::time_point begin_;
};

// Which spans are recorded. Names: OTEL_TRACES_SAMPLER.
struct Sampler {
  // Of a trace that begins here: the share that is recorded, chosen by trace id, 0 to 1.
  double ratio = 1;
  // Of a trace that came with a call: recorded if its caller records it; else by `ratio` as well.
  bool follow_parent = true;
};

struct TracerOptions {
  TracerOptions() = default;
  std::string name;     // of the instrumentation: "dfdaemon"
  Attributes resource;  // who speaks: service.name, host.name, ...
  Sampler sampler;
  size_t queue_max = 2048;  // spans that wait; further ones are dropped and counted
  size_t batch_max = 512;
  std::chrono::milliseconds batch_delay{5'000};
  std::chrono::milliseconds export_timeout{10'000};  // of one batch, its retries included
};

// Makes spans and exports them in batches from a thread of its own. Thread-safe. Failures are logged at most once a
// minute.
class Tracer {
 public:
  struct Counts {
    uint64_t exported = 0;
    uint64_t dropped = 0;  // the queue was full, or the exporter failed for good
    uint64_t failed_exports = 0;
  };

  Tracer(TracerOptions options, std::unique_ptr<SpanExporter> exporter);
  // As Stop() with no time left.
  ~Tracer();
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // A root, or a child of `parent` if that is valid. `name`: a literal.
  Span Start(std::string_view name, SpanKind kind, const SpanContext& parent);
  SpanParent Root() { return SpanParent(this, SpanContext()); }

  // Waits up to 0.5 s for open spans, exports until `deadline`, drops the rest; spans that end later are dropped, too.
  void Stop(std::chrono::steady_clock::time_point deadline);
  Counts counts() const;

 private:
  friend class Span;
  void Ended(std::unique_ptr<SpanData> span);

  class Batches;
  const Sampler sampler_;
  std::unique_ptr<Batches> batches_;
};

}  // namespace dragonfly::telemetry
