// SPDX-License-Identifier: Apache-2.0
#include "daemon/copy_announcement.h"

#include <optional>
#include <utility>

#include "base/status.h"
#include "common/v2/common.pb.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

constexpr Clock::duration kAnswerTimeout = std::chrono::seconds(15);
constexpr Clock::duration kEndTimeout = std::chrono::seconds(5);

}  // namespace

asio::awaitable<void> AnnounceCopy(const TaskManagerParts& parts, TaskId id,
                                   std::shared_ptr<const common::v2::Download> wire) {
  const std::shared_ptr<storage::TaskContent> content = parts.store.Find(id);
  if (content == nullptr || !content->complete()) co_return;
  const PieceLayout layout = *content->layout();
  TaskFacts facts;
  facts.content_length = layout.content_length();
  facts.piece_length = layout.piece_length();
  facts.piece_count = layout.piece_count();

  auto session = co_await parts.schedulers.OpenSession(
      id, MakePeerId(parts.identity.ip, parts.identity.hostname, parts.identity.seed));
  absl::Status status = session.status();
  if (status.ok()) {
    common::v2::Download registration = *wire;
    registration.clear_output_path();
    registration.clear_range();
    registration.set_metadata_only(true);
    const auto answer = co_await (*session)->Register(registration, facts, Clock::now() + kAnswerTimeout);
    status = answer.status();
  }
  if (!status.ok()) {
    DF_LOG(Warn, "task {}: tell the scheduler that it is here: {}", id.str(), status.ToString());
    co_return;
  }
  (*session)->Started();
  co_await (*session)->Finished(std::move(facts), Clock::now() + kEndTimeout);
}

}  // namespace dragonfly::daemon
