// SPDX-License-Identifier: Apache-2.0
// The piece protocol between two processes, over TCP or QUIC: our server, and our client on --threads io threads with
// --streams pieces in flight, each checksummed and written to its place. Divide by limit_bench.
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "bench/transfer.h"
#include "runtime/io_threads.h"
#include "vortex/client.h"
#include "vortex/quic_client.h"
#include "vortex/quic_server.h"
#include "vortex/server.h"

namespace asio = boost::asio;
namespace bench = dragonfly::bench;
using namespace dragonfly;

namespace {

TaskId BenchTask() { return TaskId::Parse(std::string(64, 'b')).value(); }

class OneFile final : public vortex::PieceProvider {
 public:
  OneFile(UniqueFd file, PieceLayout layout)
      : file_(std::make_shared<const UniqueFd>(std::move(file))), layout_(layout) {}

  asio::awaitable<absl::StatusOr<vortex::ServedPiece>> Provide(vortex::Tag /*tag*/, vortex::Request request,
                                                               TimePoint /*deadline*/) override {
    if (!layout_.Contains(request.number)) co_return absl::NotFoundError("no such piece");
    vortex::ServedPiece piece;
    piece.file = file_;
    piece.metadata.number = request.number;
    piece.metadata.range = layout_.RangeOf(request.number);
    piece.metadata.digest = "crc32:0";
    co_return piece;
  }
  void Sent(vortex::Tag /*tag*/, const vortex::Request& /*request*/, uint64_t /*sent*/, bool /*complete*/) override {}

 private:
  const std::shared_ptr<const UniqueFd> file_;
  const PieceLayout layout_;
};

class FileSink final : public ByteSink {
 public:
  FileSink(int fd, uint64_t offset) : fd_(fd), offset_(offset) {}
  absl::Status Append(std::span<const std::byte> bytes) override {
    crc_ = Crc32(bytes, crc_);
    if (fd_ >= 0) bench::WriteFully(fd_, bytes, offset_);
    offset_ += bytes.size();
    return absl::OkStatus();
  }

 private:
  const int fd_;
  uint64_t offset_;
  uint32_t crc_ = 0;
};

// Fetches pieces until none is left; several of these share `next`.
template <typename Client>
asio::awaitable<void> FetchPieces(Client& client, uint16_t port, PieceLayout layout, std::atomic<uint32_t>& next,
                                  int target) {
  for (uint32_t n = next++; n < layout.piece_count(); n = next++) {
    const PieceNumber number(n);
    vortex::FetchRequest request;
    request.piece = vortex::Request{BenchTask(), number};
    request.expected = layout.RangeOf(number);
    FileSink sink(target, request.expected.offset);
    const auto metadata = co_await client.Fetch(vortex::Endpoint{"127.0.0.1", port}, std::move(request), sink);
    if (!metadata.ok()) bench::Die(metadata.status().ToString());
  }
}

template <typename Server, typename ServerOptions, typename Client>
void Measure(const bench::TransferOptions& options) {
  const PieceLayout layout = PieceLayout::Make(options.bytes, options.piece_length).value();
  UniqueFd source = bench::MakeSource(options);

  runtime::TokenBucket unlimited(0);
  std::unique_ptr<runtime::IoThreads> io;
  std::unique_ptr<OneFile> provider;
  std::unique_ptr<Server> server;
  bench::Sender sender(
      [&] {
        ServerOptions server_options;
        server_options.ip = "127.0.0.1";
        server_options.port = 0;
        io = std::make_unique<runtime::IoThreads>();
        provider = std::make_unique<OneFile>(std::move(source), layout);
        server = Server::Start(server_options, *io, *provider, unlimited).value();
        return server->port();
      },
      [&] {
        asio::co_spawn(io->At(0), server->Stop(Clock::now()), asio::use_future).get();
        server = nullptr;
        io = nullptr;
      });

  runtime::IoThreads receiving(options.threads);
  std::vector<std::unique_ptr<Client>> clients;
  for (size_t i = 0; i < receiving.size(); ++i) {
    clients.push_back(std::make_unique<Client>(receiving.At(i), unlimited, typename Client::Options()));
  }
  bench::MeasureTransfer("vortex_" + options.transport, options, sender, [&](int target) {
    std::atomic<uint32_t> next = 0;
    std::vector<std::future<void>> fetches;
    for (size_t i = 0; i < options.streams; ++i) {
      const size_t thread = i % receiving.size();
      fetches.push_back(asio::co_spawn(
          receiving.At(thread),
          FetchPieces(*clients[thread], sender.port(), layout, next, options.target == "none" ? -1 : target),
          asio::use_future));
    }
    for (std::future<void>& fetch : fetches) fetch.get();
  });
  // A client dies on its thread.
  for (size_t i = 0; i < receiving.size(); ++i) {
    std::promise<void> ended;
    asio::post(receiving.At(i), [&] {
      clients[i] = nullptr;
      ended.set_value();
    });
    ended.get_future().get();
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::TransferOptions options = bench::ParseTransferOptions(argc, argv);
  options.congestion = "cubic";  // whatever was asked for: the server chooses it
  if (options.transport == "quic") {
    Measure<vortex::QuicServer, vortex::QuicServerOptions, vortex::QuicClient>(options);
  } else {
    Measure<vortex::Server, vortex::ServerOptions, vortex::Client>(options);
  }
  return 0;
}
