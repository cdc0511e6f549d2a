// SPDX-License-Identifier: Apache-2.0
#include "daemon/io_groups.h"

#include <algorithm>

namespace dragonfly::daemon {

IoGroups::IoGroups(runtime::IoThreads& io) : io_(io) {
  for (size_t index = 0; index < io.size(); ++index) {
    Entry entry;
    entry.context = &io.At(index);
    entry.group = std::make_unique<runtime::TaskGroup>(entry.context->get_executor());
    groups_.push_back(std::move(entry));
  }
}

runtime::TaskGroup& IoGroups::For(std::string_view key) {
  boost::asio::io_context* const context = &io_.For(key);
  const auto entry =
      std::find_if(groups_.begin(), groups_.end(), [context](const Entry& e) { return e.context == context; });
  return *entry->group;
}

boost::asio::awaitable<void> IoGroups::Stop() {
  for (const Entry& entry : groups_) co_await entry.group->Stop();
}

}  // namespace dragonfly::daemon
