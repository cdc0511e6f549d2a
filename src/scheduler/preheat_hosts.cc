// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preheat_hosts.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/task_id.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/client_call.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
using dfdaemon::v2::DownloadTaskRequest;
using dfdaemon::v2::DownloadTaskResponse;

std::vector<std::shared_ptr<const HostFacts>> ChooseHosts(const HostTable& hosts, const HostChoice& choice) {
  std::vector<std::shared_ptr<const HostFacts>> chosen;
  for (const std::shared_ptr<Host>& host : hosts.List()) {
    std::shared_ptr<const HostFacts> facts = host->facts();
    if (choice.seeds_only && !facts->seed()) continue;
    if (!choice.ips.empty() && !choice.ips.contains(facts->ip)) continue;
    chosen.push_back(std::move(facts));
  }
  std::ranges::sort(chosen, {}, [](const auto& facts) { return facts->id; });
  if (chosen.empty() || !choice.ips.empty()) return chosen;
  size_t wanted = chosen.size();
  if (choice.count.has_value()) {
    wanted = std::min<size_t>(*choice.count, wanted);
  } else if (choice.percentage.has_value()) {
    wanted = wanted * std::min<size_t>(*choice.percentage, 100) / 100;
  }
  chosen.resize(std::max<size_t>(wanted, 1));
  return chosen;
}

absl::StatusOr<std::string> TaskIdOf(const common::v2::Download& download) {
  UrlTaskKey key;
  key.url = download.url();
  key.filtered_query_params.assign(download.filtered_query_params().begin(), download.filtered_query_params().end());
  key.tag = download.tag();
  key.application = download.application();
  if (download.has_piece_length()) key.piece_length = download.piece_length();
  if (download.has_content_for_calculating_task_id()) key.content = download.content_for_calculating_task_id();
  DF_ASSIGN_OR_RETURN(const TaskId id, UrlTaskId(key));
  return id.str();
}

asio::awaitable<absl::Status> DownloadTo(rpc::ChannelPool& channels, std::string ip, int32_t port,
                                         common::v2::Download download, TimePoint deadline) {
  const Clock::duration left = deadline - Clock::now();
  if (left <= Clock::duration(0)) co_return absl::DeadlineExceededError("the time of the preheat is over");
  DownloadTaskRequest request;
  *request.mutable_download() = std::move(download);
  request.mutable_download()->mutable_timeout()->set_seconds(
      std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(left).count()));
  const std::shared_ptr<dfdaemon::v2::DfdaemonUpload::Stub> stub =
      dfdaemon::v2::DfdaemonUpload::NewStub(channels.Get(rpc::HostPort(ip, port)));
  const auto start = [stub](grpc::ClientContext* context, const DownloadTaskRequest* asked,
                            grpc::ClientReadReactor<DownloadTaskResponse>* reactor) {
    stub->async()->DownloadTask(context, asked, reactor);
  };
  const auto stream = rpc::StartServerStream<DownloadTaskResponse>(start, std::move(request));
  for (;;) {
    auto news = co_await stream->Read(deadline);
    if (!news.ok()) co_return news.status();
    if (!news->has_value()) co_return absl::OkStatus();
  }
}

}  // namespace dragonfly::scheduler
