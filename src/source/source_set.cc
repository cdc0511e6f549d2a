// SPDX-License-Identifier: Apache-2.0
// Which scheme is read by which source.
#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "base/text.h"
#include "base/url.h"
#include "source/hdfs_source.h"
#include "source/http_source.h"
#include "source/hub_source.h"
#include "source/object_source.h"
#include "source/plugin_set.h"
#include "source/plugin_source.h"
#include "source/source.h"

namespace dragonfly::source {
namespace {

// What sources are made of; outlives them.
struct Parts {
  boost::asio::io_context& io;
  const SourceOptions& options;
  HttpSource& http;
};

using Maker = std::unique_ptr<Source> (*)(const Parts& parts);

template <WebHdfsTransport transport>
std::unique_ptr<Source> MakeHdfs(const Parts& parts) {
  return std::make_unique<HdfsSource>(parts.http, parts.options, transport);
}

std::unique_ptr<Source> MakeObjects(const Parts& parts) {
  return std::make_unique<ObjectSource>(parts.io, parts.options, parts.http);
}

std::unique_ptr<Source> MakeHuggingFace(const Parts& parts) { return MakeHuggingFaceSource(parts.http); }
std::unique_ptr<Source> MakeModelScope(const Parts& parts) { return MakeModelScopeSource(parts.http); }

// Schemes with the same maker share a source. http and https are not here: the one HttpSource serves all of these.
constexpr std::array<std::pair<std::string_view, Maker>, 11> kMakers = {{
    {"s3", MakeObjects},
    {"gs", MakeObjects},
    {"abs", MakeObjects},
    {"oss", MakeObjects},
    {"obs", MakeObjects},
    {"cos", MakeObjects},
    {"hdfs", MakeHdfs<WebHdfsTransport::kHttp>},
    {"webhdfs", MakeHdfs<WebHdfsTransport::kHttp>},
    {"swebhdfs", MakeHdfs<WebHdfsTransport::kHttps>},
    {"hf", MakeHuggingFace},
    {"modelscope", MakeModelScope},
}};

Maker FindMaker(std::string_view scheme) {
  const auto found = std::ranges::find(kMakers, scheme, &std::pair<std::string_view, Maker>::first);
  return found == kMakers.end() ? nullptr : found->second;
}

bool IsHttp(std::string_view scheme) { return scheme == "http" || scheme == "https"; }

class Sources : public SourceSet {
 public:
  Sources(boost::asio::io_context& io, const SourceOptions& options)
      : options_(options), http_(io, options_), parts_{io, options_, http_} {}

  absl::StatusOr<Source*> For(std::string_view url) override {
    const absl::StatusOr<Url> parsed = Url::Parse(url);
    if (!parsed.ok()) return parsed.status();
    const std::string& scheme = parsed->scheme;
    if (IsHttp(scheme)) return &http_;
    if (const Maker maker = FindMaker(scheme)) {
      std::unique_ptr<Source>& source = built_in_[maker];
      if (source == nullptr) source = maker(parts_);
      return source.get();
    }
    if (const auto made = by_plugin_.find(scheme); made != by_plugin_.end()) return made->second.get();
    if (options_.plugins != nullptr) {
      absl::StatusOr<std::shared_ptr<const OriginPlugin>> plugin = options_.plugins->Find(scheme);
      if (plugin.ok()) {
        auto source = std::make_unique<PluginSource>(options_.plugins, *std::move(plugin), options_);
        return by_plugin_.emplace(scheme, std::move(source)).first->second.get();
      }
      if (!absl::IsNotFound(plugin.status())) return plugin.status();
    }
    return absl::InvalidArgumentError(StrCat("unsupported scheme ", Quoted(scheme)));
  }

  // The client of HTTP serves the others, too.
  void CloseIdle() override { http_.CloseIdle(); }

 private:
  const SourceOptions options_;
  HttpSource http_;
  const Parts parts_;
  std::map<Maker, std::unique_ptr<Source>> built_in_;
  std::map<std::string, std::unique_ptr<Source>> by_plugin_;
};

}  // namespace

bool IsBuiltInScheme(std::string_view scheme) { return IsHttp(scheme) || FindMaker(scheme) != nullptr; }

std::unique_ptr<SourceSet> MakeSources(boost::asio::io_context& io, const SourceOptions& options) {
  return std::make_unique<Sources>(io, options);
}

}  // namespace dragonfly::source
