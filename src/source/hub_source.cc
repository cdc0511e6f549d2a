// SPDX-License-Identifier: Apache-2.0
#include "source/hub_source.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/backend_error.h"
#include "base/json_bounds.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "source/listing.h"
#include "source/signer.h"

namespace dragonfly::source {

namespace asio = boost::asio;
using nlohmann::json;

namespace {

// Discarded when it is no JSON, or more than a listing is.
json ParseJson(std::string_view text) {
  if (!IsBoundedJson(text)) return json::value_t::discarded;
  return json::parse(text, nullptr, /*allow_exceptions=*/false);
}

// What a URL of a hub names.
struct HubPath {
  std::string type;        // "models", "datasets" ...
  std::string repository;  // "<owner>/<name>", as the URL writes it
  std::string file;        // below the repository, as the URL writes it, without a slash at its end; empty: all of it
};

absl::StatusOr<HubPath> ParseHubUrl(std::string_view text, std::span<const std::string_view> types) {
  DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(text));
  const std::string form =
      StrCat(url.scheme, "://[", types.front(), "/|...]<owner>/<repository>[/<path>] with neither user nor port");
  if (url.host.empty() || url.port != -1 || !url.username.empty() || !url.password.empty()) {
    return absl::InvalidArgumentError(StrCat("a URL of a hub has the form ", form));
  }
  std::string rest = StrCat(url.host, url.path);
  while (rest.ends_with('/')) rest.pop_back();
  HubPath path;
  path.type = types.front();
  const auto take = [&rest] {
    const size_t slash = rest.find('/');
    std::string segment = rest.substr(0, slash);
    rest.erase(0, slash == rest.npos ? slash : slash + 1);
    return segment;
  };
  std::string owner = take();
  if (std::ranges::find(types, owner) != types.end()) {
    path.type = std::move(owner);
    owner = take();
  }
  const std::string name = take();
  if (owner.empty() || name.empty()) return absl::InvalidArgumentError(StrCat("a URL of a hub has the form ", form));
  path.repository = StrCat(owner, "/", name);
  path.file = std::move(rest);
  return path;
}

// Proves the caller by its token and reads what a hub says when it refuses: {"error": ...} or {"Message": ...}.
class HubSigner : public Signer {
 public:
  explicit HubSigner(std::string token) : token_(std::move(token)) {}

  asio::awaitable<absl::Status> Sign(http::CurlRequest& request) override {
    if (token_.empty()) co_return absl::OkStatus();
    std::erase_if(request.header, [](const auto& field) { return EqualsIgnoreCase(field.first, "authorization"); });
    request.header.emplace_back("Authorization", StrCat("Bearer ", token_));
    co_return absl::OkStatus();
  }
  std::string Identity() const override { return token_; }
  std::string Explain(std::string_view body) const override {
    const json document = ParseJson(body);
    if (!document.is_object()) return "";
    for (const char* name : {"error", "Message"}) {
      const auto found = document.find(name);
      if (found != document.end() && found->is_string()) return OneLine(found->get_ref<const std::string&>());
    }
    return "";
  }

 private:
  const std::string token_;
};

absl::Status BadAnswer(std::string_view what) {
  BackendError error;
  error.message = StrCat("hub: ", what);
  return MakeBackendErrorStatus(error);
}

const json* Member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string TextOf(const json& object, const char* name) {
  const json* const member = Member(object, name);
  return member != nullptr && member->is_string() ? member->get<std::string>() : "";
}

uint64_t NumberOf(const json& object, const char* name) {
  const json* const member = Member(object, name);
  return member != nullptr && member->is_number_unsigned() ? member->get<uint64_t>() : 0;
}

// What the hubs have in common.
class HubSource : public Source {
 public:
  explicit HubSource(HttpSource& http) : http_(http) {}

  asio::awaitable<absl::StatusOr<OriginStat>> Stat(OriginRequest request) override {
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, FileRequest(request));
    co_return co_await http_.Stat(std::move(asked));
  }
  asio::awaitable<absl::StatusOr<Opening>> Open(OriginRequest request, uint64_t first_bytes, Opened opened,
                                                runtime::TokenBucket& limiter) override {
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, FileRequest(request));
    co_return co_await http_.Open(std::move(asked), first_bytes, std::move(opened), limiter);
  }
  asio::awaitable<absl::Status> Read(OriginRequest request, ByteRange range, ObjectVersion version, ByteSink& sink,
                                     runtime::TokenBucket& limiter) override {
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, FileRequest(request));
    co_return co_await http_.Read(std::move(asked), range, std::move(version), sink, limiter);
  }
  asio::awaitable<absl::StatusOr<uint64_t>> ReadAll(OriginRequest request, ObjectVersion version, ByteSink& sink,
                                                    runtime::TokenBucket& limiter) override {
    DF_CO_ASSIGN_OR_RETURN(OriginRequest asked, FileRequest(request));
    co_return co_await http_.ReadAll(std::move(asked), std::move(version), sink, limiter);
  }

 protected:
  // The hub that a request speaks to.
  struct Hub {
    std::string base_url;  // without a slash at its end
    std::string token;
    std::string revision;  // percent-encoded: branches may have slashes
  };

  virtual std::span<const std::string_view> types() const = 0;
  virtual const OriginAccess::Hub& AccessOf(const OriginRequest& request) const = 0;
  virtual std::string_view default_base_url() const = 0;
  virtual std::string_view default_revision() const = 0;
  virtual std::string ResolveUrl(const Hub& hub, const HubPath& path) const = 0;

  absl::StatusOr<HubPath> Parse(const OriginRequest& request) const { return ParseHubUrl(request.url, types()); }

  absl::StatusOr<Hub> HubOf(const OriginRequest& request) const {
    const OriginAccess::Hub& access = AccessOf(request);
    Hub hub;
    hub.token = access.token;
    hub.revision = PercentEncode(access.revision.empty() ? default_revision() : access.revision);
    hub.base_url = access.base_url.empty() ? default_base_url() : access.base_url;
    const absl::StatusOr<Url> url = Url::Parse(hub.base_url);
    if (!url.ok()) return Annotate(url.status(), "base URL of the hub");
    if ((url->scheme != "http" && url->scheme != "https") || url->has_query || url->has_fragment) {
      return absl::InvalidArgumentError("base URL of the hub: not a plain URL of http or https");
    }
    hub.base_url = url->ToString();
    while (hub.base_url.ends_with('/')) hub.base_url.pop_back();
    return hub;
  }

  static OriginRequest Ask(const OriginRequest& request, const Hub& hub, std::string url) {
    OriginRequest asked;
    asked.url = std::move(url);
    asked.header = request.header;
    asked.deadline = request.deadline;
    asked.authorities = request.authorities;
    asked.guarded = request.guarded;
    asked.signer = std::make_shared<HubSigner>(hub.token);
    return asked;
  }

  absl::StatusOr<OriginRequest> FileRequest(const OriginRequest& request) const {
    DF_ASSIGN_OR_RETURN(const HubPath path, Parse(request));
    if (path.file.empty()) return absl::InvalidArgumentError("the URL names a repository of a hub and no file in it");
    DF_ASSIGN_OR_RETURN(const Hub hub, HubOf(request));
    return Ask(request, hub, ResolveUrl(hub, path));
  }

  struct JsonPage {
    json document;
    std::string link;  // the Link header
  };
  // The answer to a listing request. Errors: as HttpSource::Fetch(); INTERNAL when it is no JSON.
  asio::awaitable<absl::StatusOr<JsonPage>> FetchJson(OriginRequest asked) {
    DF_CO_ASSIGN_OR_RETURN(const HttpDocument answer, co_await http_.Fetch(std::move(asked), kListingBodyMax));
    JsonPage page;
    page.document = ParseJson(answer.body);
    if (page.document.is_discarded()) co_return BadAnswer("the listing is no JSON");
    if (const auto link = answer.header.find("link"); link != answer.header.end()) page.link = link->second;
    co_return page;
  }

  // Takes what the hub lists by its path in the repository, when it lies below `path`.
  static absl::Status Take(const HubPath& path, std::string_view listed, bool is_directory, uint64_t size,
                           Listing& listing) {
    if (!path.file.empty()) {
      const std::string prefix = StrCat(PercentDecode(path.file), "/");
      if (!listed.starts_with(prefix)) return absl::OkStatus();
      listed.remove_prefix(prefix.size());
    }
    return is_directory ? listing.AddDirectory(listed) : listing.AddFile(listed, size);
  }

  HttpSource& http_;
};

class HuggingFaceSource final : public HubSource {
 public:
  using HubSource::HubSource;

  // By the tree of the repository; where a mirror does not serve it, by the list of files in the repository's
  // description.
  asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request, size_t entries_max) override {
    DF_CO_ASSIGN_OR_RETURN(const HubPath path, Parse(request));
    DF_CO_ASSIGN_OR_RETURN(const Hub hub, HubOf(request));
    DF_CO_ASSIGN_OR_RETURN(const std::string directory, DirectoryUrl(request.url));
    Listing listing(directory, entries_max);
    const absl::Status by_tree = co_await ListTree(request, hub, path, listing);
    if (by_tree.ok()) co_return listing.Take();
    const std::optional<BackendError> refusal = GetBackendError(by_tree);
    if (!refusal.has_value() || refusal->status_code != 404) co_return by_tree;
    Listing from_siblings(directory, entries_max);
    const absl::Status by_siblings = co_await ListSiblings(request, hub, path, from_siblings);
    if (!by_siblings.ok()) co_return GetBackendError(by_siblings).has_value() ? by_tree : by_siblings;
    std::vector<OriginEntry> entries = from_siblings.Take();
    // A repository that is there, and no such directory in it.
    if (entries.empty() && !path.file.empty()) co_return by_tree;
    co_return entries;
  }

 private:
  std::span<const std::string_view> types() const override {
    static constexpr std::string_view kTypes[] = {"models", "datasets", "spaces"};
    return kTypes;
  }
  const OriginAccess::Hub& AccessOf(const OriginRequest& request) const override { return request.access.hugging_face; }
  std::string_view default_base_url() const override { return "https://huggingface.co"; }
  std::string_view default_revision() const override { return "main"; }
  std::string ResolveUrl(const Hub& hub, const HubPath& path) const override {
    const std::string type = path.type == "models" ? "" : StrCat(path.type, "/");
    return StrCat(hub.base_url, "/", type, path.repository, "/resolve/", hub.revision, "/", path.file);
  }

  // The cursor of the next page by a Link header (RFC 8288), as it stands in its URL; empty: this was the last. Of the
  // link only this is used: it may name a host that must not see the token. Errors: INTERNAL for a next page that no
  // cursor names, since a listing without it would not be whole.
  static absl::StatusOr<std::string> NextCursor(std::string_view link) {
    const size_t next = link.find("rel=\"next\"");
    if (next == link.npos) return "";
    // The URL that stands before it, between angle brackets.
    std::string_view url = link.substr(0, next);
    url = url.substr(0, url.rfind('>'));
    url.remove_prefix(std::min(url.rfind('<'), url.size()));
    constexpr std::string_view kName = "cursor=";
    for (size_t at = url.find(kName); at != url.npos; at = url.find(kName, at + 1)) {
      if (at == 0 || (url[at - 1] != '?' && url[at - 1] != '&')) continue;
      const std::string_view value = url.substr(at + kName.size());
      return std::string(value.substr(0, value.find('&')));
    }
    return BadAnswer("the tree of the repository goes on at an address without a cursor");
  }

  asio::awaitable<absl::Status> ListTree(const OriginRequest& request, const Hub& hub, const HubPath& path,
                                         Listing& listing) {
    const std::string below = path.file.empty() ? "" : StrCat("/", path.file);
    const std::string tree = StrCat(hub.base_url, "/api/", path.type, "/", path.repository, "/tree/", hub.revision,
                                    below, "?recursive=true");
    std::string cursor;
    for (;;) {
      std::string url = cursor.empty() ? tree : StrCat(tree, "&cursor=", cursor);
      DF_CO_ASSIGN_OR_RETURN(const JsonPage page, co_await FetchJson(Ask(request, hub, std::move(url))));
      const json& files = page.document;
      if (!files.is_array()) co_return BadAnswer("the tree of the repository is no list");
      for (const json& file : files) {
        const bool is_directory = TextOf(file, "type") == "directory";
        DF_CO_RETURN_IF_ERROR(Take(path, TextOf(file, "path"), is_directory, NumberOf(file, "size"), listing));
      }
      DF_CO_ASSIGN_OR_RETURN(std::string next, NextCursor(page.link));
      if (next.empty()) co_return absl::OkStatus();
      if (next == cursor || files.empty()) co_return BadAnswer("the tree of the repository does not come to an end");
      cursor = std::move(next);
    }
  }

  asio::awaitable<absl::Status> ListSiblings(const OriginRequest& request, const Hub& hub, const HubPath& path,
                                             Listing& listing) {
    std::string url =
        StrCat(hub.base_url, "/api/", path.type, "/", path.repository, "/revision/", hub.revision, "?blobs=true");
    DF_CO_ASSIGN_OR_RETURN(const JsonPage page, co_await FetchJson(Ask(request, hub, std::move(url))));
    const json* const files = Member(page.document, "siblings");
    if (files == nullptr || !files->is_array()) co_return BadAnswer("the repository's description lists no files");
    for (const json& file : *files) {
      DF_CO_RETURN_IF_ERROR(Take(path, TextOf(file, "rfilename"), false, NumberOf(file, "size"), listing));
    }
    co_return absl::OkStatus();
  }
};

class ModelScopeSource final : public HubSource {
 public:
  using HubSource::HubSource;

  asio::awaitable<absl::StatusOr<std::vector<OriginEntry>>> List(OriginRequest request, size_t entries_max) override {
    DF_CO_ASSIGN_OR_RETURN(const HubPath path, Parse(request));
    DF_CO_ASSIGN_OR_RETURN(const Hub hub, HubOf(request));
    DF_CO_ASSIGN_OR_RETURN(std::string directory, DirectoryUrl(request.url));
    Listing listing(std::move(directory), entries_max);
    std::string url = StrCat(hub.base_url, "/api/v1/", path.type, "/", path.repository,
                             "/repo/files?Revision=", hub.revision, "&Recursive=true");
    DF_CO_ASSIGN_OR_RETURN(const JsonPage page, co_await FetchJson(Ask(request, hub, std::move(url))));
    const json& answer = page.document;
    // A refusal may come with status 200.
    if (const uint64_t code = NumberOf(answer, "Code"); code != 200) {
      BackendError error;
      error.message = StrCat(code, " ", OneLine(TextOf(answer, "Message")));
      if (code >= 400 && code < 600) error.status_code = static_cast<int>(code);
      co_return MakeBackendErrorStatus(error);
    }
    const json* const data = Member(answer, "Data");
    const json* const files = data == nullptr ? nullptr : Member(*data, "Files");
    if (files == nullptr || (!files->is_array() && !files->is_null())) co_return BadAnswer("the answer lists no files");
    for (const json& file : *files) {
      const bool is_directory = TextOf(file, "Type") == "tree";
      DF_CO_RETURN_IF_ERROR(Take(path, TextOf(file, "Path"), is_directory, NumberOf(file, "Size"), listing));
    }
    co_return listing.Take();
  }

 private:
  std::span<const std::string_view> types() const override {
    static constexpr std::string_view kTypes[] = {"models", "datasets"};
    return kTypes;
  }
  const OriginAccess::Hub& AccessOf(const OriginRequest& request) const override { return request.access.model_scope; }
  std::string_view default_base_url() const override { return "https://modelscope.cn"; }
  std::string_view default_revision() const override { return "master"; }
  std::string ResolveUrl(const Hub& hub, const HubPath& path) const override {
    return StrCat(hub.base_url, "/", path.type, "/", path.repository, "/resolve/", hub.revision, "/", path.file);
  }
};

}  // namespace

std::unique_ptr<Source> MakeHuggingFaceSource(HttpSource& http) { return std::make_unique<HuggingFaceSource>(http); }

std::unique_ptr<Source> MakeModelScopeSource(HttpSource& http) { return std::make_unique<ModelScopeSource>(http); }

}  // namespace dragonfly::source
