// SPDX-License-Identifier: Apache-2.0
// A parent that announces and answers what a test tells it.
#pragma once

#include <grpcpp/server_builder.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/digest.h"
#include "base/piece.h"
#include "daemon/scheduler_link.h"
#include "dfdaemon/v2/dfdaemon.grpc.pb.h"
#include "rpc/given_pieces.h"

namespace dragonfly::daemon {

class LyingParent final : public dfdaemon::v2::DfdaemonUpload::Service {
 public:
  struct Lies {
    Lies() = default;
    int tcp_port = 0;  // of the piece server that each announcement names; 0: none
    // Changes each announcement.
    std::function<void(dfdaemon::v2::SyncPiecesResponse&)> news;
    // Changes each answer of DownloadPiece; a status that is not OK is the answer.
    std::function<grpc::Status(dfdaemon::v2::DownloadPieceResponse&)> piece;
    bool silent_news = false;  // no message, no end
    bool keeps_news_open = false;
    // After the announcements: these are given to others, no more will come, and the stream stays open.
    std::optional<std::vector<PieceNumber>> given;
    bool silent_pieces = false;  // DownloadPiece does not answer
    uint32_t first_piece = 0;    // announced and served: [first, last]
    uint32_t last_piece = UINT32_MAX;
  };

  LyingParent(std::string name, std::string content, uint64_t piece_length, Lies lies)
      : name_(std::move(name)),
        content_(std::move(content)),
        layout_(*PieceLayout::Make(content_.size(), piece_length)),
        lies_(std::move(lies)) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.SetMaxSendMessageSize(-1);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~LyingParent() override {
    stop_.Notify();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  CandidateParent AsParent() const {
    CandidateParent parent;
    parent.peer_id = name_;
    parent.host_id = "127.0.0.1-" + name_;
    parent.ip = "127.0.0.1";
    parent.port = port_;
    return parent;
  }
  int pieces_asked() const { return pieces_asked_; }

  grpc::Status SyncPieces(grpc::ServerContext* context, const dfdaemon::v2::SyncPiecesRequest* request,
                          grpc::ServerWriter<dfdaemon::v2::SyncPiecesResponse>* writer) override {
    if (lies_.silent_news) return WaitForEnd(context);
    for (const uint32_t number : request->interested_piece_numbers()) {
      if (number < lies_.first_piece || number > lies_.last_piece) continue;
      const ByteRange range = layout_.RangeOf(PieceNumber(number));
      dfdaemon::v2::SyncPiecesResponse response;
      response.set_number(number);
      response.set_offset(range.offset);
      response.set_length(range.length);
      if (lies_.tcp_port != 0) {
        response.set_ip("127.0.0.1");
        response.set_tcp_port(lies_.tcp_port);
      }
      if (lies_.news) lies_.news(response);
      writer->Write(response);
    }
    if (lies_.given) {
      dfdaemon::v2::SyncPiecesResponse given;
      rpc::SetGiven(*lies_.given, given);
      writer->Write(given);
      dfdaemon::v2::SyncPiecesResponse all_told;
      rpc::SetAllTold(all_told);
      writer->Write(all_told);
      return WaitForEnd(context);
    }
    return lies_.keeps_news_open ? WaitForEnd(context) : grpc::Status::OK;
  }

  grpc::Status DownloadPiece(grpc::ServerContext* context, const dfdaemon::v2::DownloadPieceRequest* request,
                             dfdaemon::v2::DownloadPieceResponse* response) override {
    ++pieces_asked_;
    if (lies_.silent_pieces) return WaitForEnd(context);
    const PieceNumber number(request->piece_number());
    const ByteRange range = layout_.RangeOf(number);
    common::v2::Piece& piece = *response->mutable_piece();
    piece.set_number(number.value());
    piece.set_offset(range.offset);
    piece.set_length(range.length);
    piece.set_content(content_.substr(range.offset, range.length));
    piece.set_digest(FormatCrc32Digest(Crc32(std::string_view(piece.content()))));
    response->set_digest(PieceMetadataDigest(number, range, piece.digest()));
    return lies_.piece ? lies_.piece(*response) : grpc::Status::OK;
  }

 private:
  grpc::Status WaitForEnd(grpc::ServerContext* context) {
    while (!context->IsCancelled() && !stop_.WaitForNotificationWithTimeout(absl::Milliseconds(5))) {
    }
    return grpc::Status::CANCELLED;
  }

  const std::string name_;
  const std::string content_;
  const PieceLayout layout_;
  const Lies lies_;
  int port_ = 0;
  std::atomic<int> pieces_asked_ = 0;
  absl::Notification stop_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dragonfly::daemon
