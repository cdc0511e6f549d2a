// SPDX-License-Identifier: Apache-2.0
#include "source/plugin_source.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/backend_error.h"
#include "base/status.h"
#include "base/text.h"
#include "runtime/buffer_pool.h"
#include "runtime/signal.h"
#include "source/attempts.h"
#include "source/listing.h"
#include "source/origin_header.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

// Smaller writes of a plugin are put together, since each hand-over between threads costs some 60 microseconds.
constexpr size_t kDirectMin = 256 << 10;

std::string TextOf(const char* field, size_t size) { return std::string(field, ::strnlen(field, size)); }

// Whether the same call may succeed later.
bool MayPass(int code) { return code == DF_ORIGIN_UNAVAILABLE; }

absl::Status StatusOfCode(int code, std::string text) {
  if (code == DF_ORIGIN_OK) return absl::OkStatus();
  text = OneLine(text);
  BackendError error;
  switch (code) {
    case DF_ORIGIN_CANCELLED:
      return absl::CancelledError("the plugin was told to end");
    case DF_ORIGIN_INVALID_ARGUMENT:
      return absl::InvalidArgumentError(StrCat("origin plugin: ", text));
    case DF_ORIGIN_CHANGED:
      return absl::DataLossError(StrCat("object has changed: ", text));
    case DF_ORIGIN_UNSUPPORTED:
      return absl::UnimplementedError(StrCat("origin plugin: not supported: ", text));
    case DF_ORIGIN_NOT_FOUND:
      error.status_code = 404;
      error.message = StrCat("not found: ", text);
      break;
    case DF_ORIGIN_PERMISSION_DENIED:
      error.status_code = 403;
      error.message = StrCat("permission denied: ", text);
      break;
    case DF_ORIGIN_UNAVAILABLE:
      error.message = StrCat("unavailable: ", text);
      break;
    default:
      error.message = text.empty() ? StrCat("the plugin failed with code ", code) : text;
  }
  return MakeBackendErrorStatus(error);
}

}  // namespace

// One call of the plugin. Lives until both the coroutine and the thread have left it.
class PluginSource::Call {
 public:
  Call(std::shared_ptr<const OriginPlugin> plugin, OriginRequest request, HeaderFields header, std::string etag)
      : plugin_(std::move(plugin)), request_(std::move(request)), header_(std::move(header)), etag_(std::move(etag)) {
    for (const auto& [name, value] : header_) fields_.push_back({name.c_str(), value.c_str()});
    wire_.struct_size = sizeof wire_;
    wire_.url = request_.url.c_str();
    wire_.header = fields_.data();
    wire_.header_count = fields_.size();
    wire_.etag = etag_.c_str();
    wire_.timeout_ms = -1;
    if (request_.deadline != kNoDeadline) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(request_.deadline - Clock::now());
      wire_.timeout_ms = std::max<int64_t>(left.count(), 0);
    }
    wire_.cancelled = [](const df_origin_request* wire) { return Of(wire->reserved).Cancelled() ? 1 : 0; };
    wire_.reserved = this;
    sink_.write = [](const df_origin_sink* sink, const void* data, size_t size) {
      return Of(sink->reserved).Write({static_cast<const std::byte*>(data), size}) ? 0 : 1;
    };
    sink_.reserved = this;
    opening_.opened = [](const df_origin_opening* opening, const df_origin_stat* stat) {
      return Of(opening->reserved).TellStat(*stat) ? 0 : 1;
    };
    opening_.sink = &sink_;
    opening_.reserved = this;
    lister_.add = [](const df_origin_lister* lister, const char* path, uint64_t length, int is_directory) {
      return Of(lister->reserved).Add(path, length, is_directory != 0) ? 0 : 1;
    };
    lister_.reserved = this;
  }

  // ---- for the plugin's thread ----

  void Run(const std::function<int(Call&)>& work) {
    int code = Cancelled() ? DF_ORIGIN_CANCELLED : work(*this);
    if (code == DF_ORIGIN_OK && !FlushSmall()) code = DF_ORIGIN_CANCELLED;
    error_.text[DF_ORIGIN_ERROR_TEXT_MAX - 1] = '\0';
    {
      absl::MutexLock lock(&mutex_);
      code_ = code;
    }
    changed_.Notify();
  }

  const df_origin_plugin& table() const { return plugin_->table(); }
  const df_origin_request* wire() const { return &wire_; }
  const df_origin_sink* sink() const { return &sink_; }
  const df_origin_opening* opening() const { return &opening_; }
  const df_origin_lister* lister() const { return &lister_; }
  df_origin_error* error() { return &error_; }
  df_origin_stat& stat() { return stat_; }
  void SetListing(std::unique_ptr<Listing> listing) { listing_ = std::move(listing); }

  // ---- for the coroutine ----

  runtime::Signal& changed() { return changed_; }
  TimePoint deadline() const { return request_.deadline; }
  void Cancel() {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
  }
  // The plugin has told of the object, in stat(), and waits until GoOn() or Cancel().
  bool told() const {
    absl::MutexLock lock(&mutex_);
    return told_;
  }
  void GoOn() {
    absl::MutexLock lock(&mutex_);
    go_on_ = true;
  }
  // What the thread hands over, until Taken().
  std::optional<std::span<const std::byte>> Offer() const {
    absl::MutexLock lock(&mutex_);
    return offer_;
  }
  void Taken() {
    absl::MutexLock lock(&mutex_);
    offer_.reset();
  }
  // What the plugin returned; the results may be read then.
  std::optional<int> code() const {
    absl::MutexLock lock(&mutex_);
    return code_;
  }
  std::string error_text() const { return error_.text; }
  const absl::Status& listing_status() const { return listing_status_; }
  std::vector<OriginEntry> TakeEntries() { return listing_->Take(); }

 private:
  static Call& Of(void* reserved) { return *static_cast<Call*>(reserved); }

  bool Cancelled() const {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }

  bool Write(std::span<const std::byte> bytes) {
    if (bytes.empty()) return !Cancelled();
    if (bytes.size() >= kDirectMin) return FlushSmall() && HandOver(bytes);
    while (!bytes.empty()) {
      if (small_.data() == nullptr) small_ = runtime::Block::TryTake();
      if (small_.data() == nullptr) return HandOver(bytes);
      const size_t size = std::min(bytes.size(), runtime::kBlockSize - small_size_);
      std::memcpy(small_.data() + small_size_, bytes.data(), size);
      small_size_ += size;
      bytes = bytes.subspan(size);
      if (small_size_ == runtime::kBlockSize && !FlushSmall()) return false;
    }
    return true;
  }

  bool FlushSmall() {
    const size_t size = std::exchange(small_size_, 0);
    return size == 0 || HandOver(small_.span().first(size));
  }

  bool MayGoOn() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return go_on_ || cancelled_; }

  // Waits until the coroutine has seen it; false when it wants no bytes, or has been told before.
  bool TellStat(const df_origin_stat& stat) {
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_ || told_) return false;
      // A plugin of an older interface knows less of the structure.
      std::memcpy(&stat_, &stat, std::min<size_t>(stat.struct_size, sizeof stat_));
      told_ = true;
    }
    changed_.Notify();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Call::MayGoOn));
    return !cancelled_;
  }

  bool TakenOrCancelled() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !offer_.has_value() || cancelled_; }

  // Waits until the coroutine has taken the bytes; false when it does not want them.
  bool HandOver(std::span<const std::byte> bytes) {
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return false;
      offer_ = bytes;
    }
    changed_.Notify();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Call::TakenOrCancelled));
    return !cancelled_;
  }

  bool Add(const char* path, uint64_t length, bool is_directory) {
    if (path == nullptr || !listing_status_.ok() || Cancelled()) return false;
    listing_status_ = is_directory ? listing_->AddDirectory(path) : listing_->AddFile(path, length);
    return listing_status_.ok();
  }

  const std::shared_ptr<const OriginPlugin> plugin_;
  const OriginRequest request_;
  const HeaderFields header_;
  const std::string etag_;
  std::vector<df_origin_header> fields_;
  df_origin_request wire_{};
  df_origin_sink sink_{};
  df_origin_opening opening_{};
  df_origin_lister lister_{};

  // The thread's until there is a code, then the coroutine's; of an opening, the stat is the coroutine's from told_ on.
  df_origin_error error_{};
  df_origin_stat stat_{};
  std::unique_ptr<Listing> listing_;
  absl::Status listing_status_;
  runtime::Block small_;
  size_t small_size_ = 0;

  runtime::Signal changed_;
  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool told_ ABSL_GUARDED_BY(mutex_) = false;
  bool go_on_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<std::span<const std::byte>> offer_ ABSL_GUARDED_BY(mutex_);
  std::optional<int> code_ ABSL_GUARDED_BY(mutex_);
};

namespace {

// Tells the plugin that nobody waits any more, however the coroutine ends.
template <typename Call>
class CancelAtExit {
 public:
  explicit CancelAtExit(std::shared_ptr<Call> call) : call_(std::move(call)) {}
  ~CancelAtExit() { call_->Cancel(); }
  CancelAtExit(const CancelAtExit&) = delete;
  CancelAtExit& operator=(const CancelAtExit&) = delete;

 private:
  const std::shared_ptr<Call> call_;
};

OriginStat ToStat(const df_origin_stat& told) {
  OriginStat stat;
  if (told.has_length != 0) {
    stat.content_length = told.content_length;
    stat.header["content-length"] = StrCat(told.content_length);
  }
  stat.accepts_ranges = told.has_length != 0 && told.accepts_ranges != 0;
  const std::string etag = TextOf(told.etag, sizeof told.etag);
  const bool plain = std::ranges::all_of(etag, [](char c) { return c > ' ' && c < 127 && c != '"'; });
  if (!etag.empty() && plain) stat.header["etag"] = StrCat("\"", etag, "\"");
  if (told.modified_at != 0) {
    stat.header["last-modified"] =
        absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::FromUnixSeconds(told.modified_at), absl::UTCTimeZone());
  }
  return stat;
}

absl::Status DeadlinePassed() { return absl::DeadlineExceededError("origin plugin: the deadline has passed"); }

}  // namespace

absl::Status PluginSource::Start(const std::shared_ptr<Call>& call, std::function<int(Call&)> work) {
  const bool queued = plugins_->pool().Post([call, work = std::move(work)] { call->Run(work); });
  if (!queued) return absl::ResourceExhaustedError("origin plugins: too many calls wait for a thread");
  return absl::OkStatus();
}

asio::awaitable<absl::Status> PluginSource::Finish(std::shared_ptr<Call> call) {
  for (;;) {
    const uint64_t seen = call->changed().version();
    if (const std::optional<int> code = call->code()) co_return StatusOfCode(*code, call->error_text());
    const bool in_time = co_await call->changed().Wait(seen, call->deadline());
    if (!in_time) co_return DeadlinePassed();
  }
}

asio::awaitable<absl::StatusOr<OriginStat>> PluginSource::Stat(OriginRequest request) {
  DF_CO_ASSIGN_OR_RETURN(const HeaderFields header, MakeOriginHeader(request.header, {}, options_.user_agent));
  Attempts attempts(options_, random_, request.deadline);
  for (;;) {
    auto call = std::make_shared<Call>(plugin_, request, header, "");
    const CancelAtExit<Call> cancel(call);
    DF_CO_RETURN_IF_ERROR(Start(call, [](Call& self) {
      self.stat().struct_size = sizeof(df_origin_stat);
      return self.table().stat(self.table().self, self.wire(), &self.stat(), self.error());
    }));
    const absl::Status finished = co_await Finish(call);
    if (!finished.ok()) {
      if (!MayPass(call->code().value_or(DF_ORIGIN_INTERNAL))) co_return finished;
      const bool again = co_await attempts.Next();
      if (!again) co_return finished;
      continue;
    }
    co_return ToStat(call->stat());
  }
}

asio::awaitable<absl::Status> PluginSource::ReadOnce(OriginRequest request, uint64_t offset, uint64_t length,
                                                     std::string etag, ByteSink& sink, runtime::TokenBucket& limiter,
                                                     uint64_t& taken) {
  DF_CO_ASSIGN_OR_RETURN(HeaderFields header, MakeOriginHeader(request.header, {}, options_.user_agent));
  auto call = std::make_shared<Call>(plugin_, std::move(request), std::move(header), std::move(etag));
  const CancelAtExit<Call> cancel(call);
  DF_CO_RETURN_IF_ERROR(Start(call, [offset, length](Call& self) {
    return self.table().read(self.table().self, self.wire(), offset, length, self.sink(), self.error());
  }));
  co_return co_await TakeBytes(call, length, sink, limiter, taken);
}

asio::awaitable<absl::Status> PluginSource::TakeBytes(std::shared_ptr<Call> call, uint64_t length, ByteSink& sink,
                                                      runtime::TokenBucket& limiter, uint64_t& taken) {
  for (;;) {
    const uint64_t seen = call->changed().version();
    if (const auto offer = call->Offer()) {
      if (offer->size() > length - taken) {
        co_return absl::FailedPreconditionError(
            StrCat("origin plugin hands over more than the ", length, " bytes asked"));
      }
      const size_t size = offer->size();
      DF_CO_RETURN_IF_ERROR(sink.Append(*offer));
      taken += size;
      co_await limiter.Take(size);
      call->Taken();
      continue;
    }
    if (const std::optional<int> code = call->code()) {
      if (*code == DF_ORIGIN_OK && length != DF_ORIGIN_TO_END && taken < length) {
        co_return absl::DataLossError(StrCat("origin plugin hands over ", taken, " of ", length, " bytes"));
      }
      if (MayPass(*code)) co_return absl::UnavailableError(OneLine(call->error_text()));
      co_return StatusOfCode(*code, call->error_text());
    }
    const bool in_time = co_await call->changed().Wait(seen, call->deadline());
    if (!in_time) co_return DeadlinePassed();
  }
}

namespace {

// As the user sees it.
absl::Status Refused(const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return status;
  BackendError error;
  error.message = StrCat("unavailable: ", MessageOf(status));
  return MakeBackendErrorStatus(error);
}

// Without the quotes of HTTP.
std::string PlainEtag(std::string_view etag) {
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

}  // namespace

asio::awaitable<absl::StatusOr<bool>> PluginSource::WaitForStat(std::shared_ptr<Call> call) {
  for (;;) {
    const uint64_t seen = call->changed().version();
    if (call->told()) co_return true;
    if (call->code()) co_return false;
    const bool in_time = co_await call->changed().Wait(seen, call->deadline());
    if (!in_time) co_return DeadlinePassed();
  }
}

asio::awaitable<absl::StatusOr<Opening>> PluginSource::Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                            runtime::TokenBucket& limiter) {
  if (!plugin_->has_open()) {
    co_return co_await Source::Open(std::move(request), first_bytes, std::move(opened), limiter);
  }
  DF_CO_ASSIGN_OR_RETURN(const HeaderFields header, MakeOriginHeader(request.header, {}, options_.user_agent));
  Attempts attempts(options_, random_, request.deadline);
  for (;;) {
    auto call = std::make_shared<Call>(plugin_, request, header, "");
    const CancelAtExit<Call> cancel(call);
    DF_CO_RETURN_IF_ERROR(Start(call, [first_bytes](Call& self) {
      return self.table().open(self.table().self, self.wire(), first_bytes, self.opening(), self.error());
    }));
    DF_CO_ASSIGN_OR_RETURN(const bool told, co_await WaitForStat(call));
    if (!told) {
      const int code = call->code().value_or(DF_ORIGIN_INTERNAL);
      if (code == DF_ORIGIN_OK) co_return absl::InternalError("origin plugin: open has told nothing of the object");
      const bool again = MayPass(code) && co_await attempts.Next();
      if (!again) co_return StatusOfCode(code, call->error_text());
      continue;
    }
    Opening opening;
    opening.stat = ToStat(call->stat());
    DF_CO_ASSIGN_OR_RETURN(ByteSink* const sink, opened(opening.stat));
    if (sink == nullptr) co_return opening;
    uint64_t length = DF_ORIGIN_TO_END;
    if (opening.stat.accepts_ranges) length = std::min(first_bytes, *opening.stat.content_length);
    call->GoOn();
    opening.body = co_await TakeBytes(call, length, *sink, limiter, opening.bytes);
    if (absl::IsUnavailable(opening.body)) opening.body = Refused(opening.body);
    const std::optional<uint64_t>& whole = opening.stat.content_length;
    if (opening.body.ok() && length == DF_ORIGIN_TO_END && whole && *whole != opening.bytes) {
      opening.body =
          absl::DataLossError(StrCat("object has changed: its length was ", *whole, " and is ", opening.bytes));
    }
    co_return opening;
  }
}

asio::awaitable<absl::Status> PluginSource::Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                                 ByteSink& sink, runtime::TokenBucket& limiter) {
  Attempts attempts(options_, random_, request.deadline);
  for (ByteRange rest = range; rest.length > 0;) {
    uint64_t taken = 0;
    const absl::Status read =
        co_await ReadOnce(request, rest.offset, rest.length, PlainEtag(version.etag), sink, limiter, taken);
    rest.offset += taken;
    rest.length -= taken;
    if (read.ok()) break;
    if (!absl::IsUnavailable(read)) co_return read;
    const bool again = co_await attempts.Next();
    if (!again) co_return Refused(read);
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<uint64_t>> PluginSource::ReadAll(OriginRequest request, ObjectVersion version,
                                                                ByteSink& sink, runtime::TokenBucket& limiter) {
  Attempts attempts(options_, random_, request.deadline);
  for (;;) {
    uint64_t taken = 0;
    const absl::Status read =
        co_await ReadOnce(request, 0, DF_ORIGIN_TO_END, PlainEtag(version.etag), sink, limiter, taken);
    if (read.ok()) {
      if (version.content_length.has_value() && *version.content_length != taken) {
        co_return absl::DataLossError(
            StrCat("object has changed: its length was ", *version.content_length, " and is ", taken));
      }
      co_return taken;
    }
    if (!absl::IsUnavailable(read)) co_return read;
    if (taken > 0) {
      co_return absl::DataLossError(StrCat("origin broke off after ", taken, " bytes: ", MessageOf(read)));
    }
    const bool again = co_await attempts.Next();
    if (!again) co_return Refused(read);
  }
}

asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> PluginSource::List(OriginRequest request,
                                                                             size_t entries_max) {
  if (!plugin_->has_list()) {
    co_return absl::UnimplementedError(StrCat("origins of scheme ", Quoted(plugin_->scheme()), " have no directories"));
  }
  DF_CO_ASSIGN_OR_RETURN(std::string directory, DirectoryUrl(request.url));
  DF_CO_ASSIGN_OR_RETURN(HeaderFields header, MakeOriginHeader(request.header, {}, options_.user_agent));
  request.url = directory;
  auto call = std::make_shared<Call>(plugin_, std::move(request), std::move(header), "");
  const CancelAtExit<Call> cancel(call);
  call->SetListing(std::make_unique<Listing>(std::move(directory), entries_max));
  DF_CO_RETURN_IF_ERROR(Start(
      call, [](Call& self) { return self.table().list(self.table().self, self.wire(), self.lister(), self.error()); }));
  const absl::Status finished = co_await Finish(call);
  if (!call->code().has_value()) co_return finished;
  if (!call->listing_status().ok()) co_return call->listing_status();
  if (!finished.ok()) co_return finished;
  co_return call->TakeEntries();
}

}  // namespace dragonfly::source
