// SPDX-License-Identifier: Apache-2.0
#include "manager/job_planner.h"

#include <arpa/inet.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/task_id.h"
#include "base/text.h"
#include "base/url.h"
#include "jobs/preheat_request.h"
#include "jobs/task_request.h"
#include "runtime/clock.h"

namespace dragonfly::manager {
namespace asio = boost::asio;
namespace {

UrlTaskKey KeyOf(const std::string& url, const jobs::PreheatRequest& download) {
  UrlTaskKey key;
  key.url = url;
  key.filtered_query_params = download.FilteredQueryParams();
  key.tag = download.tag;
  key.application = download.application;
  key.piece_length = download.piece_length;
  return key;
}

void AddPreheat(const JobTarget& target, const jobs::PreheatRequest& request, JobPlan& plan) {
  jobs::Message& message = plan.messages.emplace_back();
  message.name = jobs::kPreheat;
  message.queue = target.queue;
  message.argument = jobs::ToJson(request, target.form);
}

// The address that the host of a URL stands for, in any of the notations that downloaders take: 10.0.0.1, ::1, and
// those of inet_aton(), such as 0x0a000001 and 10.1. Nullopt for a name.
std::optional<asio::ip::address> AddressOf(std::string host) {
  if (host.ends_with('.')) host.pop_back();
  boost::system::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (!error) return address;
  in_addr old{};
  if (host.empty() || ::inet_aton(host.c_str(), &old) == 0) return std::nullopt;
  return asio::ip::address_v4(ntohl(old.s_addr));
}

}  // namespace

JobPlanner::JobPlanner(asio::io_context& io, const JobTargets& targets, const ManagerConfig& config,
                       http::Networks forbidden, PreheatTls tls)
    : targets_(targets),
      config_(config),
      forbidden_(std::move(forbidden)),
      tls_(std::move(tls)),
      http_(std::make_unique<http::CurlClient>(io, forbidden_)) {}

absl::StatusOr<std::unique_ptr<JobPlanner>> JobPlanner::Make(asio::io_context& io, const JobTargets& targets,
                                                             const ManagerConfig& config) {
  auto forbidden = http::Networks::Parse(config.job.preheat.forbidden_networks);
  if (!forbidden.ok()) return Annotate(forbidden.status(), "job.preheat.forbiddenNetworks");
  const auto allowed = http::Networks::Parse(config.job.preheat.allowed_networks);
  if (!allowed.ok()) return Annotate(allowed.status(), "job.preheat.allowedNetworks");
  forbidden->Except(*allowed);
  DF_ASSIGN_OR_RETURN(PreheatTls tls, LoadPreheatTls(config));
  return std::unique_ptr<JobPlanner>(new JobPlanner(io, targets, config, *std::move(forbidden), std::move(tls)));
}

asio::awaitable<absl::StatusOr<oci::ResolvedImage>> JobPlanner::Resolve(const JobArgs& args, oci::ImageUrl* image) {
  oci::ImageRequest asked;
  DF_CO_ASSIGN_OR_RETURN(asked.image, oci::ImageUrl::Parse(args.download.urls.back()));
  if (!args.platform.empty()) {
    DF_CO_ASSIGN_OR_RETURN(asked.platform, oci::Platform::Parse(args.platform));
  }
  for (const auto& [name, value] : args.download.headers) asked.header.emplace_back(name, value);
  asked.username = args.username;
  asked.password = args.password;
  asked.verify_tls = !config_.job.preheat.insecure_skip_verify;
  asked.ca_file = tls_.ca_file;
  asked.deadline = Clock::now() + absl::ToChronoNanoseconds(config_.job.preheat.registry_timeout);
  *image = asked.image;
  oci::RegistryClient registry(*http_);
  auto resolved = co_await registry.Resolve(std::move(asked));
  // What is wrong with an image is wrong with the request.
  if (!resolved.ok()) co_return absl::InvalidArgumentError(StrCat("image: ", MessageOf(resolved.status())));
  co_return resolved;
}

absl::Status JobPlanner::CheckUrls(const std::vector<std::string>& urls) const {
  // Names are looked up by the peers, and mean what they mean there; an address is the same everywhere.
  for (const std::string& text : urls) {
    DF_ASSIGN_OR_RETURN(const Url url, Url::Parse(text));
    std::string host = url.host;
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    const auto address = AddressOf(host);
    if (address.has_value() && forbidden_.Contains(*address)) {
      return absl::InvalidArgumentError(StrCat("url: ", host, " is in a network that is forbidden"));
    }
  }
  return absl::OkStatus();
}

asio::awaitable<absl::StatusOr<JobPlan>> JobPlanner::PlanPreheat(const JobArgs& args,
                                                                 const std::vector<uint64_t>& wanted) {
  DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets,
                         co_await targets_.Find(wanted, JobReach::kPreheaterOfEach));
  DF_CO_RETURN_IF_ERROR(CheckUrls(args.download.urls));
  std::vector<jobs::PreheatRequest> files;  // one URL each
  jobs::PreheatRequest base = args.download;
  base.certificate_chain = tls_.certificates;
  base.insecure_skip_verify = config_.job.preheat.insecure_skip_verify;
  if (args.image) {
    oci::ImageUrl image;
    DF_CO_ASSIGN_OR_RETURN(const oci::ResolvedImage resolved, co_await Resolve(args, &image));
    if (!resolved.authorization.empty()) base.headers["Authorization"] = resolved.authorization;
    for (const oci::Descriptor& blob : resolved.blobs) {
      jobs::PreheatRequest& file = files.emplace_back(base);
      file.urls = {image.BlobOf(blob.digest)};
      if (!blob.media_type.empty()) file.headers["Accept"] = blob.media_type;
    }
    base.urls.clear();
    for (const jobs::PreheatRequest& file : files) base.urls.push_back(file.urls.front());
  } else {
    for (const std::string& url : args.download.urls) files.emplace_back(base).urls = {url};
  }
  JobPlan plan;
  for (const JobTarget& target : targets) {
    plan.clusters.push_back(target.cluster);
    if (target.form == jobs::Form::kAllUrls) {
      AddPreheat(target, base, plan);
    } else {
      for (const jobs::PreheatRequest& file : files) AddPreheat(target, file, plan);
    }
  }
  co_return plan;
}

asio::awaitable<absl::StatusOr<JobPlan>> JobPlanner::PlanTask(const char* name, const JobArgs& args,
                                                              const std::vector<uint64_t>& wanted) {
  DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets, co_await targets_.Find(wanted, JobReach::kAll));
  jobs::TaskRequest request;
  request.task_id = args.task_id;
  request.timeout = args.timeout;
  JobPlan plan;
  for (const JobTarget& target : targets) {
    jobs::Message& message = plan.messages.emplace_back();
    message.name = name;
    message.queue = target.queue;
    message.argument = jobs::ToJson(request);
    if (std::ranges::find(plan.clusters, target.cluster) == plan.clusters.end()) {
      plan.clusters.push_back(target.cluster);
    }
  }
  co_return plan;
}

asio::awaitable<absl::StatusOr<JobPlan>> JobPlanner::Plan(JobKind kind, const JobArgs& args,
                                                          const std::vector<uint64_t>& wanted) {
  switch (kind) {
    case JobKind::kPreheat:
      co_return co_await PlanPreheat(args, wanted);
    case JobKind::kGetTask:
      co_return co_await PlanTask(jobs::kGetTask, args, wanted);
    case JobKind::kDeleteTask:
      co_return co_await PlanTask(jobs::kDeleteTask, args, wanted);
    default:
      co_return absl::InternalError(StrCat(NameOf(kind), " is no job for schedulers"));
  }
}

asio::awaitable<absl::StatusOr<ImageSearch>> JobPlanner::PlanImageSearch(const JobArgs& args,
                                                                         const std::vector<uint64_t>& wanted) {
  DF_CO_ASSIGN_OR_RETURN(const std::vector<JobTarget> targets, co_await targets_.Find(wanted, JobReach::kAll));
  oci::ImageUrl image;
  DF_CO_ASSIGN_OR_RETURN(const oci::ResolvedImage resolved, co_await Resolve(args, &image));
  ImageSearch search;
  search.schedulers = targets.size();
  for (const oci::Descriptor& blob : resolved.blobs) {
    const std::string& url = search.layers.emplace_back(image.BlobOf(blob.digest));
    DF_CO_ASSIGN_OR_RETURN(const TaskId id, UrlTaskId(KeyOf(url, args.download)));
    jobs::TaskRequest task;
    task.task_id = id.str();
    for (const JobTarget& target : targets) {
      jobs::Message& message = search.messages.emplace_back();
      message.name = jobs::kGetTask;
      message.queue = target.queue;
      message.argument = jobs::ToJson(task);
    }
  }
  co_return search;
}

jobs::Message JobPlanner::ListMessage(const JobTarget& target, const JobArgs& args, absl::Duration timeout) const {
  jobs::TaskRequest asked;
  asked.url = args.download.urls.front();
  if (const auto id = UrlTaskId(KeyOf(asked.url, args.download)); id.ok()) asked.task_id = id->str();
  asked.timeout = timeout;
  asked.headers = args.download.headers;
  asked.certificate_chain = tls_.certificates;
  asked.object_storage = args.download.object_storage;
  asked.hdfs = args.download.hdfs;
  jobs::Message message;
  message.name = jobs::kListTaskEntries;
  message.queue = target.queue;
  message.argument = jobs::ToJson(asked);
  return message;
}

}  // namespace dragonfly::manager
