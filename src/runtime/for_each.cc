// SPDX-License-Identifier: Apache-2.0
#include "runtime/for_each.h"

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <memory>

#include "runtime/signal.h"
#include "runtime/task_group.h"

namespace dragonfly::runtime {
namespace asio = boost::asio;
namespace {

struct Loop {
  size_t count = 0;
  size_t next = 0;
  size_t workers = 0;
  Signal ended;
  std::function<asio::awaitable<void>(size_t)> work;
};

asio::awaitable<void> Work(std::shared_ptr<Loop> loop) {
  const std::shared_ptr<void> gone(nullptr, [loop](void*) {
    --loop->workers;
    loop->ended.Notify();
  });
  while (loop->next < loop->count) co_await loop->work(loop->next++);
}

}  // namespace

asio::awaitable<void> ForEach(size_t count, size_t at_once, std::function<asio::awaitable<void>(size_t)> work) {
  if (count == 0) co_return;
  const auto loop = std::make_shared<Loop>();
  loop->count = count;
  loop->work = std::move(work);
  loop->workers = std::clamp<size_t>(at_once, 1, count);
  TaskGroup group(co_await asio::this_coro::executor);
  for (size_t i = loop->workers; i > 0; --i) group.Spawn(Work(loop));
  bool cancelled = false;
  try {
    for (;;) {
      const uint64_t seen = loop->ended.version();
      if (loop->workers == 0) break;
      co_await loop->ended.Wait(seen);
    }
  } catch (const boost::system::system_error&) {
    cancelled = true;
  }
  if (cancelled) co_await asio::this_coro::throw_if_cancelled(false);
  co_await group.Stop();
  if (cancelled) throw boost::system::system_error(asio::error::operation_aborted);
}

}  // namespace dragonfly::runtime
