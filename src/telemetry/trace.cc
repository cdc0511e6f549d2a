// SPDX-License-Identifier: Apache-2.0
#include "telemetry/trace.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"
#include "telemetry/otlp.h"
#include "telemetry/span_exporter.h"

namespace dragonfly::telemetry {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::minutes kLogInterval{1};
constexpr std::chrono::milliseconds kRetryPause{1'000};
// How long a tracer that stops waits for spans that have not ended: those of calls that were cancelled just before.
constexpr std::chrono::milliseconds kOpenWait{500};

uint64_t Random() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  for (;;)
    if (const uint64_t number = generator(); number != 0) return number;
}

// The decision of the OpenTelemetry SDKs, so that programs with the same ratio keep the same traces: the last eight
// bytes of the id, as a number of 63 bits, against the share of that range.
bool WithinRatio(const std::array<uint8_t, 16>& trace_id, double ratio) {
  if (ratio >= 1) return true;
  uint64_t low = 0;
  for (size_t i = 8; i < 16; ++i) low = low << 8 | trace_id[i];
  return static_cast<double>(low >> 1) < ratio * std::ldexp(1.0, 63);
}

}  // namespace

// The queue and the thread that empties it.
class Tracer::Batches {
 public:
  Batches(TracerOptions options, std::unique_ptr<SpanExporter> exporter)
      : options_(std::move(options)), exporter_(std::move(exporter)), thread_([this] { Run(); }) {}

  ~Batches() { Stop(SteadyClock::now()); }

  void Opened() { open_.fetch_add(1, std::memory_order_relaxed); }

  // A span that was opened has ended.
  void Add(std::unique_ptr<SpanData> span) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (open_.fetch_sub(1, std::memory_order_relaxed) == 1 && joined_) ended_.notify_all();
      if (stopping_ || queue_.size() >= options_.queue_max) {
        ++counts_.dropped;
        return;
      }
      // The first one starts the clock of the batch, a full batch goes at once.
      wake = queue_.empty() || queue_.size() + 1 == options_.batch_max;
      queue_.push_back(std::move(span));
    }
    if (wake) changed_.notify_all();
  }

  void Stop(SteadyClock::time_point deadline) {
    {
      std::unique_lock lock(mutex_);
      if (joined_) return;
      joined_ = true;
      ended_.wait_until(lock, std::min(deadline, SteadyClock::now() + kOpenWait),
                        [this] { return open_.load(std::memory_order_relaxed) == 0; });
      stopping_ = true;
      stop_by_ = deadline;
      changed_.notify_all();
      ended_.wait_until(lock, deadline, [this] { return done_; });
      if (!done_) cancelled_ = true;
      changed_.notify_all();
    }
    exporter_->Cancel();
    thread_.join();
  }

  Counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  using Batch = std::vector<std::unique_ptr<SpanData>>;

  void Run() {
    for (Batch batch; !(batch = Next()).empty();) Export(batch);
    const std::lock_guard lock(mutex_);
    counts_.dropped += queue_.size();
    queue_.clear();
    done_ = true;
    ended_.notify_all();
  }

  // Empty: it is time to end.
  Batch Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    const SteadyClock::time_point due = SteadyClock::now() + options_.batch_delay;
    changed_.wait_until(lock, due, [this] { return stopping_ || queue_.size() >= options_.batch_max; });
    Batch batch;
    if (cancelled_ || (stopping_ && SteadyClock::now() >= stop_by_)) return batch;
    const size_t size = std::min(queue_.size(), options_.batch_max);
    batch.reserve(size);
    for (size_t i = 0; i < size; ++i) {
      batch.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    return batch;
  }

  // The end of the time for a batch that is begun now; earlier when the tracer stops meanwhile.
  SteadyClock::time_point DeadlineFrom(SteadyClock::time_point begin) {
    const std::lock_guard lock(mutex_);
    const SteadyClock::time_point deadline = begin + options_.export_timeout;
    return stopping_ ? std::min(deadline, stop_by_) : deadline;
  }

  // False when there is no time for another try.
  bool Pause(SteadyClock::time_point deadline) {
    const SteadyClock::time_point until = SteadyClock::now() + kRetryPause;
    std::unique_lock lock(mutex_);
    if (until >= deadline) return false;
    changed_.wait_until(lock, until, [this] { return stopping_; });
    return !cancelled_;
  }

  void Export(const Batch& batch) {
    const std::string request = EncodeSpans(options_.name, options_.resource, batch);
    const SteadyClock::time_point begin = SteadyClock::now();
    absl::StatusOr<std::string> response;
    // A tracer that stops gives a collector that does not answer one more try, not one after another.
    for (bool last = false;;) {
      response = exporter_->Export(request, DeadlineFrom(begin));
      if (response.ok() || last || !absl::IsUnavailable(response.status()) || !Pause(DeadlineFrom(begin))) break;
      const std::lock_guard lock(mutex_);
      last = stopping_;
    }
    if (!response.ok()) {
      Failed(batch.size(), response.status());
      return;
    }
    const PartialSuccess partial = DecodeResponse(*response);
    const size_t rejected = std::min(static_cast<size_t>(std::max<int64_t>(partial.rejected_spans, 0)), batch.size());
    {
      const std::lock_guard lock(mutex_);
      counts_.exported += batch.size() - rejected;
    }
    if (rejected > 0) Failed(rejected, absl::InvalidArgumentError(StrCat("the collector refused: ", partial.message)));
  }

  void Failed(size_t spans, const absl::Status& why) {
    {
      const std::lock_guard lock(mutex_);
      counts_.dropped += spans;
      ++counts_.failed_exports;
    }
    const SteadyClock::time_point now = SteadyClock::now();
    if (now < log_next_) return;
    log_next_ = now + kLogInterval;
    DF_LOG(Warn, "export of traces: {} spans lost: {}", spans, MessageOf(why));
  }

  const TracerOptions options_;
  const std::unique_ptr<SpanExporter> exporter_;
  SteadyClock::time_point log_next_;  // of the thread alone
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable ended_;
  std::deque<std::unique_ptr<SpanData>> queue_;
  Counts counts_;
  std::atomic<int64_t> open_ = 0;  // spans that have not ended; falls under mutex_
  bool stopping_ = false;
  bool cancelled_ = false;
  bool done_ = false;
  bool joined_ = false;
  SteadyClock::time_point stop_by_;
  std::thread thread_;  // last: it uses all of the above
};

Tracer::Tracer(TracerOptions options, std::unique_ptr<SpanExporter> exporter)
    : sampler_(options.sampler), batches_(std::make_unique<Batches>(std::move(options), std::move(exporter))) {}

Tracer::~Tracer() = default;

Span Tracer::Start(std::string_view name, SpanKind kind, const SpanContext& parent) {
  Span span;
  span.tracer_ = this;
  SpanContext& context = span.context_;
  const bool child = parent.valid();
  if (child) {
    context.trace_id = parent.trace_id;
    context.state = parent.state;
  } else {
    const uint64_t numbers[] = {Random(), Random()};
    std::memcpy(context.trace_id.data(), numbers, sizeof numbers);
  }
  const uint64_t number = Random();
  std::memcpy(context.span_id.data(), &number, sizeof number);
  context.sampled = child && sampler_.follow_parent ? parent.sampled : WithinRatio(context.trace_id, sampler_.ratio);
  if (!context.sampled) return span;

  span.begin_ = SteadyClock::now();
  span.data_ = std::make_unique<SpanData>();
  span.data_->context = context;
  if (child) span.data_->parent_id = parent.span_id;
  span.data_->name = name;
  span.data_->kind = kind;
  span.data_->begin = std::chrono::system_clock::now();
  batches_->Opened();
  return span;
}

void Tracer::Stop(SteadyClock::time_point deadline) { batches_->Stop(deadline); }

Tracer::Counts Tracer::counts() const { return batches_->counts(); }

void Tracer::Ended(std::unique_ptr<SpanData> span) { batches_->Add(std::move(span)); }

Span SpanParent::Start(std::string_view name, SpanKind kind) const {
  return tracer_ == nullptr ? Span() : tracer_->Start(name, kind, context_);
}

Span::Span(Span&& other) noexcept = default;

Span& Span::operator=(Span&& other) noexcept {
  if (this == &other) return *this;
  End();
  tracer_ = other.tracer_;
  context_ = std::move(other.context_);
  data_ = std::move(other.data_);
  begin_ = other.begin_;
  return *this;
}

void Span::Add(std::string_view name, AttributeValue value) {
  for (auto& [have, old] : data_->attributes) {
    if (have != name) continue;
    old = std::move(value);
    return;
  }
  if (data_->attributes.size() < kAttributesMax) data_->attributes.emplace_back(name, std::move(value));
}

void Span::Event(std::string_view text) {
  if (!data_ || data_->events.size() >= kEventsMax) return;
  data_->events.push_back(SpanEvent{std::chrono::system_clock::now(), std::string(text.substr(0, kTextMax))});
}

void Span::Link(const SpanContext& other) {
  if (data_ && other.valid() && data_->links.size() < kLinksMax) data_->links.push_back(other);
}

void Span::SetStatus(const absl::Status& status) {
  if (data_) data_->status = status;
}

void Span::End() {
  if (!data_) return;
  data_->duration = SteadyClock::now() - begin_;
  tracer_->Ended(std::move(data_));
}

}  // namespace dragonfly::telemetry
