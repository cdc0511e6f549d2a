// SPDX-License-Identifier: Apache-2.0
#include "redis/reply.h"

#include <string_view>

#include "base/text.h"

namespace dragonfly::redis {
namespace {

// Carries the line of the server, whatever is put before the message later.
constexpr char kLine[] = "dragonfly.redis/error";

const char* NameOf(Reply::Kind kind) {
  switch (kind) {
    case Reply::Kind::kNil:
      return "nothing";
    case Reply::Kind::kText:
      return "a text";
    case Reply::Kind::kInteger:
      return "a number";
    case Reply::Kind::kArray:
      return "a list";
  }
  return "?";
}

absl::Status Unexpected(const Reply& reply, std::string_view wanted) {
  return absl::InternalError(StrCat("the server answered ", NameOf(reply.kind), " instead of ", wanted));
}

absl::StatusCode CodeOf(std::string_view word) {
  for (const std::string_view known : {"LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "BUSY", "OOM"}) {
    if (word == known) return absl::StatusCode::kUnavailable;
  }
  if (word == "NOAUTH" || word == "WRONGPASS") return absl::StatusCode::kUnauthenticated;
  if (word == "NOPERM") return absl::StatusCode::kPermissionDenied;
  return absl::StatusCode::kInternal;
}

}  // namespace

absl::StatusOr<std::string> Reply::Text() const {
  if (kind == Kind::kNil) return absl::NotFoundError("no such key");
  if (kind != Kind::kText) return Unexpected(*this, "a text");
  return text;
}

absl::StatusOr<int64_t> Reply::Integer() const {
  if (kind != Kind::kInteger) return Unexpected(*this, "a number");
  return integer;
}

absl::StatusOr<std::vector<std::string>> Reply::Texts() const {
  std::vector<std::string> texts;
  if (kind == Kind::kNil) return texts;
  if (kind != Kind::kArray) return Unexpected(*this, "a list");
  for (const Reply& element : array) {
    if (element.kind != Kind::kText) return Unexpected(element, "a text in the list");
    texts.push_back(element.text);
  }
  return texts;
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> Reply::Fields() const {
  const absl::StatusOr<std::vector<std::string>> texts = Texts();
  if (!texts.ok()) return texts.status();
  if (texts->size() % 2 != 0) return absl::InternalError("the server answered a field without a value");
  std::vector<std::pair<std::string, std::string>> fields;
  for (size_t i = 0; i < texts->size(); i += 2) fields.emplace_back((*texts)[i], (*texts)[i + 1]);
  return fields;
}

absl::Status ErrorOf(const std::string& line) {
  absl::Status status(CodeOf(std::string_view(line).substr(0, line.find(' '))), line);
  status.SetPayload(kLine, absl::Cord(line));
  return status;
}

bool IsError(const absl::Status& status, const std::string& word) {
  const auto line = status.GetPayload(kLine);
  return line.has_value() && line->StartsWith(word) &&
         (line->size() == word.size() || line->Subcord(word.size(), 1) == " ");
}

}  // namespace dragonfly::redis
