// SPDX-License-Identifier: Apache-2.0
#include "message_source.h"

#include <arpa/inet.h>
#include <google/protobuf/descriptor.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

namespace dragonfly::fuzz {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::Reflection;

constexpr int kDepthMax = 6;
constexpr char kNobody[] = "127.0.0.1";

// What a rule may demand or refuse.
constexpr std::array<std::string_view, 9> kWords = {
    "",
    "../a",
    "127.0.0.1",
    "crc32:0",
    "X-Dragonfly-Tag",
    "*",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "100MiB",
    "application/vnd.oci.image.index.v1+json"};

constexpr std::array<std::string_view, 6> kUrls = {"http://127.0.0.1:1/a",
                                                   "http://127.0.0.1:1/b?c=d",
                                                   "http://127.0.0.1:1/v2/a/manifests/b",
                                                   "http://127.0.0.1:1/dir/",
                                                   "s3://bucket/a",
                                                   "not a url"};

constexpr std::array<uint64_t, 12> kNumbers = {0,
                                               1,
                                               2,
                                               3,
                                               255,
                                               4096,
                                               4 << 20,
                                               1 << 30,
                                               std::numeric_limits<int32_t>::max(),
                                               1ULL << 32,
                                               static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
                                               std::numeric_limits<uint64_t>::max()};

// A port of this host that refuses whoever comes, for as long as the process lives.
int ClosedPort() {
  static const int port = [] {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      std::abort();
    }
    return ntohs(address.sin_port);
  }();
  return port;
}

bool IsDialled(std::string_view name) {
  return name == "ip" || name == "remote_ip" || name == "advertise_ip" || name.ends_with("host_ip");
}
bool IsUrl(std::string_view name) {
  return name == "url" || name == "urls" || name == "origin" || name == "endpoint" || name.ends_with("_endpoint") ||
         name == "delegation_token" || name == "proxy";
}
bool IsPath(std::string_view name) { return name == "path" || name.ends_with("_path") || name == "output"; }
bool IsPort(std::string_view name) { return name == "port" || name.ends_with("_port"); }

bool IsId(std::string_view name) { return name == "id" || name.ends_with("_id"); }

// Mostly what a handler takes, so that more than its first rule is met. Ids are few, so that messages meet the same
// host, task and peer again.
std::string Word(std::string_view name, Bytes& bytes) {
  const size_t choice = bytes.Below(32);
  if (choice == 31) return bytes.Text(bytes.Below(40));
  if (choice >= 28) return std::string(kWords[bytes.Below(kWords.size())]);
  if (IsUrl(name)) return std::string(kUrls[choice < 16 ? 0 : choice % kUrls.size()]);
  if (IsId(name)) return choice < 20 ? "a" : choice < 26 ? "b" : "c";
  if (name == "digest") return "";
  return "a";
}

uint64_t Number(std::string_view name, Bytes& bytes) {
  const size_t choice = bytes.Below(32);
  if (choice < 28 && name == "piece_length") return 4 << 20;
  if (choice >= 28) return kNumbers[bytes.Below(kNumbers.size())];
  return choice < 24 ? choice % 4 + 1 : 4 << 20;
}

void Fill(Message& message, int depth, Bytes& bytes);

void FillField(Message& message, const FieldDescriptor& field, int depth, Bytes& bytes) {
  const Reflection& reflection = *message.GetReflection();
  const bool many = field.is_repeated();
  const bool is_number = field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE &&
                         field.cpp_type() != FieldDescriptor::CPPTYPE_STRING &&
                         field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM;
  const uint64_t number = is_number ? Number(field.name(), bytes) : 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      Fill(many ? *reflection.AddMessage(&message, &field) : *reflection.MutableMessage(&message, &field), depth + 1,
           bytes);
      return;
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text =
          field.type() == FieldDescriptor::TYPE_BYTES ? bytes.Text(bytes.Below(64)) : Word(field.name(), bytes);
      many ? reflection.AddString(&message, &field, std::move(text))
           : reflection.SetString(&message, &field, std::move(text));
      return;
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const size_t choice = bytes.Below(64);
      const int value =
          choice == 63 ? -1 : static_cast<int>(choice % static_cast<size_t>(field.enum_type()->value_count()));
      many ? reflection.AddEnumValue(&message, &field, value) : reflection.SetEnumValue(&message, &field, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      many ? reflection.AddBool(&message, &field, number % 2 != 0)
           : reflection.SetBool(&message, &field, number % 2 != 0);
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      many ? reflection.AddInt32(&message, &field, static_cast<int32_t>(number))
           : reflection.SetInt32(&message, &field, static_cast<int32_t>(number));
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      many ? reflection.AddInt64(&message, &field, static_cast<int64_t>(number))
           : reflection.SetInt64(&message, &field, static_cast<int64_t>(number));
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      many ? reflection.AddUInt32(&message, &field, static_cast<uint32_t>(number))
           : reflection.SetUInt32(&message, &field, static_cast<uint32_t>(number));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      many ? reflection.AddUInt64(&message, &field, number) : reflection.SetUInt64(&message, &field, number);
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      many ? reflection.AddDouble(&message, &field, static_cast<double>(number))
           : reflection.SetDouble(&message, &field, static_cast<double>(number));
      return;
    case FieldDescriptor::CPPTYPE_FLOAT:
      many ? reflection.AddFloat(&message, &field, static_cast<float>(number))
           : reflection.SetFloat(&message, &field, static_cast<float>(number));
      return;
  }
}

void Fill(Message& message, int depth, Bytes& bytes) {
  if (depth > kDepthMax) return;
  const Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor& field = *descriptor.field(i);
    // A message of a choice has one of its members: which one, is in one byte, not one byte a member.
    if (field.real_containing_oneof() != nullptr) continue;
    if (bytes.Below(16) == 15) continue;
    for (size_t count = field.is_repeated() ? bytes.Below(4) : 1; count > 0; --count) {
      FillField(message, field, depth, bytes);
    }
  }
  for (int i = 0; i < descriptor.real_oneof_decl_count(); ++i) {
    const auto& choice = *descriptor.oneof_decl(i);
    const size_t member = bytes.Below(static_cast<size_t>(choice.field_count()) + 1);
    if (member < static_cast<size_t>(choice.field_count())) {
      FillField(message, *choice.field(static_cast<int>(member)), depth, bytes);
    }
  }
}

void SetText(Message& message, const FieldDescriptor& field, const std::string& text) {
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) return reflection.SetString(&message, &field, text);
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    reflection.SetRepeatedString(&message, &field, i, text);
  }
}

bool IsKnownUrl(const std::string& url) { return std::ranges::find(kUrls, std::string_view(url)) != kUrls.end(); }

void ConfineText(Message& message, const FieldDescriptor& field, std::string_view directory) {
  const Reflection& reflection = *message.GetReflection();
  if (IsDialled(field.name())) return SetText(message, field, kNobody);
  if (IsPath(field.name())) return SetText(message, field, std::string(directory) + "/out");
  if (!IsUrl(field.name())) return;
  const bool many = field.is_repeated();
  for (int i = 0; i < (many ? reflection.FieldSize(message, &field) : 1); ++i) {
    const std::string url =
        many ? reflection.GetRepeatedString(message, &field, i) : reflection.GetString(message, &field);
    if (!IsKnownUrl(url)) return SetText(message, field, std::string(kUrls[0]));
  }
}

// Every address and path of the message becomes a harmless one.
void Confine(Message& message, std::string_view directory) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> present;
  reflection.ListFields(message, &present);
  for (const FieldDescriptor* const field : present) {
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      ConfineText(message, *field, directory);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT32 && !field->is_repeated() && IsPort(field->name())) {
      reflection.SetInt32(&message, field, ClosedPort());
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!field->is_repeated()) {
        Confine(*reflection.MutableMessage(&message, field), directory);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        Confine(*reflection.MutableRepeatedMessage(&message, field, i), directory);
      }
    }
  }
}

}  // namespace

uint8_t Bytes::Next() {
  if (data_.empty()) return 0;
  const uint8_t value = data_.front();
  data_ = data_.subspan(1);
  return value;
}

std::string Bytes::Text(size_t max) {
  const size_t size = std::min(max, data_.size());
  std::string text(reinterpret_cast<const char*>(data_.data()), size);
  data_ = data_.subspan(size);
  return text;
}

std::string MakeMessage(const Descriptor& descriptor, std::string_view directory, Bytes& bytes) {
  const std::unique_ptr<Message> message(MessageFactory::generated_factory()->GetPrototype(&descriptor)->New());
  const bool damaged = bytes.Below(8) == 7;
  Fill(*message, 0, bytes);
  std::string wire = message->SerializePartialAsString();
  if (damaged && !wire.empty()) {
    for (size_t i = bytes.Below(4) + 1; i > 0; --i) {
      wire[(bytes.Below(256) << 8 | bytes.Below(256)) % wire.size()] = static_cast<char>(bytes.Next());
    }
    wire.resize(wire.size() - bytes.Below(std::min<size_t>(wire.size() + 1, 256)));
  }
  // What no decoder takes, goes out as it is.
  if (!message->ParsePartialFromString(wire)) return wire;
  Confine(*message, directory);
  return message->SerializePartialAsString();
}

}  // namespace dragonfly::fuzz
