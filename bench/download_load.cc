// SPDX-License-Identifier: Apache-2.0
// Load on one dfdaemon by its own RPC, without the start of a tool in the figures: downloads <url><first> to
// <url><first + count - 1> (one file when count is 1 and the URL is taken as it is with --plain) over a number of kept
// connections, and prints one JSON object: seconds of the whole, and p50, p99 and maximum of one download in
// milliseconds.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "dfdaemon/v2/dfdaemon.pb.h"
#include "rpc/unix_client.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Settings {
  std::string socket;
  std::string url;
  std::string output;  // prefix; empty: no output file
  bool plain = false;
  bool remove = false;  // delete each task again, outside of the measured time
  int first = 0;
  int count = 1;
  int connections = 1;
};

dfdaemon::v2::DownloadTaskRequest MakeRequest(const Settings& settings, int index) {
  dfdaemon::v2::DownloadTaskRequest request;
  auto& download = *request.mutable_download();
  const std::string suffix = settings.plain ? "" : std::to_string(index);
  download.set_url(settings.url + suffix);
  download.set_type(common::v2::STANDARD);
  download.set_tag("");
  download.set_application("");
  download.set_priority(common::v2::LEVEL6);
  download.mutable_timeout()->set_seconds(120);
  if (!settings.output.empty()) download.set_output_path(settings.output + suffix);
  return request;
}

void DeleteTask(dragonfly::rpc::UnixClient& client, const std::string& task_id) {
  dfdaemon::v2::DeleteTaskRequest request;
  request.set_task_id(task_id);
  const absl::Status status = client.Call(
      "/dfdaemon.v2.DfdaemonDownload/DeleteTask", request.SerializeAsString(),
      [](std::string_view) { return absl::OkStatus(); }, Clock::now() + std::chrono::seconds(30));
  if (!status.ok()) std::cerr << "delete " << task_id << ": " << status << "\n";
}

double Percentile(const std::vector<double>& sorted, double part) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(part * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Downloads files through a dfdaemon by its RPC and prints how long it took");
  app.add_option("--socket", settings.socket)->required();
  app.add_option("--url", settings.url)->required();
  app.add_option("--output", settings.output);
  app.add_flag("--plain", settings.plain);
  app.add_flag("--delete", settings.remove);
  app.add_option("--first", settings.first);
  app.add_option("--count", settings.count)->check(CLI::Range(1, 1'000'000));
  app.add_option("--connections", settings.connections)->check(CLI::Range(1, 256));
  CLI11_PARSE(app, argc, argv);

  std::vector<double> milliseconds(static_cast<size_t>(settings.count));
  std::atomic<int> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    auto client = dragonfly::rpc::UnixClient::Connect(settings.socket);
    if (!client.ok()) {
      std::cerr << client.status() << "\n";
      failed = true;
      return;
    }
    for (int i; (i = next++) < settings.count && !failed;) {
      std::string task_id;
      const auto began = Clock::now();
      const absl::Status status = (*client)->Call(
          "/dfdaemon.v2.DfdaemonDownload/DownloadTask", MakeRequest(settings, settings.first + i).SerializeAsString(),
          [&](std::string_view message) {
            dfdaemon::v2::DownloadTaskResponse response;
            if (task_id.empty() && response.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
              task_id = response.task_id();
            }
            return absl::OkStatus();
          },
          began + std::chrono::seconds(120));
      milliseconds[static_cast<size_t>(i)] = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
      if (!status.ok()) {
        std::cerr << status << "\n";
        failed = true;
      } else if (settings.remove) {
        DeleteTask(**client, task_id);
      }
    }
  };

  const auto began = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < settings.connections; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (failed) return 1;
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("{\"seconds\": %.6f, \"count\": %d, \"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f}\n", seconds,
              settings.count, Percentile(milliseconds, 0.5), Percentile(milliseconds, 0.99), milliseconds.back());
  return 0;
}
