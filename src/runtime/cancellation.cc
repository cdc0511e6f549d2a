// SPDX-License-Identifier: Apache-2.0
#include "runtime/cancellation.h"

#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

namespace dragonfly::runtime {

bool IsCancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    return error.code() == boost::asio::error::operation_aborted;
  } catch (...) {
    return false;
  }
}

}  // namespace dragonfly::runtime
