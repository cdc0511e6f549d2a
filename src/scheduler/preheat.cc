// SPDX-License-Identifier: Apache-2.0
#include "scheduler/preheat.h"

#include <grpcpp/channel.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "oci/registry_client.h"
#include "rpc/client_call.h"
#include "runtime/signal.h"
#include "runtime/timeout.h"
#include "scheduler/preheat_hosts.h"
#include "scheduler/validation.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace api = ::scheduler::v2;
namespace {

using dfdaemon::v2::StatLocalTaskRequest;
using dfdaemon::v2::StatLocalTaskResponse;

// Defaults of dragonfly v2.5.1.
constexpr int64_t kTasksAtOnce = 8;
constexpr int64_t kHostsAtOnce = 500;
constexpr std::chrono::minutes kTimeout{60};
constexpr std::chrono::hours kTimeoutMax{24 * 7};
constexpr std::chrono::seconds kResolveTimeout{60};
constexpr std::chrono::seconds kStatTimeout{10};

template <typename Request>
TimePoint DeadlineOf(const Request& request) {
  if (!request.has_timeout()) return Clock::now() + kTimeout;
  const auto asked = std::chrono::seconds(std::clamp<int64_t>(
      request.timeout().seconds(), 0, std::chrono::duration_cast<std::chrono::seconds>(kTimeoutMax).count()));
  // A timeout of nothing would end everything before it begins.
  return Clock::now() + (asked == std::chrono::seconds(0) ? std::chrono::seconds(kTimeout) : asked);
}

// What the requests for files and for images have in common.
template <typename Request>
common::v2::Download ToDownload(const Request& request, const std::string& url) {
  common::v2::Download download;
  download.set_url(url);
  download.set_type(common::v2::STANDARD);
  if (request.has_piece_length()) download.set_piece_length(request.piece_length());
  if (request.has_tag()) download.set_tag(request.tag());
  if (request.has_application()) download.set_application(request.application());
  *download.mutable_filtered_query_params() = request.filtered_query_params();
  *download.mutable_request_header() = request.header();
  *download.mutable_certificate_chain() = request.certificate_chain();
  return download;
}

template <typename Request>
absl::StatusOr<oci::ImageRequest> ToImageRequest(const Request& request) {
  oci::ImageRequest asked;
  DF_ASSIGN_OR_RETURN(asked.image, oci::ImageUrl::Parse(request.url()));
  if (request.has_platform() && !request.platform().empty()) {
    DF_ASSIGN_OR_RETURN(asked.platform, oci::Platform::Parse(request.platform()));
  }
  for (const auto& [name, value] : request.header()) asked.header.emplace_back(name, value);
  asked.username = request.username();
  asked.password = request.password();
  asked.verify_tls = !request.insecure_skip_verify();
  asked.deadline = Clock::now() + kResolveTimeout;
  return asked;
}

// What is wrong with an image is wrong with the request, as the original tells it.
absl::Status AsArgument(const absl::Status& status) {
  if (absl::IsInvalidArgument(status) || absl::IsCancelled(status)) return status;
  return absl::InvalidArgumentError(StrCat("resolve the image: ", MessageOf(status)));
}

template <typename Request>
std::vector<std::shared_ptr<const common::v2::Download>> ToDownloads(const Request& request,
                                                                     const oci::ImageRequest& asked,
                                                                     const oci::ResolvedImage& image) {
  std::vector<std::shared_ptr<const common::v2::Download>> downloads;
  for (const oci::Descriptor& blob : image.blobs) {
    auto download = std::make_shared<common::v2::Download>(ToDownload(request, asked.image.BlobOf(blob.digest)));
    auto& header = *download->mutable_request_header();
    if (!blob.media_type.empty()) header["Accept"] = blob.media_type;
    if (!image.authorization.empty()) header["Authorization"] = image.authorization;
    downloads.push_back(std::move(download));
  }
  return downloads;
}

}  // namespace

// Which hosts are meant, and how much at once.
struct PreheatService::Choice {
  template <typename Request>
  static Choice Of(const Request& request) {
    Choice choice;
    choice.scope = request.scope();
    choice.ips.insert(request.ips().begin(), request.ips().end());
    if (request.has_percentage()) choice.percentage = request.percentage();
    if (request.has_count()) choice.count = request.count();
    if (request.has_concurrent_task_count()) choice.tasks_at_once = request.concurrent_task_count();
    if (request.has_concurrent_peer_count()) choice.hosts_at_once = request.concurrent_peer_count();
    choice.deadline = DeadlineOf(request);
    return choice;
  }

  std::string scope;
  std::set<std::string> ips;
  std::optional<uint32_t> percentage, count;
  int64_t tasks_at_once = kTasksAtOnce;
  int64_t hosts_at_once = kHostsAtOnce;
  TimePoint deadline;
};

// Downloads that run in the background.
struct PreheatService::Run {
  struct Host {
    std::shared_ptr<const HostFacts> facts;
    Downloads downloads;
    size_t next = 0;     // of the downloads
    size_t workers = 0;  // that have begun with it
  };
  std::vector<Host> hosts;
  size_t first = 0;  // hosts below it have all of their workers
  size_t tasks_at_once = 1;
  size_t workers = 0;  // that run
  size_t failed = 0;
  TimePoint deadline;
  runtime::Signal ended;
};

struct PreheatService::Survey {
  struct Found {
    std::shared_ptr<const HostFacts> facts;
    std::vector<std::pair<size_t, bool>> tasks;  // index of the task, complete
  };
  std::vector<std::string> task_ids;
  std::vector<Found> hosts;
  size_t next = 0;
  size_t workers = 0;
  TimePoint deadline;
  runtime::Signal ended;
};

PreheatService::PreheatService(asio::io_context& io, HostTable& hosts, Probe& probe, rpc::ChannelPool& seeds,
                               rpc::ChannelPool& peers, std::string name, http::Networks forbidden)
    : hosts_(hosts),
      probe_(probe),
      seeds_(seeds),
      peers_(peers),
      name_(std::move(name)),
      io_(io),
      http_(std::make_unique<http::CurlClient>(io, std::move(forbidden))),
      group_(io.get_executor()) {}

PreheatService::~PreheatService() = default;

asio::awaitable<void> PreheatService::Stop() {
  co_await group_.Stop();
  const auto free = [](PreheatService* self) -> asio::awaitable<void> {
    self->http_.reset();
    co_return;
  };
  co_await asio::co_spawn(io_, free(this), asio::use_awaitable);
}

absl::Status PreheatService::Begin(const Choice& choice, const Downloads& downloads) {
  if (runs_ == kRunsMax) return absl::ResourceExhaustedError("too many preheats run; try again later");
  const auto run = std::make_shared<Run>();
  const bool all_peers = choice.scope == "all_peers";
  const auto no_host = [&] {
    return absl::FailedPreconditionError(
        StrCat(name_, all_peers ? " has no available peer" : " has no available seed peer"));
  };
  if (choice.scope == "single_seed_peer" && choice.ips.empty()) {
    for (const auto& download : downloads) {
      DF_ASSIGN_OR_RETURN(const std::string task_id, TaskIdOf(*download));
      const auto seeds = hosts_.SeedsFor(task_id, Clock::now());
      if (seeds.empty()) return no_host();
      const auto known = std::ranges::find_if(
          run->hosts, [&](const Run::Host& host) { return host.facts->id == seeds.front()->id(); });
      if (known != run->hosts.end()) {
        known->downloads.push_back(download);
      } else {
        run->hosts.push_back(Run::Host{.facts = seeds.front()->facts(), .downloads = {download}});
      }
    }
  } else {
    HostChoice hosts;
    hosts.seeds_only = !all_peers;
    hosts.ips = choice.ips;
    hosts.count = choice.count;
    hosts.percentage = choice.percentage;
    std::vector<std::shared_ptr<const HostFacts>> chosen = ChooseHosts(hosts_, hosts);
    if (chosen.empty()) return no_host();
    if (choice.scope == "single_seed_peer") chosen.resize(1);
    for (auto& facts : chosen) run->hosts.push_back(Run::Host{.facts = std::move(facts), .downloads = downloads});
  }
  run->deadline = choice.deadline;
  size_t tasks = 0, most = 0;
  for (const Run::Host& host : run->hosts) {
    tasks += host.downloads.size();
    most = std::max(most, host.downloads.size());
  }
  run->tasks_at_once = std::min(most, static_cast<size_t>(choice.tasks_at_once));
  constexpr size_t kWorkersMax = 5'000;
  const size_t hosts_at_once = std::min(run->hosts.size(), static_cast<size_t>(choice.hosts_at_once));
  run->workers = std::min({tasks, hosts_at_once * run->tasks_at_once, kWorkersMax});
  DF_LOG(Info, "preheat: {} tasks on {} hosts, {} at once", downloads.size(), run->hosts.size(), run->workers);
  ++runs_;
  group_.Spawn(Drive(run));
  for (size_t i = run->workers; i > 0; --i) group_.Spawn(Work(run));
  return absl::OkStatus();
}

asio::awaitable<void> PreheatService::Drive(std::shared_ptr<Run> run) {
  // Also when the service stops in the midst of it.
  const std::shared_ptr<void> counted(nullptr, [this](void*) { --runs_; });
  for (;;) {
    const uint64_t seen = run->ended.version();
    if (run->workers == 0) break;
    co_await run->ended.Wait(seen);
  }
  if (run->failed == 0) DF_LOG(Info, "preheat: done on {} hosts", run->hosts.size());
  if (run->failed != 0) DF_LOG(Warn, "preheat: {} downloads have failed", run->failed);
}

asio::awaitable<void> PreheatService::Work(std::shared_ptr<Run> run) {
  while (run->first < run->hosts.size()) {
    // A host has at most tasks_at_once workers; when the first has them, it is the next host's turn.
    Run::Host& host = run->hosts[run->first];
    if (++host.workers == run->tasks_at_once || host.workers >= host.downloads.size()) ++run->first;
    while (host.next < host.downloads.size()) {
      const std::shared_ptr<const common::v2::Download> download = host.downloads[host.next++];
      const absl::Status status =
          co_await DownloadTo(ChannelsTo(*host.facts), host.facts->ip, host.facts->port, *download, run->deadline);
      if (!status.ok()) {
        ++run->failed;
        DF_LOG(Warn, "preheat: host {}: {}", host.facts->id, MessageOf(status));
      }
    }
  }
  --run->workers;
  run->ended.Notify();
}

asio::awaitable<void> PreheatService::AskHosts(std::shared_ptr<Survey> survey) {
  while (survey->next < survey->hosts.size() && Clock::now() < survey->deadline) {
    Survey::Found& host = survey->hosts[survey->next++];
    const std::shared_ptr<dfdaemon::v2::DfdaemonUpload::Stub> stub = dfdaemon::v2::DfdaemonUpload::NewStub(
        ChannelsTo(*host.facts).Get(rpc::HostPort(host.facts->ip, host.facts->port)));
    for (size_t i = 0; i < survey->task_ids.size(); ++i) {
      StatLocalTaskRequest request;
      request.set_task_id(survey->task_ids[i]);
      const auto start = [stub](grpc::ClientContext* context, const StatLocalTaskRequest* asked,
                                StatLocalTaskResponse* answer, std::function<void(grpc::Status)> done) {
        stub->async()->StatLocalTask(context, asked, answer, std::move(done));
      };
      const Clock::duration left = std::min<Clock::duration>(kStatTimeout, survey->deadline - Clock::now());
      if (left <= Clock::duration(0)) break;
      auto answer = co_await rpc::Unary<StatLocalTaskResponse>(start, std::move(request), left);
      if (answer.ok()) {
        host.tasks.emplace_back(i, answer->has_finished_at());
      } else if (!absl::IsNotFound(answer.status())) {
        // One that cannot be reached will not be for the next task.
        DF_LOG(Debug, "stat: host {}: {}", host.facts->id, MessageOf(answer.status()));
        break;
      }
    }
  }
  --survey->workers;
  survey->ended.Notify();
}

asio::awaitable<void> PreheatService::Ask(std::shared_ptr<Survey> survey) {
  for (const std::shared_ptr<Host>& host : hosts_.List()) survey->hosts.push_back({host->facts(), {}});
  std::ranges::sort(survey->hosts, {}, [](const Survey::Found& host) { return host.facts->id; });
  survey->workers = std::min(survey->workers, survey->hosts.size());
  for (size_t i = survey->workers; i > 0; --i) group_.Spawn(AskHosts(survey));
  for (;;) {
    const uint64_t seen = survey->ended.version();
    if (survey->workers == 0) co_return;
    co_await survey->ended.Wait(seen);
  }
}

PreheatService::Result PreheatService::RunPreheatImage(const api::PreheatImageRequest& request) {
  DF_CO_RETURN_IF_ERROR(Validate(request));
  DF_CO_ASSIGN_OR_RETURN(const oci::ImageRequest asked, ToImageRequest(request));
  oci::RegistryClient registry(*http_);
  const auto image = co_await registry.Resolve(asked);
  if (!image.ok()) co_return AsArgument(image.status());
  Downloads downloads = ToDownloads(request, asked, *image);
  for (auto& download : downloads) {
    auto prioritised = std::make_shared<common::v2::Download>(*download);
    prioritised->set_priority(request.priority());
    download = std::move(prioritised);
  }
  co_return Begin(Choice::Of(request), downloads);
}

PreheatService::Result PreheatService::RunPreheatFile(const api::PreheatFileRequest& request) {
  DF_CO_RETURN_IF_ERROR(Validate(request));
  DF_CO_ASSIGN_OR_RETURN(const Url url, Url::Parse(request.url()));
  if (url.path.ends_with('/')) {
    co_return absl::InvalidArgumentError("the URL is that of a directory: only files are preheated");
  }
  auto download = std::make_shared<common::v2::Download>(ToDownload(request, request.url()));
  download->set_priority(request.priority());
  if (request.has_object_storage()) *download->mutable_object_storage() = request.object_storage();
  if (request.has_hdfs()) *download->mutable_hdfs() = request.hdfs();
  if (request.has_output_path()) download->set_output_path(request.output_path());
  co_return Begin(Choice::Of(request), {std::move(download)});
}

PreheatService::Result PreheatService::RunStatImage(const api::StatImageRequest& request,
                                                    api::StatImageResponse* response) {
  DF_CO_RETURN_IF_ERROR(Validate(request));
  DF_CO_ASSIGN_OR_RETURN(const oci::ImageRequest asked, ToImageRequest(request));
  oci::RegistryClient registry(*http_);
  const auto image = co_await registry.Resolve(asked);
  if (!image.ok()) co_return AsArgument(image.status());
  const auto survey = std::make_shared<Survey>();
  for (const auto& download : ToDownloads(request, asked, *image)) {
    DF_CO_ASSIGN_OR_RETURN(std::string task_id, TaskIdOf(*download));
    survey->task_ids.push_back(std::move(task_id));
    response->mutable_image()->add_layers()->set_url(download->url());
  }
  survey->deadline = DeadlineOf(request);
  survey->workers =
      static_cast<size_t>(request.has_concurrent_peer_count() ? request.concurrent_peer_count() : kHostsAtOnce);
  co_await Ask(survey);
  for (const Survey::Found& host : survey->hosts) {
    if (host.tasks.empty()) continue;
    api::PeerImage& peer = *response->add_peers();
    peer.set_ip(host.facts->ip);
    peer.set_hostname(host.facts->hostname);
    for (const auto& [index, complete] : host.tasks) {
      api::Layer& layer = *peer.add_cached_layers();
      layer.set_url(response->image().layers(static_cast<int>(index)).url());
      layer.set_is_finished(complete);
    }
  }
  co_return absl::OkStatus();
}

PreheatService::Result PreheatService::RunStatFile(const api::StatFileRequest& request,
                                                   api::StatFileResponse* response) {
  DF_CO_RETURN_IF_ERROR(Validate(request));
  const auto survey = std::make_shared<Survey>();
  DF_CO_ASSIGN_OR_RETURN(std::string task_id, TaskIdOf(ToDownload(request, request.url())));
  survey->task_ids.push_back(std::move(task_id));
  survey->deadline = DeadlineOf(request);
  survey->workers =
      static_cast<size_t>(request.has_concurrent_peer_count() ? request.concurrent_peer_count() : kHostsAtOnce);
  co_await Ask(survey);
  for (const Survey::Found& host : survey->hosts) {
    if (host.tasks.empty()) continue;
    api::PeerFile& peer = *response->add_peers();
    peer.set_ip(host.facts->ip);
    peer.set_hostname(host.facts->hostname);
    api::File& file = *peer.add_cached_files();
    file.set_url(request.url());
    file.set_is_finished(host.tasks.front().second);
  }
  co_return absl::OkStatus();
}

PreheatService::Result PreheatService::PreheatImage(const api::PreheatImageRequest* request) {
  absl::Status status = co_await RunPreheatImage(*request);
  probe_.Count(Call::kPreheatImage, status);
  co_return status;
}

PreheatService::Result PreheatService::PreheatFile(const api::PreheatFileRequest* request) {
  absl::Status status = co_await RunPreheatFile(*request);
  probe_.Count(Call::kPreheatFile, status);
  co_return status;
}

PreheatService::Result PreheatService::StatImage(const api::StatImageRequest* request,
                                                 api::StatImageResponse* response) {
  absl::Status status = co_await RunStatImage(*request, response);
  probe_.Count(Call::kStatImage, status);
  co_return status;
}

PreheatService::Result PreheatService::StatFile(const api::StatFileRequest* request, api::StatFileResponse* response) {
  absl::Status status = co_await RunStatFile(*request, response);
  probe_.Count(Call::kStatFile, status);
  co_return status;
}

}  // namespace dragonfly::scheduler
