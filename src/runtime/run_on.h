// SPDX-License-Identifier: Apache-2.0
// A coroutine of one thread that runs a part of its work on another.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <memory>
#include <utility>

namespace dragonfly::runtime {

// Runs `work` on `executor`, which belongs to one thread, and returns its result on the caller's executor. A
// cancellation of the caller is handed over to `work`; the call returns when `work` has ended there, in any case.
// Exceptions of `work` come out here. T must be default-constructible.
//
// co_await asio::co_spawn(executor, ..., use_awaitable) will not do: in Boost 1.81 its cancellation refers, from the
// other thread, to a signal that the caller's next operation destroys.
template <typename T>
boost::asio::awaitable<T> RunOn(boost::asio::any_io_executor executor, boost::asio::awaitable<T> work) {
  namespace asio = boost::asio;
  const auto initiate = [](auto handler, asio::any_io_executor there, asio::awaitable<T> body) {
    const auto cancel = std::make_shared<asio::cancellation_signal>();
    asio::cancellation_slot slot = asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected()) {
      slot.assign(
          [cancel, there](asio::cancellation_type type) { asio::post(there, [cancel, type] { cancel->emit(type); }); });
    }
    const auto here = asio::get_associated_executor(handler);
    auto finish = [cancel, here, handler = std::move(handler)](const std::exception_ptr& error, T value) mutable {
      asio::post(here, [handler = std::move(handler), error, value = std::move(value)]() mutable {
        std::move(handler)(error, std::move(value));
      });
    };
    asio::co_spawn(there, std::move(body), asio::bind_cancellation_slot(cancel->slot(), std::move(finish)));
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr, T)>(
      initiate, asio::use_awaitable, std::move(executor), std::move(work));
}

}  // namespace dragonfly::runtime
