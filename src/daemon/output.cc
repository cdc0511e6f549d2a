// SPDX-License-Identifier: Apache-2.0
#include "daemon/output.h"

#include <utility>

#include "absl/strings/cord.h"
#include "base/status.h"
#include "base/text.h"
#include "telemetry/log.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

// Marks the status of a mismatch, which has a code that others have, too.
constexpr char kDigestMismatch[] = "dragonfly.daemon/digest-mismatch";

absl::Status Verify(const storage::TaskContent& content, const Digest& expected) {
  DF_ASSIGN_OR_RETURN(const Digest actual, DigestOfFile(content.path(), expected.algorithm()));
  if (actual == expected) return absl::OkStatus();
  absl::Status mismatch =
      absl::InternalError(StrCat("digest mismatch expected: ", expected.ToString(), ", actual: ", actual.ToString()));
  mismatch.SetPayload(kDigestMismatch, absl::Cord());
  return mismatch;
}

absl::Status Make(storage::TaskContent& content, const OutputRequest& request) {
  if (request.digest && !request.range) DF_RETURN_IF_ERROR(Verify(content, *request.digest));
  if (request.path.empty()) return absl::OkStatus();
  if (request.range) return content.ExportRangeTo(request.path, *request.range, request.options);
  DF_ASSIGN_OR_RETURN(const storage::ExportMethod method, content.ExportTo(request.path, request.options));
  DF_LOG(Debug, "task {}: output {} made, method {}", content.id().str(), request.path, static_cast<int>(method));
  return absl::OkStatus();
}

}  // namespace

bool IsDigestMismatch(const absl::Status& status) { return status.GetPayload(kDigestMismatch).has_value(); }

asio::awaitable<absl::Status> MakeOutput(runtime::BlockingPool& blocking, std::shared_ptr<storage::TaskContent> content,
                                         OutputRequest request) {
  if (!request.digest && request.path.empty()) co_return absl::OkStatus();
  std::function<absl::Status()> job = [&content, &request] { return Make(*content, request); };
  co_return co_await blocking.Run(std::move(job));
}

}  // namespace dragonfly::daemon
