// SPDX-License-Identifier: Apache-2.0
#include "source/object_signer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "source/object_answer.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

// Services take signatures up to 15 minutes off; the date of an answer is good to a second.
constexpr absl::Duration kSkewMin = absl::Seconds(30);

bool IsSigned(const ObjectPlace& place) { return !place.key.id.empty(); }

// "Code: message" in one line, and that nobody has signed where that may be why.
std::string ExplainRefusal(const ObjectPlace& place, bool is_signed, std::string_view body) {
  const std::string text = ParseObjectError(body).ToString();
  if (is_signed) return text;
  const char* const fields =
      place.vendor == ObjectVendor::kGs ? "credential_path" : "access_key_id and access_key_secret";
  return StrCat(
      text, text.empty() ? "" : "; ", "the request was not signed: ", fields, " not given",
      place.key_withheld != nullptr ? StrCat(", and those of dfdaemon's environment ", place.key_withheld) : "");
}

}  // namespace

std::string IdentityOf(const ObjectPlace& place) {
  return Sha256Hex(absl::StrJoin(
      {std::string(NameOf(place.vendor)), place.base, place.bucket, place.resource_prefix, place.region, place.key.id,
       place.key.secret, place.key.token, place.credential_path,
       StrCat(place.insecure_skip_verify ? "-" : "", place.key_withheld != nullptr ? place.key_withheld : "")},
      "\n"));
}

KeySigner::KeySigner(const ObjectPlace& place, WallClock now)
    : place_(place), now_(std::move(now)), region_(place.region) {}

asio::awaitable<absl::Status> KeySigner::Sign(http::CurlRequest& request) {
  if (!IsSigned(place_)) {
    if (place_.vendor == ObjectVendor::kAbs) SetHeader(request, "x-ms-version", kAzureVersion);
    co_return absl::OkStatus();
  }
  const absl::Time now = now_() + skew_;
  switch (place_.vendor) {
    case ObjectVendor::kS3:
      SignAwsV4(place_.key, region_, "s3", now, derived_, request);
      break;
    case ObjectVendor::kOss:
      if (region_.empty()) {
        SignOssV1(place_.key, place_.resource_prefix, now, request);
      } else {
        SignOssV4(place_.key, region_, place_.resource_prefix, now, derived_, request);
      }
      break;
    case ObjectVendor::kObs:
      SignObs(place_.key, place_.resource_prefix, now, request);
      break;
    case ObjectVendor::kCos:
      SignCos(place_.key, now, request);
      break;
    case ObjectVendor::kAbs:
      co_return SignAzure(place_.key, now, request);
    case ObjectVendor::kGs:
      break;
  }
  co_return absl::OkStatus();
}

std::string KeySigner::Identity() const { return IdentityOf(place_); }

bool KeySigner::Renew(const http::CurlResponse& refusal, std::string_view body) {
  if (!IsSigned(place_)) return false;
  bool renewed = false;
  if (place_.vendor == ObjectVendor::kS3) {
    std::string region = refusal.Find("x-amz-bucket-region").value_or("");
    if (region.empty()) region = ParseObjectError(body).region;
    if (IsRegionName(region) && region != region_) {
      region_ = region;
      renewed = true;
    }
  }
  absl::Time theirs;
  std::string error;
  if (absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", refusal.Find("date").value_or(""), &theirs, &error)) {
    const absl::Duration skew = theirs - now_();
    if (absl::AbsDuration(skew - skew_) > kSkewMin) {
      skew_ = skew;
      renewed = true;
    }
  }
  return renewed;
}

std::string KeySigner::Explain(std::string_view body) const { return ExplainRefusal(place_, IsSigned(place_), body); }

GoogleSigner::GoogleSigner(const ObjectPlace& place, std::shared_ptr<GoogleToken> token)
    : place_(place), token_(std::move(token)) {}

asio::awaitable<absl::Status> GoogleSigner::Sign(http::CurlRequest& request) {
  // An object that is stored compressed is sent as it is stored, in ranges, only to those who take gzip.
  SetHeader(request, "Accept-Encoding", "gzip");
  if (token_ == nullptr) co_return absl::OkStatus();
  DF_CO_ASSIGN_OR_RETURN(const std::string token, co_await token_->Get(request.deadline));
  SetHeader(request, "Authorization", StrCat("Bearer ", token));
  co_return absl::OkStatus();
}

std::string GoogleSigner::Identity() const { return IdentityOf(place_); }

bool GoogleSigner::Renew(const http::CurlResponse& refusal, std::string_view /*body*/) {
  return refusal.status == 401 && token_ != nullptr && token_->Forget();
}

std::string GoogleSigner::Explain(std::string_view body) const {
  return ExplainRefusal(place_, token_ != nullptr, body);
}

}  // namespace dragonfly::source
