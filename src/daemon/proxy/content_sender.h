// SPDX-License-Identifier: Apache-2.0
// Answers one request with the content of a task, as its pieces come.
//
//   TaskManager::Download() ── Started ──▶ may the client have it? status and fields
//                           ── PieceReady ─▶ what is there in a row, from the store's file to the socket
//
// Nothing is kept in memory: a client that is slow holds up nobody but its own view of the download.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "daemon/proxy/reply.h"
#include "daemon/task_manager.h"

namespace dragonfly::daemon::proxy {

class ContentSender final : public DownloadObserver {
 public:
  // Returns nullopt when the client may have the content, else the answer that it gets instead.
  using Check = std::function<boost::asio::awaitable<std::optional<Reply>>(const DownloadStarted& started)>;

  // `turn` must outlive it. `if_range`: the value of If-Range; empty without one. `server_ip`: of this host.
  ContentSender(ClientTurn& turn, std::string if_range, std::string server_ip, Check check);

  boost::asio::awaitable<absl::Status> Started(const DownloadStarted& started) override;
  boost::asio::awaitable<absl::Status> PieceReady(const storage::PieceRecord& record) override;
  bool reads_in_order() const override { return true; }
  // After a download that has succeeded. Errors: INTERNAL when bytes are missing.
  boost::asio::awaitable<absl::Status> Finish();

  bool head_sent() const { return head_sent_; }
  // What the client gets instead; set when Download() ended because of it.
  const std::optional<Reply>& refusal() const { return refusal_; }
  // The content is not what If-Range names: the download is to be begun again without the range.
  bool wants_whole() const { return wants_whole_; }
  // Bytes of the body that went out.
  uint64_t sent() const { return sent_; }
  const std::string& task_id() const { return task_id_; }
  const std::string& peer_id() const { return peer_id_; }

 private:
  ResponseHead MakeHead(const DownloadStarted& started);
  boost::asio::awaitable<absl::Status> SendPiece(const storage::PieceRecord& record);

  ClientTurn& turn_;
  const std::string if_range_;
  const std::string server_ip_;
  const Check check_;
  std::shared_ptr<storage::TaskContent> content_;
  storage::PieceBytes held_;        // keeps the content from being removed meanwhile
  std::optional<uint64_t> length_;  // of the whole body
  uint64_t position_ = 0;           // in the file: what is to be sent next
  uint64_t end_ = UINT64_MAX;       // in the file
  uint64_t piece_length_ = 1;
  uint64_t sent_ = 0;
  bool chunked_ = false;
  bool head_sent_ = false;
  bool wants_whole_ = false;
  std::optional<Reply> refusal_;
  std::string task_id_;
  std::string peer_id_;
};

// The fields of `header`, which an origin sent when the content was read, that hold for every client and at any time.
Fields StoredFields(const std::map<std::string, std::string>& header);

}  // namespace dragonfly::daemon::proxy
