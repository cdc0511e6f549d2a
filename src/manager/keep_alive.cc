// SPDX-License-Identifier: Apache-2.0
#include "manager/keep_alive.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "base/text.h"
#include "manager/registry.h"
#include "manager/validation.h"
#include "rpc/status.h"
#include "telemetry/log.h"

namespace dragonfly::manager {
namespace {

namespace asio = boost::asio;
namespace api = ::manager::v2;

constexpr std::chrono::seconds kWriteTimeout{30};

std::optional<InstanceKind> KindOf(api::SourceType source) {
  if (source == api::SCHEDULER_SOURCE) return InstanceKind::kScheduler;
  if (source == api::SEED_PEER_SOURCE) return InstanceKind::kSeedPeer;
  return std::nullopt;
}

}  // namespace

// gRPC owns it by self_ until OnDone(); coroutines hold it, too. One message is handled after the other: the next read
// begins when the coroutine of the last has ended.
class KeepAlives::Stream final : public grpc::ServerReadReactor<api::KeepAliveRequest>,
                                 public std::enable_shared_from_this<Stream> {
 public:
  explicit Stream(KeepAlives& owner) : owner_(owner) {}

  void Begin() {
    self_ = shared_from_this();
    ReadNext();
  }

  // Once; later ones do nothing.
  void End(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(finished_, true)) return;
    Finish(rpc::ToGrpc(status));
  }

 private:
  void ReadNext() {
    absl::MutexLock lock(&mutex_);
    if (!finished_) StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const std::shared_ptr<Stream> self = shared_from_this();
    owner_.group_.Spawn(ok ? Beat(self) : Leave(self));
  }
  void OnDone() override {
    const std::shared_ptr<Stream> self = std::move(self_);
    absl::MutexLock lock(&owner_.mutex_);
    owner_.streams_.erase(self);
  }

  static asio::awaitable<void> Beat(std::shared_ptr<Stream> self) {
    const absl::Status status = co_await self->Note();
    if (status.ok())
      self->ReadNext();
    else
      self->End(status);
  }

  asio::awaitable<absl::Status> Note() {
    if (!instance_.has_value()) {
      DF_CO_RETURN_IF_ERROR(Validate(request_));
      kind_ = KindOf(request_.source_type());
      instance_ = Instance{request_.hostname(), request_.ip(), request_.cluster_id()};
    }
    if (!kind_.has_value()) co_return absl::OkStatus();  // peers are not listed
    const absl::Time now = absl::Now();
    const db::Database::Work<bool> note = [kind = *kind_, instance = *instance_,
                                           now](db::Connection& connection) -> absl::StatusOr<bool> {
      DF_RETURN_IF_ERROR(KeepActive(connection, kind, instance, now));
      return true;
    };
    const auto noted = co_await owner_.database_.Run<bool>(note, Clock::now() + kWriteTimeout);
    // A seed peer that was deleted meanwhile finds out when it registers again.
    if (absl::IsNotFound(noted.status()) && kind_ == InstanceKind::kSeedPeer && last_heard_.has_value()) {
      co_return absl::OkStatus();
    }
    if (noted.ok()) last_heard_ = now;
    co_return noted.status();
  }

  static asio::awaitable<void> Leave(std::shared_ptr<Stream> self) {
    if (self->kind_.has_value() && self->last_heard_.has_value() && !self->finished()) {
      const db::Database::Work<bool> leave =
          [kind = *self->kind_, instance = *self->instance_,
           heard = *self->last_heard_](db::Connection& connection) -> absl::StatusOr<bool> {
        DF_RETURN_IF_ERROR(MakeInactive(connection, kind, instance, heard));
        return true;
      };
      const auto left = co_await self->owner_.database_.Run<bool>(leave, Clock::now() + kWriteTimeout);
      if (!left.ok()) {
        DF_LOG(Warn, "{} has stopped keeping alive, but stays active: {}", self->instance_->hostname,
               MessageOf(left.status()));
      } else {
        DF_LOG(Info, "{} {} has stopped keeping alive", self->instance_->hostname, self->instance_->ip);
      }
    }
    self->End(absl::OkStatus());
  }

  bool finished() const {
    absl::MutexLock lock(&mutex_);
    return finished_;
  }

  KeepAlives& owner_;
  std::shared_ptr<Stream> self_;
  api::KeepAliveRequest request_;
  std::optional<InstanceKind> kind_;
  std::optional<Instance> instance_;
  std::optional<absl::Time> last_heard_;
  mutable absl::Mutex mutex_;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

KeepAlives::~KeepAlives() {
  // The last stream has told its end on a thread of gRPC.
  const absl::MutexLock lock(&mutex_);
  streams_.clear();
}

grpc::ServerReadReactor<api::KeepAliveRequest>* KeepAlives::Serve(const absl::Status& refused) {
  const auto stream = std::make_shared<Stream>(*this);
  bool closed = false;
  {
    absl::MutexLock lock(&mutex_);
    streams_.insert(stream);
    closed = closed_;
  }
  stream->Begin();
  if (!refused.ok()) stream->End(refused);
  if (closed) stream->End(absl::UnavailableError("the manager is shutting down"));
  return stream.get();
}

void KeepAlives::Close() {
  std::vector<std::shared_ptr<Stream>> open;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    open.assign(streams_.begin(), streams_.end());
  }
  for (const std::shared_ptr<Stream>& stream : open)
    stream->End(absl::UnavailableError("the manager is shutting down"));
}

size_t KeepAlives::size() const {
  absl::MutexLock lock(&mutex_);
  return streams_.size();
}

}  // namespace dragonfly::manager
