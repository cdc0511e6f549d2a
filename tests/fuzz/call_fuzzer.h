// SPDX-License-Identifier: Apache-2.0
// Calls to the services of a running program, by what a fuzzer gives: from the bytes of a connection through gRPC's
// decoder to the handler and back.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dragonfly::fuzz {

class CallFuzzer {
 public:
  // `services` are full names; every method of theirs is called. Paths in requests lie below `directory`.
  CallFuzzer(std::shared_ptr<grpc::Channel> channel, const std::vector<std::string>& services, std::string directory);

  // Up to 16 steps: calls, and messages of up to three streams at a time. Returns when all calls are over. Ends the
  // process when a handler let an exception out.
  void Run(std::span<const uint8_t> data);

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const std::string directory_;
  std::vector<const google::protobuf::MethodDescriptor*> methods_;
};

}  // namespace dragonfly::fuzz
