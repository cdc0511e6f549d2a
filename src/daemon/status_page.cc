// SPDX-License-Identifier: Apache-2.0
#include "daemon/status_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/units.h"
#include "base/version.h"

namespace dragonfly::daemon {

namespace asio = boost::asio;

namespace {

std::string Escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

uint64_t BytesOf(const DownloadStory& story, bool origin) {
  uint64_t bytes = 0;
  for (const DownloadStory::Source& source : story.sources) {
    if (source.peer_id.empty() == origin) bytes += source.bytes;
  }
  return bytes;
}

std::string StateOf(const DownloadStory& story) {
  if (story.running) return "running";
  return story.outcome.ok() ? "finished" : "failed";
}

std::string RateText(uint64_t limit) { return limit == 0 ? "none" : FormatByteSize(limit) + "/s"; }

std::string TimeText(absl::Time time) {
  return std::string(absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone()));
}

std::string Page(const DaemonStatus& status) {
  std::string html =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>dfdaemon</title><style>"
      "body{font-family:sans-serif}td,th{text-align:left;padding:2px 12px 2px 0}</style></head><body>";
  html += StrCat("<h1>dfdaemon ", Escaped(status.host_id), "</h1><table>");
  const auto row = [&](std::string_view name, std::string_view value) {
    html += StrCat("<tr><th>", name, "</th><td>", Escaped(value), "</td></tr>");
  };
  row("version", StrCat(kVersion, " (", GitCommit(), ", ", BuildDate(), ")"));
  row("role", status.seed ? "seed peer" : "peer");
  row("up for", DurationText(absl::Trunc(status.uptime, absl::Seconds(1))));
  std::string schedulers;
  for (const std::string& address : status.schedulers) schedulers += StrCat(schedulers.empty() ? "" : ", ", address);
  row("schedulers that serve", schedulers.empty() ? "none" : schedulers);
  row("tasks here", StrCat(status.tasks, ", complete ", status.complete_tasks));
  row("disk", StrCat(FormatByteSize(status.content_bytes), " of content, ", FormatByteSize(status.available_bytes),
                     " left of ", FormatByteSize(status.total_bytes)));
  row("traffic since the start",
      StrCat(FormatByteSize(status.peer_bytes), " from peers, ", FormatByteSize(status.origin_bytes), " from origins"));
  row("limits", StrCat("download ", RateText(status.download_limit), ", upload ", RateText(status.upload_limit),
                       ", back to source ", RateText(status.back_to_source_limit)));
  html +=
      "</table><h2>Last downloads</h2><table><tr><th>begun</th><th>state</th><th>took</th><th>from peers</th>"
      "<th>from the origin</th><th>url</th><th>task</th></tr>";
  for (const auto& [id, story] : status.downloads) {
    html += StrCat("<tr><td>", TimeText(story.begun_at), "</td><td>", StateOf(story), "</td><td>",
                   absl::ToInt64Milliseconds(story.total), " ms</td><td>", FormatByteSize(BytesOf(story, false)),
                   "</td><td>", FormatByteSize(BytesOf(story, true)), "</td><td>", Escaped(story.url), "</td><td>",
                   Escaped(id), "</td></tr>");
  }
  return html + "</table><p>Why was one slow? <code>dfctl why TASK</code> on this host.</p></body></html>\n";
}

std::string Json(const DaemonStatus& status) {
  nlohmann::json json;
  json["host_id"] = status.host_id;
  json["version"] = std::string(kVersion);
  json["commit"] = std::string(GitCommit());
  json["seed"] = status.seed;
  json["uptime_seconds"] = absl::ToInt64Seconds(status.uptime);
  json["schedulers"] = status.schedulers;
  json["tasks"] = {{"here", status.tasks}, {"complete", status.complete_tasks}};
  json["disk"] = {{"content_bytes", status.content_bytes},
                  {"available_bytes", status.available_bytes},
                  {"total_bytes", status.total_bytes}};
  json["traffic"] = {{"from_peers_bytes", status.peer_bytes}, {"from_origins_bytes", status.origin_bytes}};
  json["limits"] = {{"download_bytes_per_second", status.download_limit},
                    {"upload_bytes_per_second", status.upload_limit},
                    {"back_to_source_bytes_per_second", status.back_to_source_limit}};
  json["downloads"] = nlohmann::json::array();
  for (const auto& [id, story] : status.downloads) {
    json["downloads"].push_back({{"task_id", id},
                                 {"url", story.url},
                                 {"state", StateOf(story)},
                                 {"begun_at", TimeText(story.begun_at)},
                                 {"total_milliseconds", absl::ToDoubleMilliseconds(story.total)},
                                 {"from_peers_bytes", BytesOf(story, false)},
                                 {"from_origins_bytes", BytesOf(story, true)}});
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

asio::awaitable<http::Response> Answer(http::Response response) { co_return response; }

}  // namespace

void AddStatusPages(http::Router& router, std::function<DaemonStatus()> status) {
  router.On("GET", "/status", [status](const http::Request&) {
    http::Response response;
    response.content_type = "text/html; charset=utf-8";
    // Nothing of the page may run or load, whatever a URL contains.
    response.header.emplace_back("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
    response.body = Page(status());
    return Answer(std::move(response));
  });
  router.On("GET", "/status.json", [status](const http::Request&) {
    http::Response response;
    response.content_type = "application/json";
    response.body = Json(status());
    return Answer(std::move(response));
  });
}

}  // namespace dragonfly::daemon
