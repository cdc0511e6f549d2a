// SPDX-License-Identifier: Apache-2.0
// A collector of traces for tests: the OTLP service over gRPC, with the generated code.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "opentelemetry/proto/trace/v1/trace.pb.h"

namespace dragonfly::testing {

// Thread-safe. Serves on 127.0.0.1 from the start.
class OtlpCollector {
 public:
  using Span = opentelemetry::proto::trace::v1::Span;
  // A span, with the attributes of who sent it.
  struct Received {
    Span span;
    std::map<std::string, std::string> resource;  // numbers and booleans as text

    // The attribute as text; empty when there is none.
    std::string Attribute(const std::string& name) const;
  };

  OtlpCollector();
  ~OtlpCollector();

  std::string endpoint() const;  // "127.0.0.1:port"
  // Of the calls that follow: an error of this code; 0 is OK.
  void AnswerWith(int code, const std::string& message);
  // Waits until `enough(spans so far)`, 30 s at most; the spans so far.
  std::vector<Received> WaitFor(const std::function<bool(const std::vector<Received>&)>& enough);
  // The same until a span has each of these names.
  std::vector<Received> WaitForNames(const std::vector<std::string>& names);
  // Metadata of the last call.
  std::multimap<std::string, std::string> metadata() const;
  size_t calls() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dragonfly::testing
