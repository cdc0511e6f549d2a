// SPDX-License-Identifier: Apache-2.0
#include "daemon/origin_access.h"

#include <gtest/gtest.h>

#include "dfdaemon/v2/dfdaemon.pb.h"

namespace dragonfly::daemon {
namespace {

template <typename Request>
class OriginAccess : public ::testing::Test {};
using Requests = ::testing::Types<common::v2::Download, dfdaemon::v2::ListTaskEntriesRequest>;
TYPED_TEST_SUITE(OriginAccess, Requests);

TYPED_TEST(OriginAccess, CarriesEveryCredential) {
  TypeParam request;
  auto& storage = *request.mutable_object_storage();
  storage.set_region("region");
  storage.set_endpoint("endpoint");
  storage.set_access_key_id("id");
  storage.set_access_key_secret("secret");
  storage.set_session_token("session");
  storage.set_security_token("security");
  storage.set_credential_path("/path");
  storage.set_insecure_skip_verify(true);
  request.mutable_hdfs()->set_delegation_token("delegation");
  request.mutable_hugging_face()->set_token("hf token");
  request.mutable_hugging_face()->set_revision("hf revision");
  request.mutable_hugging_face()->set_base_url("hf base");
  request.mutable_model_scope()->set_token("ms token");
  request.mutable_model_scope()->set_revision("ms revision");
  request.mutable_model_scope()->set_base_url("ms base");

  request.add_certificate_chain("first");
  request.add_certificate_chain("second");

  source::OriginRequest origin;
  SetOriginAccess(request, /*local=*/true, origin);
  ASSERT_NE(origin.authorities, nullptr);
  EXPECT_EQ(*origin.authorities, (std::vector<std::string>{"first", "second"}));
  const source::OriginAccess& access = origin.access;
  EXPECT_TRUE(access.object_storage.own_key_allowed);
  EXPECT_EQ(access.object_storage.region, "region");
  EXPECT_EQ(access.object_storage.endpoint, "endpoint");
  EXPECT_EQ(access.object_storage.access_key_id, "id");
  EXPECT_EQ(access.object_storage.access_key_secret, "secret");
  EXPECT_EQ(access.object_storage.session_token, "session");
  EXPECT_EQ(access.object_storage.security_token, "security");
  EXPECT_EQ(access.object_storage.credential_path, "/path");
  EXPECT_TRUE(access.object_storage.insecure_skip_verify);
  EXPECT_EQ(access.hdfs_delegation_token, "delegation");
  EXPECT_EQ(access.hugging_face.token, "hf token");
  EXPECT_EQ(access.hugging_face.revision, "hf revision");
  EXPECT_EQ(access.hugging_face.base_url, "hf base");
  EXPECT_EQ(access.model_scope.token, "ms token");
  EXPECT_EQ(access.model_scope.revision, "ms revision");
  EXPECT_EQ(access.model_scope.base_url, "ms base");
}

TYPED_TEST(OriginAccess, IsEmptyWhereNothingIsTold) {
  source::OriginRequest origin;
  SetOriginAccess(TypeParam(), /*local=*/false, origin);
  EXPECT_EQ(origin.authorities, nullptr);
  const source::OriginAccess& access = origin.access;
  EXPECT_FALSE(access.object_storage.own_key_allowed);
  EXPECT_EQ(access.object_storage.endpoint, "");
  EXPECT_FALSE(access.object_storage.insecure_skip_verify);
  EXPECT_EQ(access.hdfs_delegation_token, "");
  EXPECT_EQ(access.hugging_face.token, "");
  EXPECT_EQ(access.model_scope.revision, "");
}

common::v2::Download Plain() {
  common::v2::Download wire;
  wire.set_url("https://origin/file?version=1");
  (*wire.mutable_request_header())["User-Agent"] = "curl";
  (*wire.mutable_request_header())["Accept"] = "*/*";
  return wire;
}

TEST(Credentials, AreHeadersFieldsUserNamesAndSignatures) {
  const OriginTerms terms;
  EXPECT_FALSE(BringsCredentials(Plain(), terms));
  const auto brings = [&terms](auto change) {
    common::v2::Download wire = Plain();
    change(wire);
    return BringsCredentials(wire, terms) && DifferentAccess(wire, terms, Plain(), terms) &&
           !DifferentAccess(wire, terms, wire, terms);
  };
  EXPECT_TRUE(brings([](auto& wire) { (*wire.mutable_request_header())["AUTHORIZATION"] = "Bearer a"; }));
  EXPECT_TRUE(brings([](auto& wire) { (*wire.mutable_request_header())["Private-Token"] = "a"; }));
  EXPECT_TRUE(brings([](auto& wire) { wire.mutable_object_storage()->set_access_key_id("id"); }));
  EXPECT_TRUE(brings([](auto& wire) { wire.mutable_object_storage()->set_credential_path("/key"); }));
  EXPECT_TRUE(brings([](auto& wire) { wire.mutable_hdfs()->set_delegation_token("a"); }));
  EXPECT_TRUE(brings([](auto& wire) { wire.mutable_hugging_face()->set_token("a"); }));
  EXPECT_TRUE(brings([](auto& wire) { wire.mutable_model_scope()->set_token("a"); }));
  EXPECT_TRUE(brings([](auto& wire) { wire.set_url("https://user:word@origin/file?version=1"); }));
  EXPECT_TRUE(brings([](auto& wire) {
    wire.set_url("https://origin/file?version=1&Signature=a");
    wire.add_filtered_query_params("Signature");
  }));
}

TEST(Credentials, HeadersThatTellNobodyWhoAsksMakeNoDifference) {
  common::v2::Download other = Plain();
  (*other.mutable_request_header())["user-agent"] = "wget";
  (*other.mutable_request_header())["Range"] = "bytes=0-1";
  EXPECT_FALSE(DifferentAccess(Plain(), OriginTerms(), other, OriginTerms()));
  common::v2::Download a = Plain();
  common::v2::Download b = Plain();
  (*a.mutable_request_header())["Authorization"] = "Bearer a";
  (*b.mutable_request_header())["authorization"] = "Bearer b";
  EXPECT_TRUE(DifferentAccess(a, OriginTerms(), b, OriginTerms()));
}

TEST(Credentials, KeysOfThisHostAreThoseOfWhoMayUseThem) {
  OriginTerms local;
  local.own_keys = true;
  EXPECT_FALSE(DifferentAccess(Plain(), local, Plain(), OriginTerms())) << "HTTP gets none";
  common::v2::Download object = Plain();
  object.set_url("s3://bucket/object");
  EXPECT_TRUE(DifferentAccess(object, local, object, OriginTerms()));
  EXPECT_TRUE(BringsCredentials(object, local));
  EXPECT_FALSE(BringsCredentials(object, OriginTerms()));
}

}  // namespace
}  // namespace dragonfly::daemon
