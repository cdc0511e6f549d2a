// SPDX-License-Identifier: Apache-2.0
// The protocol's names, numbers and types are frozen: peers of other builds and of the original depend on them.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/v2/common.pb.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "errordetails/v2/errordetails.pb.h"
#include "manager/v2/manager.pb.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

std::string Row(std::initializer_list<std::string> cells) { return absl::StrJoin(cells, "\t"); }

std::string TypeOf(const FieldDescriptor& field) {
  if (field.is_map()) {
    const Descriptor& entry = *field.message_type();
    return absl::StrCat("map<", TypeOf(*entry.map_key()), ",", TypeOf(*entry.map_value()), ">");
  }
  if (field.type() == FieldDescriptor::TYPE_MESSAGE) return field.message_type()->full_name();
  if (field.type() == FieldDescriptor::TYPE_ENUM) return field.enum_type()->full_name();
  return field.type_name();
}

std::string LabelOf(const FieldDescriptor& field) {
  if (field.is_repeated()) return field.is_map() ? "map" : "repeated";
  if (field.real_containing_oneof() != nullptr) return absl::StrCat("oneof:", field.real_containing_oneof()->name());
  return field.has_optional_keyword() ? "optional" : "singular";
}

// Rows of contract.tsv: kind, owner, name, number, label, type.
std::set<std::string> RowsOf(const FileDescriptor& file) {
  std::set<std::string> rows;
  for (int i = 0; i < file.enum_type_count(); ++i) {
    const EnumDescriptor& type = *file.enum_type(i);
    for (int k = 0; k < type.value_count(); ++k)
      rows.insert(
          Row({"enum", type.full_name(), type.value(k)->name(), absl::StrCat(type.value(k)->number()), "", ""}));
  }
  for (int i = 0; i < file.message_type_count(); ++i) {
    const Descriptor& type = *file.message_type(i);
    rows.insert(Row({"message", type.full_name(), "", "", "", ""}));
    for (int k = 0; k < type.field_count(); ++k) {
      const FieldDescriptor& field = *type.field(k);
      rows.insert(
          Row({"field", type.full_name(), field.name(), absl::StrCat(field.number()), LabelOf(field), TypeOf(field)}));
    }
  }
  for (int i = 0; i < file.service_count(); ++i) {
    const ServiceDescriptor& service = *file.service(i);
    for (int k = 0; k < service.method_count(); ++k) {
      const MethodDescriptor& method = *service.method(k);
      const std::string label = absl::StrCat(method.client_streaming() ? "stream" : "unary", ">",
                                             method.server_streaming() ? "stream" : "unary");
      rows.insert(Row({"rpc", service.full_name(), method.name(), "", label,
                       absl::StrCat(method.input_type()->full_name(), ">", method.output_type()->full_name())}));
    }
  }
  return rows;
}

std::set<std::string> RowsOfProtos() {
  std::set<std::string> rows;
  for (const FileDescriptor* file :
       {common::v2::Task::descriptor()->file(), errordetails::v2::Backend::descriptor()->file(),
        dfdaemon::v2::Entry::descriptor()->file(), manager::v2::Scheduler::descriptor()->file(),
        scheduler::v2::Image::descriptor()->file()})
    rows.merge(RowsOf(*file));
  return rows;
}

std::set<std::string> RowsOfTable() {
  std::set<std::string> rows;
  std::ifstream table(DF_CONTRACT_TABLE);
  for (std::string line; std::getline(table, line);)
    if (!line.empty() && line.front() != '#') rows.insert(line);
  return rows;
}

TEST(WireContract, ProtosHoldExactlyWhatTheTableSays) {
  EXPECT_THAT(RowsOfProtos(), testing::ContainerEq(RowsOfTable()));
}

// Numbers that one version of the original's API removed and the other still sends.
TEST(WireContract, FieldsOfBothApiVersionsAreKept) {
  EXPECT_EQ(common::v2::Network::kDownloadRateFieldNumber, 5);
  EXPECT_EQ(common::v2::Network::kTxBandwidthFieldNumber, 12);
  EXPECT_EQ(common::v2::Download::kLoadToCacheFieldNumber, 21);
  EXPECT_EQ(common::v2::Download::kMetadataOnlyFieldNumber, 33);
  EXPECT_EQ(scheduler::v2::DownloadPeerFinishedRequest::kContentLengthFieldNumber, 1);
  EXPECT_EQ(scheduler::v2::DownloadPeerBackToSourceFinishedRequest::kPieceCountFieldNumber, 2);
  EXPECT_EQ(scheduler::v2::RegisterPersistentCachePeerRequest::kConcurrentPieceCountFieldNumber, 6);
}

// API 2.1.40 sends a Duration under a number that is a varint today: the rest of the message must survive it.
TEST(WireContract, AReusedNumberDoesNotSpoilTheMessage) {
  // persistent = true; field 6 as an embedded Duration of 5 s; piece_length = 4 MiB.
  const std::string old_form("\x08\x01\x32\x02\x08\x05\x20\x80\x80\x80\x02", 11);
  scheduler::v2::RegisterPersistentCachePeerRequest request;
  ASSERT_TRUE(request.ParseFromString(old_form));
  EXPECT_TRUE(request.persistent());
  EXPECT_EQ(request.piece_length(), 4u << 20);
  EXPECT_FALSE(request.has_concurrent_piece_count());
}

}  // namespace
}  // namespace dragonfly
