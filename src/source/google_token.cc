// SPDX-License-Identifier: Apache-2.0
#include "source/google_token.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/escaping.h"
#include "base/backend_error.h"
#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "source/answer.h"
#include "source/object_answer.h"
#include "source/object_crypto.h"

namespace dragonfly::source {

namespace asio = boost::asio;

namespace {

constexpr size_t kKeyFileMax = 64 << 10;
constexpr size_t kAnswerMax = 64 << 10;
constexpr absl::Duration kAssertionLifetime = absl::Hours(1);
// A token is renewed so long before its end, so that a request under way does not see it run out.
constexpr absl::Duration kSpare = absl::Minutes(2);
constexpr absl::Duration kForgetMin = absl::Seconds(30);
constexpr char kScope[] = "https://www.googleapis.com/auth/devstorage.read_only";
constexpr char kTokenUri[] = "https://oauth2.googleapis.com/token";

// Nothing of the content stands in an error: whoever names a file need not be allowed to read it.
absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  const std::string what = StrCat("credential_path ", Quoted(path));
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) return absl::InvalidArgumentError(ErrnoStatus(errno, what).message());
  struct stat about;
  if (::fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
    return absl::InvalidArgumentError(StrCat(what, ": not a file"));
  }
  std::string content(kKeyFileMax + 1, '\0');
  size_t size = 0;
  while (size < content.size()) {
    const ssize_t got = ::read(fd.get(), content.data() + size, content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InvalidArgumentError(ErrnoStatus(errno, what).message());
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kKeyFileMax) return absl::InvalidArgumentError(StrCat(what, ": larger than ", kKeyFileMax, " bytes"));
  content.resize(size);
  return content;
}

std::string Text(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

nlohmann::json ParseObject(const std::string& text) {
  if (!IsBoundedJson(text)) return nlohmann::json::object();
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_object() ? parsed : nlohmann::json::object();
}

std::string WebSafe(std::string_view bytes) {
  std::string text;
  absl::WebSafeBase64Escape(ToAbsl(bytes), &text);  // without padding
  return text;
}

// The form that buys a token.
struct Purchase {
  Purchase() = default;
  std::string uri;
  std::string form;
};

absl::StatusOr<Purchase> MakePurchase(const std::string& path, absl::Time now) {
  DF_ASSIGN_OR_RETURN(const std::string content, ReadKeyFile(path));
  const nlohmann::json key = ParseObject(content);
  const std::string type = Text(key, "type");
  Purchase purchase;
  purchase.uri = Text(key, "token_uri");
  if (purchase.uri.empty()) purchase.uri = kTokenUri;
  if (type == "service_account") {
    absl::StatusOr<std::string> assertion = MakeGoogleAssertion(Text(key, "client_email"), Text(key, "private_key"),
                                                                Text(key, "private_key_id"), purchase.uri, now);
    if (!assertion.ok()) return Annotate(assertion.status(), StrCat("credential_path ", Quoted(path)));
    purchase.form = StrCat("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=", *assertion);
    return purchase;
  }
  if (type == "authorized_user") {
    purchase.form = StrCat("grant_type=refresh_token&client_id=", UriEncode(Text(key, "client_id"), Slash::kEncode),
                           "&client_secret=", UriEncode(Text(key, "client_secret"), Slash::kEncode),
                           "&refresh_token=", UriEncode(Text(key, "refresh_token"), Slash::kEncode));
    return purchase;
  }
  return absl::InvalidArgumentError(
      StrCat("credential_path ", Quoted(path), ": neither the key of a service account nor a user's login"));
}

// Takes a small body.
class BodySink : public http::CurlSink {
 public:
  absl::Status OnHeader(const http::CurlResponse&) override { return absl::OkStatus(); }
  absl::Status OnBody(std::span<const std::byte> bytes) override {
    if (body.size() + bytes.size() > kAnswerMax) return absl::ResourceExhaustedError("the answer is too large");
    body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return absl::OkStatus();
  }
  Clock::duration PauseFor(size_t) override { return Clock::duration::zero(); }

  std::string body;
};

bool IsBearerToken(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

absl::StatusOr<std::string> MakeGoogleAssertion(const std::string& email, const std::string& private_key,
                                                const std::string& private_key_id, const std::string& audience,
                                                absl::Time now) {
  nlohmann::json header = {{"alg", "RS256"}, {"typ", "JWT"}};
  if (!private_key_id.empty()) header["kid"] = private_key_id;
  const nlohmann::json claims = {{"iss", email},
                                 {"scope", kScope},
                                 {"aud", audience},
                                 {"iat", absl::ToUnixSeconds(now)},
                                 {"exp", absl::ToUnixSeconds(now + kAssertionLifetime)}};
  const auto replace = nlohmann::json::error_handler_t::replace;
  const std::string text =
      StrCat(WebSafe(header.dump(-1, ' ', false, replace)), ".", WebSafe(claims.dump(-1, ' ', false, replace)));

  const std::unique_ptr<BIO, decltype(&BIO_free)> pem(
      BIO_new_mem_buf(private_key.data(), static_cast<int>(private_key.size())), &BIO_free);
  // An encrypted key would ask the terminal for its password.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(pem.get(), nullptr, no_password, nullptr), &EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_base_id(key.get()) != EVP_PKEY_RSA) {
    return absl::InvalidArgumentError("its private_key is no RSA key");
  }
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::string signature(static_cast<size_t>(EVP_PKEY_size(key.get())), '\0');
  size_t size = signature.size();
  if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     reinterpret_cast<const unsigned char*>(text.data()), text.size()) != 1) {
    return absl::InvalidArgumentError("its private_key cannot sign");
  }
  signature.resize(size);
  return StrCat(text, ".", WebSafe(signature));
}

// Marks that a token is on its way; wakes all who wait for it when it ends, however it ends.
class GoogleToken::Fetching {
 public:
  explicit Fetching(GoogleToken& token) : token_(token) { token_.fetching_ = true; }
  ~Fetching() {
    token_.fetching_ = false;
    for (asio::steady_timer& timer : token_.waiting_) timer.cancel();
  }
  Fetching(const Fetching&) = delete;
  Fetching& operator=(const Fetching&) = delete;

 private:
  GoogleToken& token_;
};

GoogleToken::GoogleToken(asio::io_context& io, http::CurlClient& client, const SourceOptions& options, std::string path,
                         std::function<absl::Time()> now)
    : io_(io), client_(client), options_(options), path_(std::move(path)), now_(std::move(now)) {}

bool GoogleToken::Forget() {
  if (token_.empty() || now_() - fetched_at_ < kForgetMin) return false;
  token_.clear();
  return true;
}

asio::awaitable<absl::StatusOr<std::string>> GoogleToken::Get(TimePoint deadline) {
  for (;;) {
    if (!token_.empty() && now_() < expires_at_ - kSpare) co_return token_;
    if (!fetching_) break;
    const auto timer = waiting_.emplace(waiting_.end(), io_, deadline);
    const auto leave = [this, timer](void*) { waiting_.erase(timer); };
    const std::unique_ptr<void, decltype(leave)> left(this, leave);
    boost::system::error_code woken;
    co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, woken));
    const asio::cancellation_state cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
    if (!woken) co_return absl::DeadlineExceededError("the deadline has passed while a token was awaited");
  }
  const Fetching fetching(*this);
  co_return co_await Fetch(deadline);
}

asio::awaitable<absl::StatusOr<std::string>> GoogleToken::Fetch(TimePoint deadline) {
  token_.clear();
  DF_CO_ASSIGN_OR_RETURN(Purchase purchase, MakePurchase(path_, now_()));
  http::CurlRequest request;
  request.method = "POST";
  request.url = std::move(purchase.uri);
  request.body = std::move(purchase.form);
  request.header.emplace_back("Content-Type", "application/x-www-form-urlencoded");
  request.header.emplace_back("User-Agent", options_.user_agent);
  request.deadline = deadline;
  request.connect_timeout = options_.connect_timeout;
  request.stall_timeout = options_.stall_timeout;
  request.verify_tls = options_.verify_tls;
  request.ca_file = options_.ca_file;
  BodySink sink;
  const absl::Time asked_at = now_();
  absl::StatusOr<http::CurlResponse> response = co_await client_.Run(std::move(request), sink);
  if (!response.ok()) co_return Annotate(response.status(), "token of gs");
  if (response->status != 200) {
    const ObjectError why = ParseObjectError(sink.body);
    const std::string text = StrCat("token of gs refused: ", why.ToString());
    if (IsTransient(response->status)) {
      co_return absl::UnavailableError(StrCat(response->status_text, ": ", text));
    }
    co_return RefusalOf(*response, text);
  }
  const nlohmann::json answer = ParseObject(sink.body);
  std::string token = Text(answer, "access_token");
  const auto lifetime = answer.find("expires_in");
  if (!IsBearerToken(token) || lifetime == answer.end() || !lifetime->is_number_unsigned()) {
    co_return absl::UnavailableError("token of gs: the answer has no access_token with expires_in");
  }
  token_ = token;
  fetched_at_ = asked_at;
  expires_at_ = asked_at + absl::Seconds(std::min<uint64_t>(lifetime->get<uint64_t>(), 24 * 3600));
  co_return token;
}

}  // namespace dragonfly::source
