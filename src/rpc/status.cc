// SPDX-License-Identifier: Apache-2.0
#include "rpc/status.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/backend_error.h"
#include "base/text.h"
#include "rpc/wire_status.h"

namespace dragonfly::rpc {
namespace {

// Trailers must fit the header list limit of the other side; the strictest (gRPC's libraries) is 8 KiB, and details
// travel as base64.
constexpr size_t kMessageLengthMax = 1024;
constexpr size_t kDetailsLengthMax = 4096;

// A cut must not leave half of a UTF-8 sequence behind.
std::string CutText(std::string_view text, size_t max) {
  if (text.size() <= max) return std::string(text);
  size_t end = max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

std::string DetailsOf(BackendError error) {
  std::string json = error.ToJson();
  if (json.size() <= kDetailsLengthMax) return json;
  // The status code is what matters, the headers are what grows: an origin's long cookie must not hide its 404.
  std::erase_if(error.header, [](const auto& header) { return header.second.size() > 256; });
  error.message = CutText(error.message, kMessageLengthMax);
  json = error.ToJson();
  if (json.size() <= kDetailsLengthMax) return json;
  error.header.clear();
  error.message = CutText(error.message, 256);
  return error.ToJson();
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const auto code = static_cast<grpc::StatusCode>(status.code());
  std::string message = CutText(ToStd(status.message()), kMessageLengthMax);
  if (const std::optional<BackendError> error = GetBackendError(status))
    return grpc::Status(code, message, DetailsOf(*error));
  return grpc::Status(code, message);
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return StatusFromWire(static_cast<int>(status.error_code()), status.error_message(), status.error_details());
}

}  // namespace dragonfly::rpc
