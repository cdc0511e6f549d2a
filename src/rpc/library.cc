// SPDX-License-Identifier: Apache-2.0
#include "rpc/library.h"

#include <grpc/grpc.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>

namespace dragonfly::rpc {
namespace {

// A channel takes part in the callback threads from its first callback call until it goes. This one never goes, and its
// call fails at once, since it leads nowhere.
struct Anchor {
  Anchor() {
    grpc_init();
    const grpc::Slice empty;
    request = grpc::ByteBuffer(&empty, 1);
    channel = grpc::CreateCustomChannel("", nullptr, grpc::ChannelArguments());
    grpc::GenericStub(channel).UnaryCall(&context, "/", grpc::StubOptions(), &request, &response,
                                         [](const grpc::Status&) {});
  }

  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
};

}  // namespace

void KeepLibrary() { [[maybe_unused]] static Anchor* const anchor = new Anchor; }

}  // namespace dragonfly::rpc
