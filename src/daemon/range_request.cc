// SPDX-License-Identifier: Apache-2.0
#include "daemon/range_request.h"

#include "base/status.h"
#include "base/text.h"
#include "common/v2/common.pb.h"

namespace dragonfly::daemon {

RangeRequest::RangeRequest(const common::v2::Download& wire) {
  if (wire.has_range()) {
    field_ = ByteRange{wire.range().start(), wire.range().length()};
    return;
  }
  for (const auto& [name, value] : wire.request_header()) {
    if (EqualsIgnoreCase(name, "range")) header_ = value;
  }
}

absl::Status RangeRequest::Check() const {
  if (!field_ || field_->length > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("invalid parameter: range has length 0");
}

absl::StatusOr<std::optional<ByteRange>> RangeRequest::Resolve(uint64_t content_length) const {
  std::optional<ByteRange> range;
  if (field_) {
    if (field_->offset >= content_length) {
      return absl::FailedPreconditionError(StrCat("range ", field_->offset, "+", field_->length,
                                                  " begins behind the end of the file of ", content_length, " bytes"));
    }
    DF_ASSIGN_OR_RETURN(range, ClampRange(field_->offset, field_->length, content_length));
  } else if (!header_.empty()) {
    DF_ASSIGN_OR_RETURN(range, ParseHttpRange(header_, content_length));
  }
  return range;
}

}  // namespace dragonfly::daemon
