// SPDX-License-Identifier: Apache-2.0
#include "scheduler/job_runner.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/channel.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status.h"
#include "base/text.h"
#include "base/url.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/client_call.h"
#include "rpc/server_call.h"
#include "runtime/for_each.h"
#include "runtime/run_on.h"
#include "runtime/timeout.h"
#include "scheduler/persistent_service.h"
#include "scheduler/preheat_hosts.h"
#include "telemetry/log.h"

namespace dragonfly::scheduler {
namespace asio = boost::asio;
namespace ext = dragonfly::ext::v1;
namespace {

using dfdaemon::v2::DfdaemonUpload;

// Defaults of dragonfly v2.5.1.
constexpr absl::Duration kPreheatTimeout = absl::Minutes(60);
constexpr absl::Duration kTaskTimeout = absl::Minutes(30);
constexpr absl::Duration kTimeoutMax = absl::Hours(24 * 7);
constexpr std::chrono::seconds kDeleteTimeout{30};
constexpr size_t kDeletesAtOnce = 50;
// A seed that cannot be reached gives way to the next of the ring.
constexpr size_t kSeedsTried = 3;
constexpr size_t kDownloadsMax = 5'000;

TimePoint DeadlineOf(absl::Duration asked, absl::Duration otherwise) {
  const absl::Duration duration = asked <= absl::ZeroDuration() ? otherwise : std::min(asked, kTimeoutMax);
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(absl::ToChronoNanoseconds(duration));
}

absl::Time WallTimeOf(TimePoint time) {
  return absl::Now() - absl::FromChrono(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - time));
}

template <typename Message>
absl::Status ReadProto(std::string_view name, const std::string& json, Message* message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (google::protobuf::util::JsonStringToMessage(json, message, options).ok()) return absl::OkStatus();
  // Without what it says, since that quotes its input, which has credentials in it.
  return absl::InvalidArgumentError(StrCat(name, ": cannot be read"));
}

absl::StatusOr<std::vector<common::v2::Download>> ToDownloads(const jobs::PreheatRequest& request) {
  std::vector<common::v2::Download> downloads;
  for (const std::string& url : request.urls) {
    DF_ASSIGN_OR_RETURN(const Url parsed, Url::Parse(url));
    if (parsed.scheme == "file" || parsed.scheme.empty()) {
      return absl::InvalidArgumentError(StrCat("preheat: ", Quoted(parsed.scheme), " is no scheme of an origin"));
    }
    common::v2::Download& download = downloads.emplace_back();
    download.set_url(url);
    download.set_type(common::v2::STANDARD);
    if (request.piece_length.has_value()) download.set_piece_length(*request.piece_length);
    download.set_tag(request.tag);
    download.set_application(request.application);
    download.set_priority(static_cast<common::v2::Priority>(request.priority));
    for (const std::string& name : request.FilteredQueryParams()) download.add_filtered_query_params(name);
    for (const auto& [name, value] : request.headers) (*download.mutable_request_header())[name] = value;
    for (const std::string& certificate : request.certificate_chain) download.add_certificate_chain(certificate);
    download.set_load_to_cache(request.load_to_cache);
    if (request.content.has_value()) download.set_content_for_calculating_task_id(*request.content);
    if (request.output_path.has_value()) download.set_output_path(*request.output_path);
    if (request.object_storage.has_value()) {
      DF_RETURN_IF_ERROR(ReadProto("object_storage", *request.object_storage, download.mutable_object_storage()));
    }
    if (request.hdfs.has_value()) DF_RETURN_IF_ERROR(ReadProto("hdfs", *request.hdfs, download.mutable_hdfs()));
  }
  return downloads;
}

std::unique_ptr<DfdaemonUpload::Stub> StubOf(rpc::ChannelPool& channels, const HostFacts& host) {
  return DfdaemonUpload::NewStub(channels.Get(rpc::HostPort(host.ip, host.port)));
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace

// A host, or the seeds that are tried one after another, and the files that it gets.
struct JobRunner::Place {
  std::vector<std::shared_ptr<const HostFacts>> hosts;
  std::vector<size_t> downloads;
};

JobRunner::JobRunner(asio::io_context& io, Shards& shards, HostTable& hosts, rpc::ChannelPool& seeds,
                     rpc::ChannelPool& peers, PersistentService* persistent, Options options)
    : shards_(shards),
      hosts_(hosts),
      seeds_(seeds),
      peers_(peers),
      persistent_(persistent),
      options_(std::move(options)),
      name_(StrCat("cluster ", options_.cluster_id, " scheduler ", options_.ip)),
      handlers_(Handlers()),
      group_(io.get_executor()) {}

JobRunner::~JobRunner() = default;

std::map<std::string, jobs::Handler> JobRunner::Handlers() {
  const auto handler = [this](Json (JobRunner::*method)(std::string)) -> jobs::Handler {
    return [this, method](std::string argument) { return (this->*method)(std::move(argument)); };
  };
  std::map<std::string, jobs::Handler> handlers = {{jobs::kPreheat, handler(&JobRunner::Preheat)},
                                                   {jobs::kGetTask, handler(&JobRunner::GetTask)},
                                                   {jobs::kDeleteTask, handler(&JobRunner::DeleteTask)},
                                                   {jobs::kListTaskEntries, handler(&JobRunner::ListTaskEntries)},
                                                   {jobs::kSyncPeers, handler(&JobRunner::SyncPeers)}};
  if (persistent_ != nullptr) {
    handlers[jobs::kGetPersistentCacheTask] = handler(&JobRunner::GetPersistentCacheTask);
    handlers[jobs::kDeletePersistentCacheTask] = handler(&JobRunner::DeletePersistentCacheTask);
  }
  return handlers;
}

asio::awaitable<void> JobRunner::Stop() { co_await group_.Stop(); }

absl::StatusOr<std::vector<JobRunner::Place>> JobRunner::PlacesOf(
    const jobs::PreheatRequest& request, const std::vector<common::v2::Download>& downloads) const {
  std::vector<Place> places;
  const bool all_peers = request.scope == jobs::Scope::kAllPeers;
  if (!all_peers && !options_.seeds_enabled) {
    return absl::FailedPreconditionError(StrCat(name_, " has disabled seed peer"));
  }
  if (request.scope == jobs::Scope::kSingleSeedPeer && request.ips.empty()) {
    std::map<std::string, size_t> by_seed;
    for (size_t i = 0; i < downloads.size(); ++i) {
      DF_ASSIGN_OR_RETURN(const std::string task_id, TaskIdOf(downloads[i]));
      const auto seeds = hosts_.SeedsFor(task_id, Clock::now());
      if (seeds.empty()) return absl::FailedPreconditionError(StrCat(name_, " has no available seed peer"));
      const auto [at, made] = by_seed.try_emplace(seeds.front()->id(), places.size());
      if (made) {
        Place& place = places.emplace_back();
        for (const auto& seed : seeds) {
          if (place.hosts.size() < kSeedsTried) place.hosts.push_back(seed->facts());
        }
      }
      places[at->second].downloads.push_back(i);
    }
    return places;
  }
  HostChoice choice;
  choice.seeds_only = !all_peers;
  choice.ips.insert(request.ips.begin(), request.ips.end());
  choice.count = request.count;
  choice.percentage = request.percentage;
  std::vector<std::shared_ptr<const HostFacts>> chosen = ChooseHosts(hosts_, choice);
  if (chosen.empty()) {
    return absl::FailedPreconditionError(all_peers ? StrCat("[preheat]: ", name_, " has no available peer")
                                                   : StrCat(name_, " has no available seed peer"));
  }
  if (request.scope == jobs::Scope::kSingleSeedPeer) chosen.resize(1);
  for (auto& facts : chosen) {
    Place& place = places.emplace_back();
    place.hosts.push_back(std::move(facts));
    for (size_t i = 0; i < downloads.size(); ++i) place.downloads.push_back(i);
  }
  return places;
}

asio::awaitable<void> JobRunner::PreheatAt(const Place& place, const std::vector<common::v2::Download>& downloads,
                                           size_t tasks_at_once, TimePoint deadline, jobs::PreheatResult& result) {
  const auto one = [this, &place, &downloads, deadline, &result](size_t index) -> asio::awaitable<void> {
    return [](JobRunner* self, const Place& at, const common::v2::Download& download, TimePoint until,
              jobs::PreheatResult& all) -> asio::awaitable<void> {
      absl::Status status;
      const HostFacts* host = nullptr;
      for (const auto& facts : at.hosts) {
        host = facts.get();
        status = co_await DownloadTo(self->ChannelsTo(*host), host->ip, host->port, download, until);
        if (!absl::IsUnavailable(status)) break;
      }
      jobs::PreheatResult::Task task;
      task.url = download.url();
      task.hostname = host->hostname;
      task.ip = host->ip;
      if (status.ok()) {
        all.successes.push_back(std::move(task));
      } else {
        const auto task_id = TaskIdOf(download);
        task.description = StrCat("task ", task_id.ok() ? *task_id : "", " failed: ", MessageOf(status));
        all.failures.push_back(std::move(task));
      }
    }(this, place, downloads[place.downloads[index]], deadline, result);
  };
  co_await runtime::ForEach(place.downloads.size(), tasks_at_once, one);
}

JobRunner::Json JobRunner::Preheat(std::string argument) {
  DF_CO_ASSIGN_OR_RETURN(const jobs::PreheatRequest request, jobs::ParsePreheatRequest(argument));
  DF_CO_ASSIGN_OR_RETURN(const std::vector<common::v2::Download> downloads, ToDownloads(request));
  DF_CO_ASSIGN_OR_RETURN(const std::vector<Place> places, PlacesOf(request, downloads));
  const TimePoint deadline = DeadlineOf(request.timeout, kPreheatTimeout);
  jobs::PreheatResult result;
  result.cluster_id = options_.cluster_id;
  const auto tasks_at_once = static_cast<size_t>(request.tasks_at_once);
  const size_t hosts_at_once =
      std::min<size_t>(static_cast<size_t>(request.peers_at_once), std::max<size_t>(1, kDownloadsMax / tasks_at_once));
  DF_LOG(Info, "preheat: {} files on {} hosts", downloads.size(), places.size());
  const auto at = [&](size_t index) { return PreheatAt(places[index], downloads, tasks_at_once, deadline, result); };
  co_await runtime::ForEach(places.size(), hosts_at_once, at);
  if (result.successes.empty()) {
    const jobs::PreheatResult::Task& first = result.failures.front();
    const auto task_id = TaskIdOf(downloads.front());
    co_return absl::UnavailableError(StrCat("all peers preheat failed: ", task_id.ok() ? *task_id : "", " ", first.ip,
                                            " ", first.hostname, " ", first.description));
  }
  co_return jobs::ToJson(result);
}

asio::awaitable<std::vector<jobs::GetTaskResult::Peer>> JobRunner::KnownPeersOf(std::string task_id,
                                                                                std::vector<std::string>& host_ids) {
  struct Known {
    std::vector<jobs::GetTaskResult::Peer> peers;
    std::vector<std::string> hosts;
  };
  ShardRunner& runner = shards_.For(task_id);
  const auto look = [](ShardRunner* shards, std::string id) -> asio::awaitable<Known> {
    co_return shards->Do([&id](Shard& shard, TimePoint) {
      Known known;
      const Task* const task = shard.FindTask(id);
      if (task == nullptr) return known;
      for (const std::unique_ptr<Peer>& peer : task->peers()) {
        const HostFacts& host = peer->host_facts();
        jobs::GetTaskResult::Peer& shown = known.peers.emplace_back();
        shown.id = peer->id();
        shown.hostname = host.hostname;
        shown.ip = host.ip;
        shown.host_type = std::string(jobs::HostTypeName(host.type));
        shown.created_at = WallTimeOf(peer->created_at);
        shown.updated_at = WallTimeOf(peer->updated_at);
        shown.finished = peer->state() == PeerState::kSucceeded;
        known.hosts.push_back(host.id);
      }
      return known;
    });
  };
  Known known = co_await runtime::RunOn<Known>(runner.context().get_executor(), look(&runner, std::move(task_id)));
  host_ids = std::move(known.hosts);
  co_return std::move(known.peers);
}

asio::awaitable<std::vector<JobRunner::Holder>> JobRunner::HoldersOf(std::string task_id) {
  std::vector<Holder> asked;
  for (const std::shared_ptr<Host>& host : hosts_.List()) asked.emplace_back().facts = host->facts();
  std::vector<char> holds(asked.size(), 0);
  const auto ask = [this, &asked, &holds, &task_id](size_t index) {
    return [](JobRunner* self, Holder& holder, char& has, const std::string& id) -> asio::awaitable<void> {
      const std::shared_ptr<DfdaemonUpload::Stub> stub = StubOf(self->ChannelsTo(*holder.facts), *holder.facts);
      dfdaemon::v2::StatLocalTaskRequest request;
      request.set_task_id(id);
      const auto start = [stub](grpc::ClientContext* context, const dfdaemon::v2::StatLocalTaskRequest* question,
                                dfdaemon::v2::StatLocalTaskResponse* answer, std::function<void(grpc::Status)> done) {
        stub->async()->StatLocalTask(context, question, answer, std::move(done));
      };
      const auto answer = co_await rpc::Unary<dfdaemon::v2::StatLocalTaskResponse>(start, std::move(request),
                                                                                   self->options_.ask_timeout);
      if (!answer.ok()) co_return;
      has = 1;
      holder.finished = answer->has_finished_at();
      holder.created_at = TimeOf(answer->created_at());
    }(this, asked[index], holds[index], task_id);
  };
  co_await runtime::ForEach(asked.size(), options_.hosts_at_once, ask);
  std::vector<Holder> holders;
  for (size_t i = 0; i < asked.size(); ++i) {
    if (holds[i] != 0) holders.push_back(std::move(asked[i]));
  }
  co_return holders;
}

JobRunner::Json JobRunner::GetTask(std::string argument) {
  DF_CO_ASSIGN_OR_RETURN(const jobs::TaskRequest request, jobs::ParseTaskRequest(argument));
  jobs::GetTaskResult result;
  result.cluster_id = options_.cluster_id;
  std::vector<std::string> known;
  result.peers = co_await KnownPeersOf(request.task_id, known);
  // What was downloaded before this scheduler began is on the hosts all the same.
  const std::vector<Holder> holders = co_await HoldersOf(request.task_id);
  for (const Holder& holder : holders) {
    const HostFacts& host = *holder.facts;
    const auto at = std::ranges::find(known, host.id);
    if (at != known.end()) {
      jobs::GetTaskResult::Peer& peer = result.peers[static_cast<size_t>(at - known.begin())];
      peer.finished = peer.finished || holder.finished;
      continue;
    }
    jobs::GetTaskResult::Peer& peer = result.peers.emplace_back();
    peer.id = host.id;
    peer.hostname = host.hostname;
    peer.ip = host.ip;
    peer.host_type = std::string(jobs::HostTypeName(host.type));
    peer.created_at = peer.updated_at = holder.created_at;
    peer.finished = holder.finished;
  }
  co_return jobs::ToJson(result);
}

JobRunner::Json JobRunner::DeleteTask(std::string argument) {
  DF_CO_ASSIGN_OR_RETURN(const jobs::TaskRequest request, jobs::ParseTaskRequest(argument));
  const TimePoint deadline = DeadlineOf(request.timeout, kTaskTimeout);
  jobs::DeleteTaskResult result;
  result.cluster_id = options_.cluster_id;
  std::vector<std::string> known;
  (void)co_await KnownPeersOf(request.task_id, known);
  std::map<std::string, std::shared_ptr<const HostFacts>> hosts;
  for (const std::string& id : known) {
    if (const auto host = hosts_.Find(id)) hosts[id] = host->facts();
  }
  for (const Holder& holder : co_await HoldersOf(request.task_id)) hosts[holder.facts->id] = holder.facts;
  std::vector<std::shared_ptr<const HostFacts>> asked;
  for (auto& [id, facts] : hosts) asked.push_back(std::move(facts));
  const auto remove = [&](size_t index) {
    return [](JobRunner* self, const HostFacts& host, const std::string& task_id, TimePoint until,
              jobs::DeleteTaskResult& all) -> asio::awaitable<void> {
      const std::shared_ptr<DfdaemonUpload::Stub> stub = StubOf(self->ChannelsTo(host), host);
      dfdaemon::v2::DeleteTaskRequest question;
      question.set_task_id(task_id);
      const auto start = [stub](grpc::ClientContext* context, const dfdaemon::v2::DeleteTaskRequest* sent,
                                google::protobuf::Empty* answer, std::function<void(grpc::Status)> done) {
        stub->async()->DeleteTask(context, sent, answer, std::move(done));
      };
      const Clock::duration left = std::min<Clock::duration>(kDeleteTimeout, until - Clock::now());
      absl::Status status = absl::DeadlineExceededError("the time of the job is over");
      if (left > Clock::duration(0)) {
        status = (co_await rpc::Unary<google::protobuf::Empty>(start, std::move(question), left)).status();
      }
      jobs::DeleteTaskResult::Task task;
      task.hostname = host.hostname;
      task.ip = host.ip;
      task.host_type = std::string(jobs::HostTypeName(host.type));
      // One that has it no more has done as it was asked to.
      if (status.ok() || absl::IsNotFound(status)) {
        self->shards_.For(task_id).Post(
            [id = host.id, task_id](Shard& shard, TimePoint now) { shard.DeleteTask(id, task_id, now); });
        all.successes.push_back(std::move(task));
      } else {
        task.description = StrCat("task ", task_id, " failed: ", MessageOf(status));
        all.failures.push_back(std::move(task));
      }
    }(this, *asked[index], request.task_id, deadline, result);
  };
  co_await runtime::ForEach(asked.size(), kDeletesAtOnce, remove);
  co_return jobs::ToJson(result);
}

JobRunner::Json JobRunner::ListTaskEntries(std::string argument) {
  DF_CO_ASSIGN_OR_RETURN(const jobs::TaskRequest request, jobs::ParseTaskRequest(argument));
  if (request.url.empty()) co_return absl::InvalidArgumentError("url: is required");
  const auto seeds = hosts_.SeedsFor(request.url, Clock::now());
  std::vector<std::shared_ptr<const HostFacts>> hosts;
  for (const auto& seed : seeds) hosts.push_back(seed->facts());
  if (hosts.empty()) hosts = ChooseHosts(hosts_, HostChoice());
  if (hosts.empty()) co_return absl::FailedPreconditionError(StrCat(name_, " has no available peer"));
  if (hosts.size() > kSeedsTried) hosts.resize(kSeedsTried);
  const TimePoint deadline = DeadlineOf(request.timeout, absl::Minutes(1));
  absl::Status last;
  for (const auto& host : hosts) {
    dfdaemon::v2::ListTaskEntriesRequest question;
    question.set_task_id(request.task_id);
    question.set_url(request.url);
    for (const auto& [name, value] : request.headers) (*question.mutable_request_header())[name] = value;
    for (const std::string& certificate : request.certificate_chain) question.add_certificate_chain(certificate);
    if (request.object_storage.has_value()) {
      DF_CO_RETURN_IF_ERROR(ReadProto("object_storage", *request.object_storage, question.mutable_object_storage()));
    }
    if (request.hdfs.has_value()) {
      DF_CO_RETURN_IF_ERROR(ReadProto("hdfs", *request.hdfs, question.mutable_hdfs()));
    }
    question.set_remote_ip(options_.ip);
    const std::shared_ptr<DfdaemonUpload::Stub> stub = StubOf(ChannelsTo(*host), *host);
    const auto start = [stub](grpc::ClientContext* context, const dfdaemon::v2::ListTaskEntriesRequest* sent,
                              dfdaemon::v2::ListTaskEntriesResponse* answer, std::function<void(grpc::Status)> done) {
      stub->async()->ListTaskEntries(context, sent, answer, std::move(done));
    };
    const auto answer = co_await rpc::Unary<dfdaemon::v2::ListTaskEntriesResponse>(
        start, std::move(question), std::max<Clock::duration>(deadline - Clock::now(), std::chrono::milliseconds(1)));
    if (answer.ok()) {
      jobs::TaskEntries entries;
      entries.cluster_id = options_.cluster_id;
      for (const dfdaemon::v2::Entry& entry : answer->entries()) {
        jobs::TaskEntries::Entry& shown = entries.entries.emplace_back();
        shown.url = entry.url();
        shown.content_length = entry.content_length();
        shown.directory = entry.is_dir();
      }
      co_return jobs::ToJson(entries);
    }
    last = answer.status();
    if (!absl::IsUnavailable(last)) break;
  }
  co_return last;
}

JobRunner::Json JobRunner::SyncPeers(std::string) {
  std::vector<jobs::HostEntry> entries;
  for (const std::shared_ptr<Host>& host : hosts_.List()) {
    const std::shared_ptr<const HostFacts> facts = host->facts();
    jobs::HostEntry& entry = entries.emplace_back();
    entry.id = facts->id;
    entry.type = facts->type;
    entry.hostname = facts->hostname;
    entry.ip = facts->ip;
    entry.port = facts->port;
    entry.idc = facts->idc;
    entry.location = facts->location;
    // Managers forget whoever is of another cluster, and skip who is of none.
    entry.cluster_id = options_.cluster_id;
    if (facts->announced == nullptr) continue;
    const common::v2::Host& announced = *facts->announced;
    entry.download_port = announced.download_port();
    entry.proxy_port = announced.proxy_port();
    entry.os = announced.os();
    entry.platform = announced.platform();
    entry.platform_family = announced.platform_family();
    entry.platform_version = announced.platform_version();
    entry.kernel_version = announced.kernel_version();
    entry.git_version = announced.build().git_version();
    entry.git_commit = announced.build().git_commit();
    entry.build_platform = announced.build().platform();
  }
  std::ranges::sort(entries, {}, &jobs::HostEntry::id);
  co_return jobs::ToJson(entries);
}

JobRunner::Json JobRunner::GetPersistentCacheTask(std::string argument) {
  // Without an id all are meant.
  DF_CO_ASSIGN_OR_RETURN(const jobs::TaskRequest request, jobs::ParseTaskRequest(argument, /*must_name=*/false));
  std::string text;
  const absl::Status status = co_await persistent_->Show(request.task_id, &text);
  if (absl::IsNotFound(status)) co_return "[]";
  if (!status.ok()) co_return status;
  co_return text;
}

JobRunner::Json JobRunner::DeletePersistentCacheTask(std::string argument) {
  DF_CO_ASSIGN_OR_RETURN(const jobs::TaskRequest request, jobs::ParseTaskRequest(argument));
  ::scheduler::v2::DeletePersistentCacheTaskRequest question;
  question.set_task_id(request.task_id);
  question.set_host_id(name_);
  DF_CO_RETURN_IF_ERROR(co_await persistent_->DeleteTask(&question));
  co_return "{}";
}

asio::awaitable<absl::Status> JobRunner::Answer(const ext::RunJobRequest* request, ext::RunJobResponse* response) {
  const auto handler = handlers_.find(request->name());
  if (handler == handlers_.end()) {
    co_return absl::UnimplementedError(StrCat("job ", Quoted(request->name()), " is not known to this scheduler"));
  }
  DF_LOG(Info, "job {}: begins", request->name());
  auto result = co_await handler->second(request->argument());
  if (!result.ok()) {
    DF_LOG(Warn, "job {}: {}", request->name(), MessageOf(result.status()));
    co_return result.status();
  }
  *response->mutable_result() = *std::move(result);
  co_return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobRunner::RunJob(grpc::CallbackServerContext* context, const ext::RunJobRequest* request,
                                            ext::RunJobResponse* response) {
  return rpc::ServeUnary(context, group_, [this, request, response]() -> asio::awaitable<absl::Status> {
    if (group_.size() > kCallsMax) {
      return []() -> asio::awaitable<absl::Status> {
        co_return absl::ResourceExhaustedError("too many jobs run; try again later");
      }();
    }
    return Answer(request, response);
  });
}

}  // namespace dragonfly::scheduler
