// SPDX-License-Identifier: Apache-2.0
// The origin behind the URLs of a plugin's scheme: its blocking calls as coroutines.
//
// A call runs on a thread of PluginSet::pool(). Bytes stay where the plugin has them: the thread waits in the sink's
// write until the coroutine has appended them and paid for them at the bandwidth limit. A coroutine that is cancelled,
// or whose deadline has passed, tells the plugin and does not wait for it; the call's state belongs to both.
#pragma once

#include <memory>

#include "absl/random/random.h"
#include "source/plugin_set.h"
#include "source/source.h"

namespace dragonfly::source {

class PluginSource : public Source {
 public:
  // `options` must outlive it.
  PluginSource(std::shared_ptr<PluginSet> plugins, std::shared_ptr<const OriginPlugin> plugin,
               const SourceOptions& options)
      : plugins_(std::move(plugins)), plugin_(std::move(plugin)), options_(options) {}

  boost::asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) override;
  // By the plugin's own open, where it has one.
  boost::asio::awaitable<absl::StatusOr<Opening>> Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                       runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version,
                                            ByteSink& sink, runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version, ByteSink& sink,
                                                           runtime::TokenBucket& limiter) override;
  boost::asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request,
                                                                        size_t entries_max) override;

 private:
  class Call;

  // Starts `work` for `call` on a thread. Errors: RESOURCE_EXHAUSTED.
  absl::Status Start(const std::shared_ptr<Call>& call, std::function<int(Call&)> work);
  // The code that the plugin returns for a call that hands over no bytes.
  boost::asio::awaitable<absl::Status> Finish(std::shared_ptr<Call> call);
  // Waits until `call` has told of the object (then true) or ended.
  boost::asio::awaitable<absl::StatusOr<bool>> WaitForStat(std::shared_ptr<Call> call);
  // Takes what `call` hands over, at most `length` bytes, until it ends; `taken` counts it. UNAVAILABLE for what may
  // pass.
  boost::asio::awaitable<absl::Status> TakeBytes(std::shared_ptr<Call> call, uint64_t length, ByteSink& sink,
                                                 runtime::TokenBucket& limiter, uint64_t& taken);
  // One read by the plugin; `taken` is what the sink has got of it, also when it fails.
  boost::asio::awaitable<absl::Status> ReadOnce(OriginRequest request, uint64_t offset, uint64_t length,
                                                std::string etag, ByteSink& sink, runtime::TokenBucket& limiter,
                                                uint64_t& taken);

  const std::shared_ptr<PluginSet> plugins_;
  const std::shared_ptr<const OriginPlugin> plugin_;
  const SourceOptions& options_;
  absl::BitGen random_;
};

}  // namespace dragonfly::source
