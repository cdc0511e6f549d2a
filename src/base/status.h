// SPDX-License-Identifier: Apache-2.0
// Helpers around absl::Status, the one error type of the project.
#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dragonfly {

// The message of `status`, for whoever formats it.
inline std::string_view MessageOf(const absl::Status& status) {
  return std::string_view(status.message().data(), status.message().size());
}

// Returns `status` with "`context`: " put before its message; code and payloads stay. OK stays OK.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// The status for `error_number` (an errno value): "`context`: <strerror>", with the canonical code that fits
// (ENOENT is NOT_FOUND, ENOSPC and EDQUOT RESOURCE_EXHAUSTED, EACCES PERMISSION_DENIED, ECONNREFUSED UNAVAILABLE ...).
absl::Status ErrnoStatus(int error_number, std::string_view context);

}  // namespace dragonfly

#define DF_STATUS_CONCAT_INNER(a, b) a##b
#define DF_STATUS_CONCAT(a, b) DF_STATUS_CONCAT_INNER(a, b)

// Leaves the function with the status when `expr` (absl::Status) is not OK.
#define DF_RETURN_IF_ERROR(expr)             \
  do {                                       \
    absl::Status df_status_ = (expr);        \
    if (!df_status_.ok()) return df_status_; \
  } while (false)

// Evaluates `expr` (absl::StatusOr<T>); assigns its value to `lhs` or leaves the function with its status.
#define DF_ASSIGN_OR_RETURN(lhs, expr) \
  DF_ASSIGN_OR_RETURN_IMPL(DF_STATUS_CONCAT(df_statusor_, __LINE__), return, lhs, expr)

// The same two for coroutines.
#define DF_CO_RETURN_IF_ERROR(expr)             \
  do {                                          \
    absl::Status df_status_ = (expr);           \
    if (!df_status_.ok()) co_return df_status_; \
  } while (false)
#define DF_CO_ASSIGN_OR_RETURN(lhs, expr) \
  DF_ASSIGN_OR_RETURN_IMPL(DF_STATUS_CONCAT(df_statusor_, __LINE__), co_return, lhs, expr)

#define DF_ASSIGN_OR_RETURN_IMPL(statusor, leave, lhs, expr) \
  auto statusor = (expr);                                    \
  if (!statusor.ok()) leave std::move(statusor).status();    \
  lhs = *std::move(statusor)
