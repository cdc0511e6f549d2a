// SPDX-License-Identifier: Apache-2.0
#include "daemon/unserved_calls.h"

#include "base/text.h"

namespace dragonfly::daemon {

grpc::Status NotServedStatus(std::string_view service, std::string_view method) {
  return grpc::Status(grpc::StatusCode::UNIMPLEMENTED, StrCat(service, "/", method, " is not served by this dfdaemon"));
}

grpc::ServerUnaryReactor* RefuseUnary(grpc::CallbackServerContext* context, const grpc::Status& status) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

}  // namespace dragonfly::daemon
