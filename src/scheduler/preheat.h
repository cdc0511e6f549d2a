// SPDX-License-Identifier: Apache-2.0
// PreheatImage, PreheatFile, StatImage and StatFile of scheduler.v2.Scheduler: files and images are brought to hosts
// before anybody asks for them. Source: dragonfly v2.5.1, scheduler/service/service_v2.go. Only .cc files include this
// (it pulls in grpc++).
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "http/curl_client.h"
#include "rpc/channel.h"
#include "rpc/server_call.h"
#include "runtime/task_group.h"
#include "scheduler/host_table.h"
#include "scheduler/probe.h"
#include "scheduler/v2/scheduler.pb.h"

namespace dragonfly::scheduler {

// Thread rule: calls come in on any thread and run on that of `io`.
class PreheatService {
 public:
  // Preheats that may run at one time, each with its hosts and tasks; further ones are refused.
  static constexpr size_t kRunsMax = 64;

  // `seeds` and `peers` are the channels to seed peers and to other hosts. `name` is this scheduler in messages:
  // "cluster 1 scheduler 10.0.0.1". Registries in `forbidden` networks are not asked. All references must outlive it.
  PreheatService(boost::asio::io_context& io, HostTable& hosts, Probe& probe, rpc::ChannelPool& seeds,
                 rpc::ChannelPool& peers, std::string name, http::Networks forbidden);
  // Stop() must have completed.
  ~PreheatService();

  // Ends what runs.
  boost::asio::awaitable<void> Stop();

  // A call of one message, which lives as long as the call. `Method` is one of the coroutines below.
  template <typename Method, typename... Messages>
  grpc::ServerUnaryReactor* Serve(grpc::CallbackServerContext* context, Method method, Messages*... messages) {
    return rpc::ServeUnary(context, group_, [this, method, messages...] { return (this->*method)(messages...); });
  }

  // Answer when it is known what goes to whom; the downloads go on by themselves. Errors: INVALID_ARGUMENT for the
  // request and for what the registry says of the image; FAILED_PRECONDITION when there is no host for it;
  // RESOURCE_EXHAUSTED.
  using Result = boost::asio::awaitable<absl::Status>;
  Result PreheatImage(const ::scheduler::v2::PreheatImageRequest* request);
  Result PreheatFile(const ::scheduler::v2::PreheatFileRequest* request);
  // Ask every host. One that does not answer is left out.
  Result StatImage(const ::scheduler::v2::StatImageRequest* request, ::scheduler::v2::StatImageResponse* response);
  Result StatFile(const ::scheduler::v2::StatFileRequest* request, ::scheduler::v2::StatFileResponse* response);

 private:
  struct Choice;
  struct Run;
  struct Survey;
  using Downloads = std::vector<std::shared_ptr<const common::v2::Download>>;

  Result RunPreheatImage(const ::scheduler::v2::PreheatImageRequest& request);
  Result RunPreheatFile(const ::scheduler::v2::PreheatFileRequest& request);
  Result RunStatImage(const ::scheduler::v2::StatImageRequest& request, ::scheduler::v2::StatImageResponse* response);
  Result RunStatFile(const ::scheduler::v2::StatFileRequest& request, ::scheduler::v2::StatFileResponse* response);

  absl::Status Begin(const Choice& choice, const Downloads& downloads);
  boost::asio::awaitable<void> Drive(std::shared_ptr<Run> run);
  boost::asio::awaitable<void> Work(std::shared_ptr<Run> run);
  // Which of the tasks each host has, and whether completely; in the order of the hosts.
  boost::asio::awaitable<void> Ask(std::shared_ptr<Survey> survey);
  boost::asio::awaitable<void> AskHosts(std::shared_ptr<Survey> survey);
  rpc::ChannelPool& ChannelsTo(const HostFacts& host) { return host.seed() ? seeds_ : peers_; }

  HostTable& hosts_;
  Probe& probe_;
  rpc::ChannelPool& seeds_;
  rpc::ChannelPool& peers_;
  const std::string name_;
  boost::asio::io_context& io_;
  std::unique_ptr<http::CurlClient> http_;  // used, and freed, on the thread of io_
  size_t runs_ = 0;
  runtime::TaskGroup group_;
};

}  // namespace dragonfly::scheduler
