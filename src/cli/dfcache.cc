// SPDX-License-Identifier: Apache-2.0
#include "cli/dfcache.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/dfcache_options.h"
#include "cli/dfctl_calls.h"
#include "cli/failure_report.h"
#include "cli/output_file.h"
#include "cli/progress_bar.h"
#include "cli/table.h"
#include "dfdaemon/v2/dfdaemon.pb.h"
#include "dragonfly/ext/v1/persistent_cache.pb.h"
#include "rpc/unix_client.h"

namespace dragonfly::cli {
namespace {

namespace wire = dfdaemon::v2;

#define DF_DOWNLOAD_SERVICE "/dfdaemon.v2.DfdaemonDownload/"
constexpr char kImportTask[] = "/dragonfly.ext.v1.PersistentCache/ImportTask";
constexpr char kDeleteTask[] = "/dragonfly.ext.v1.PersistentCache/DeleteTask";

void PrintReport(const DfcacheOptions& options, const std::string& report) {
  (options.json ? std::cerr : std::cout) << report;
}

bool Colored(const DfcacheOptions& options) { return !options.json && ColorWanted(); }

int Fail(const DfcacheOptions& options, std::string_view verb, const absl::Status& status, bool local = false) {
  PrintReport(options, CallReport(verb, status, local, Colored(options)));
  return 1;
}

std::unique_ptr<rpc::UnixClient> Connect(const DfcacheOptions& options) {
  auto client = rpc::UnixClient::Connect(options.endpoint);
  if (client.ok()) return *std::move(client);
  PrintReport(options, ConnectReport(client.status(), options.endpoint, Colored(options)));
  return nullptr;
}

void SetDuration(absl::Duration duration, google::protobuf::Duration* out) {
  out->set_seconds(absl::ToInt64Seconds(duration));
  out->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(absl::ToInt64Seconds(duration)))));
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string JsonText(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

nlohmann::ordered_json JsonOf(const common::v2::PersistentCacheTask& task) {
  const auto time = [](bool present, const google::protobuf::Timestamp& when) {
    return present ? nlohmann::ordered_json(
                         std::string(absl::FormatTime(absl::RFC3339_sec, TimeOf(when), absl::UTCTimeZone())))
                   : nlohmann::ordered_json();
  };
  nlohmann::ordered_json out;
  out["id"] = task.id();
  out["state"] = task.state();
  out["content_length"] = task.content_length();
  out["piece_length"] = task.piece_length();
  out["piece_count"] = task.piece_count();
  out["persistent_replica_count"] = task.persistent_replica_count();
  out["current_persistent_replica_count"] = task.current_persistent_replica_count();
  out["current_replica_count"] = task.current_replica_count();
  out["tag"] = task.tag();
  out["application"] = task.application();
  out["ttl_seconds"] = task.ttl().seconds();
  out["created_at"] = time(task.has_created_at(), task.created_at());
  out["updated_at"] = time(task.has_updated_at(), task.updated_at());
  return out;
}

wire::UploadPersistentCacheTaskRequest ImportRequest(const DfcacheOptions& options) {
  wire::UploadPersistentCacheTaskRequest request;
  request.set_path(options.path);
  if (options.content_for_calculating_task_id) {
    request.set_content_for_calculating_task_id(*options.content_for_calculating_task_id);
  }
  request.set_persistent_replica_count(options.persistent_replica_count);
  if (options.tag_given) request.set_tag(options.tag);
  if (options.application_given) request.set_application(options.application);
  if (options.piece_length) request.set_piece_length(*options.piece_length);
  SetDuration(options.ttl, request.mutable_ttl());
  SetDuration(options.timeout, request.mutable_timeout());
  return request;
}

const char* MethodText(ext::v1::ImportMethod method) {
  switch (method) {
    case ext::v1::IMPORT_METHOD_COPY:
      return "copy";
    case ext::v1::IMPORT_METHOD_REFLINK:
      return "reflink";
    case ext::v1::IMPORT_METHOD_HARD_LINK:
      return "hard_link";
    default:
      return "none";
  }
}

// Follows one import: first the file is read to name it, unless the caller has, then it is stored.
class ImportFollower {
 public:
  explicit ImportFollower(const DfcacheOptions& options)
      : options_(options),
        bar_(options.path, options.json || options.no_progress ? ProgressStyle::kNone : ProgressStyleOfTerminal()) {}

  absl::Status OnMessage(std::string_view bytes) {
    ext::v1::ImportPersistentCacheTaskResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::InternalError("dfdaemon sent a message that does not parse");
    }
    if (response.has_finished()) finished_ = std::move(*response.mutable_finished());
    if (response.has_progress()) OnProgress(response.progress());
    return absl::OkStatus();
  }
  void End() { bar_.End(); }
  // What the import came to; null when dfdaemon has not said so.
  const ext::v1::ImportPersistentCacheTaskResponse::Finished* finished() const {
    return finished_ ? &*finished_ : nullptr;
  }

 private:
  void OnProgress(const ext::v1::ImportPersistentCacheTaskResponse::Progress& progress) {
    const bool named_by_content = !options_.content_for_calculating_task_id;
    const bool naming = named_by_content && progress.named_bytes() < progress.content_length();
    bar_.SetTotal(progress.content_length() * (named_by_content ? 2 : 1));
    bar_.SetNote(naming ? "naming" : "storing");
    const uint64_t done = progress.named_bytes() + progress.stored_bytes();
    if (done > done_) bar_.Advance(done - done_);
    done_ = std::max(done_, done);
  }

  const DfcacheOptions& options_;
  ProgressBar bar_;
  uint64_t done_ = 0;
  std::optional<ext::v1::ImportPersistentCacheTaskResponse::Finished> finished_;
};

// By the call that every dfdaemon has.
absl::Status PlainImport(const DfcacheOptions& options, rpc::UnixClient& client,
                         common::v2::PersistentCacheTask* task) {
  if (options.hard_link) {
    return absl::UnimplementedError("this dfdaemon cannot import by a hard link: leave --hard-link away");
  }
  return CallUnary(client, DF_DOWNLOAD_SERVICE "UploadPersistentCacheTask", ImportRequest(options), task,
                   absl::ToChronoNanoseconds(options.timeout));
}

int Import(const DfcacheOptions& options, rpc::UnixClient& client) {
  ext::v1::ImportPersistentCacheTaskRequest request;
  *request.mutable_upload() = ImportRequest(options);
  request.set_hard_link(options.hard_link);
  ImportFollower followed(options);
  absl::Status local;
  absl::Status called = client.Call(
      kImportTask, request.SerializeAsString(),
      [&](std::string_view message) { return local = followed.OnMessage(message); },
      Clock::now() + absl::ToChronoNanoseconds(options.timeout));
  followed.End();
  if (!local.ok()) return Fail(options, "Importing", local, /*local=*/true);
  common::v2::PersistentCacheTask task;
  std::string method;
  if (absl::IsUnimplemented(called)) {
    called = PlainImport(options, client, &task);
  } else if (called.ok() && followed.finished() == nullptr) {
    return Fail(options, "Importing", absl::InternalError("unexpected response"), /*local=*/true);
  } else if (called.ok()) {
    task = followed.finished()->task();
    method = MethodText(followed.finished()->method());
  }
  if (!called.ok()) return Fail(options, "Importing", called);
  if (options.json) {
    nlohmann::ordered_json json = JsonOf(task);
    if (!method.empty()) json["method"] = method;
    std::cout << JsonText(json);
    return 0;
  }
  const bool drawn = !options.no_progress && ProgressStyleOfTerminal() != ProgressStyle::kNone;
  if (drawn) std::cerr << "\xE2\xA3\xB7 Done: " << task.id() << "\n";
  // Where the original tells a terminal only, scripts may read it, too.
  if (!drawn || ::isatty(STDOUT_FILENO) == 0) std::cout << "Done: " << task.id() << "\n";
  return 0;
}

// Follows one export: tells its progress and, in transfer mode, writes the content.
class Export {
 public:
  explicit Export(const DfcacheOptions& options)
      : options_(options),
        bar_(options.task_id, options.json || options.no_progress ? ProgressStyle::kNone : ProgressStyleOfTerminal()) {}

  absl::Status OnMessage(std::string_view bytes) {
    wire::DownloadPersistentCacheTaskResponse response;
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return absl::InternalError("dfdaemon sent a message that does not parse");
    }
    if (response.has_download_persistent_cache_task_started_response()) {
      return OnStarted(response.download_persistent_cache_task_started_response().content_length());
    }
    if (response.has_download_piece_finished_response()) {
      return OnPiece(response.download_piece_finished_response().piece());
    }
    return absl::OkStatus();
  }

  // The call has ended well: the output must be whole.
  absl::Status Finish() {
    bar_.End();
    if (!started_) return absl::InternalError("unexpected response");
    if (received_ != length_) return absl::DataLossError("unknown download incomplete");
    if (file_) {
      std::optional<Digest> digest;
      if (!options_.digest.empty()) {
        DF_ASSIGN_OR_RETURN(digest, Digest::Parse(options_.digest));
      }
      DF_RETURN_IF_ERROR(file_->Publish(digest, options_.overwrite));
    }
    if (options_.json) {
      nlohmann::ordered_json json;
      json["id"] = options_.task_id;
      json["output"] = options_.output;
      json["bytes"] = length_;
      json["bytes_of_this_host"] = local_;
      std::cout << JsonText(json);
    }
    return absl::OkStatus();
  }
  void End() { bar_.End(); }

 private:
  absl::Status OnStarted(uint64_t length) {
    started_ = true;
    length_ = length;
    bar_.SetTotal(length);
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!file_) {
      DF_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(options_.output));
      file_.emplace(std::move(file));
    }
    return file_->SetWindow({.offset = 0, .length = length});
  }

  absl::Status OnPiece(const common::v2::Piece& piece) {
    received_ += piece.length();
    if (piece.traffic_type() == common::v2::LOCAL_PEER) local_ += piece.length();
    bar_.Advance(piece.length());
    if (!options_.transfer_from_dfdaemon) return absl::OkStatus();
    if (!file_) return absl::InternalError("unexpected response");
    if (piece.content().size() != piece.length()) {
      return absl::DataLossError(
          StrCat("piece ", piece.number(), " came with ", piece.content().size(), " of ", piece.length(), " bytes"));
    }
    return file_->Write(piece.offset(), piece.content());
  }

  const DfcacheOptions& options_;
  ProgressBar bar_;
  bool started_ = false;
  uint64_t length_ = 0;
  uint64_t received_ = 0;
  uint64_t local_ = 0;
  std::optional<OutputFile> file_;
};

int RunExport(const DfcacheOptions& options, rpc::UnixClient& client) {
  wire::DownloadPersistentCacheTaskRequest request;
  request.set_task_id(options.task_id);
  request.set_persistent(false);
  // Set also when empty, as the original does.
  request.set_tag(options.tag);
  request.set_application(options.application);
  SetDuration(options.timeout, request.mutable_timeout());
  request.set_force_hard_link(options.force_hard_link);
  request.set_overwrite(options.overwrite);
  if (!options.digest.empty()) request.set_digest(options.digest);
  if (options.transfer_from_dfdaemon) {
    request.set_need_piece_content(true);
  } else {
    request.set_output_path(options.output);
  }
  Export followed(options);
  absl::Status local;
  const absl::Status called = client.Call(
      DF_DOWNLOAD_SERVICE "DownloadPersistentCacheTask", request.SerializeAsString(),
      [&](std::string_view message) { return local = followed.OnMessage(message); },
      Clock::now() + absl::ToChronoNanoseconds(options.timeout));
  if (called.ok()) local = followed.Finish();
  followed.End();
  if (!local.ok()) return Fail(options, "Exporting", local, /*local=*/true);
  if (!called.ok()) return Fail(options, "Exporting", called);
  return 0;
}

int Stat(const DfcacheOptions& options, rpc::UnixClient& client) {
  wire::StatPersistentCacheTaskRequest request;
  request.set_task_id(options.task_id);
  common::v2::PersistentCacheTask task;
  const absl::Status called = CallUnary(client, DF_DOWNLOAD_SERVICE "StatPersistentCacheTask", request, &task,
                                        absl::ToChronoNanoseconds(options.timeout));
  if (!called.ok()) return Fail(options, "Stating", called);
  if (options.json) {
    std::cout << JsonText(JsonOf(task));
    return 0;
  }
  if (!task.has_ttl()) return Fail(options, "Stating", absl::InternalError("invalid parameter"), /*local=*/true);
  Table table(
      {"ID", "STATE", "CONTENT LENGTH", "PIECE LENGTH", "PERSISTENT REPLICA COUNT", "TTL", "CREATED", "UPDATED"});
  const auto time = [](bool present, const google::protobuf::Timestamp& when) {
    return present ? LocalTimeText(TimeOf(when)) : std::string();
  };
  table.AddRow({task.id(), task.state(), ByteText(task.content_length()), ByteText(task.piece_length()),
                StrCat(task.persistent_replica_count()), DurationText(absl::Seconds(task.ttl().seconds())),
                time(task.has_created_at(), task.created_at()), time(task.has_updated_at(), task.updated_at())});
  std::cout << table.ToString();
  if (task.current_persistent_replica_count() < task.persistent_replica_count()) {
    std::cout << "\n"
              << task.current_persistent_replica_count() << " of " << task.persistent_replica_count()
              << " persistent replicas exist; the scheduler makes the others as hosts have room\n";
  }
  return 0;
}

int Remove(const DfcacheOptions& options, rpc::UnixClient& client) {
  ext::v1::DeletePersistentCacheTaskRequest request;
  request.set_task_id(options.task_id);
  google::protobuf::Empty empty;
  const absl::Status called =
      CallUnary(client, kDeleteTask, request, &empty, absl::ToChronoNanoseconds(options.timeout));
  if (!called.ok()) return Fail(options, "Removing", called);
  if (options.json) {
    nlohmann::ordered_json json;
    json["id"] = options.task_id;
    json["removed"] = true;
    std::cout << JsonText(json);
  } else {
    std::cout << "Removed: " << options.task_id << "\n";
  }
  return 0;
}

int List(const DfcacheOptions& options) {
  DfctlOptions listed;
  listed.endpoint = options.endpoint;
  listed.json = options.json;
  return ListPersistentCacheTasks(listed);
}

}  // namespace

int RunDfcache(std::vector<std::string> arguments) {
  ParsedDfcacheOptions parsed = ParseDfcacheOptions(std::move(arguments));
  if (parsed.exit_code) return *parsed.exit_code;
  DfcacheOptions& options = parsed.options;
  if (const absl::Status valid = ValidateDfcacheOptions(options); !valid.ok()) {
    PrintReport(options, ValidationReport(StrCat("validate failed: ", valid.message()), Colored(options)));
    return 1;
  }
  if (options.command == DfcacheCommand::kList) return List(options);
  const auto client = Connect(options);
  if (client == nullptr) return 1;
  switch (options.command) {
    case DfcacheCommand::kImport:
      return Import(options, *client);
    case DfcacheCommand::kExport:
      return RunExport(options, *client);
    case DfcacheCommand::kStat:
      return Stat(options, *client);
    case DfcacheCommand::kRemove:
      return Remove(options, *client);
    case DfcacheCommand::kList:
      break;
  }
  return 1;
}

}  // namespace dragonfly::cli
