// SPDX-License-Identifier: Apache-2.0
// What comes in of an answer, and its way to the sink.
#include <algorithm>
#include <cstring>

#include "http/curl_client_internal.h"
#include "http/status_text.h"

namespace dragonfly::http {

namespace {

// So many transfers gather what one action brings; others hand it on as it comes.
constexpr size_t kGatheringMax = 2;

// "HTTP/1.1 404 Not Found"
void ParseStatusLine(std::string_view line, CurlResponse& response) {
  const size_t code_at = line.find(' ');
  if (code_at == line.npos) return;
  const std::string_view rest = TrimSpace(line.substr(code_at));
  response.status = ParseDecimal<int>(rest.substr(0, 3)).value_or(0);
  const std::string_view reason = rest.size() > 3 ? TrimSpace(rest.substr(3)) : "";
  response.status_text = StatusText(response.status, reason);
}

}  // namespace

std::optional<std::string> CurlResponse::Find(std::string_view name) const {
  for (const auto& [key, value] : header) {
    if (key == name) return value;
  }
  return std::nullopt;
}

size_t CurlClient::State::OnHeader(char* data, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  const size_t total = size * count;
  transfer.last_byte_at = Clock::now();
  transfer.header_bytes += total;
  if (transfer.header_bytes > kAnswerHeaderMax) {
    transfer.Fail(
        absl::ResourceExhaustedError(StrCat("the answer's headers are larger than ", kAnswerHeaderMax, " bytes")));
    return 0;
  }
  if (transfer.header_done) return total;  // trailers of a chunked body

  CurlResponse& response = transfer.response;
  const bool folded = total > 0 && (data[0] == ' ' || data[0] == '\t');
  const std::string_view line = TrimSpace(std::string_view(data, total));
  if (line.starts_with("HTTP/")) {  // the first line, or the next one after an informational answer
    response = CurlResponse();
    ParseStatusLine(line, response);
  } else if (!line.empty() && folded) {
    if (!response.header.empty()) response.header.back().second.append(" ").append(line);
  } else if (!line.empty()) {
    const size_t colon = line.find(':');
    if (colon == line.npos) return total;
    response.header.emplace_back(ToLowerAscii(TrimSpace(line.substr(0, colon))), TrimSpace(line.substr(colon + 1)));
  } else if (response.status >= 200) {
    transfer.header_done = true;
    const std::optional<std::string> location = response.Find("location");
    if (location.has_value()) response.location = ResolveLocation(transfer.request.url, *location);
    absl::Status taken = transfer.sink.OnHeader(response);
    if (!taken.ok()) {
      transfer.Fail(std::move(taken));
      return 0;
    }
  }
  return total;
}

size_t CurlClient::State::OnBody(char* data, size_t size, size_t count, void* user) {
  Transfer& transfer = *static_cast<Transfer*>(user);
  State& state = transfer.state;
  const size_t total = size * count;
  if (!transfer.failure.ok()) return 0;
  // Only TLS brings more than one read in an action, and so can fill the block.
  if (transfer.filled + total > runtime::kBlockSize) {
    state.Flush(transfer);
    if (!transfer.failure.ok()) return 0;
  }
  if (transfer.block.data() == nullptr) {
    // One action may bring bytes of every transfer. What comes behind the begin of a pause is kept all the same.
    if (state.touched.size() >= kGatheringMax && !transfer.paused) {
      state.HandOn(transfer, std::as_bytes(std::span(data, total)));
      return transfer.failure.ok() ? total : 0;
    }
    transfer.block = runtime::Block::Take();
  }
  std::memcpy(transfer.block.data() + transfer.filled, data, total);
  transfer.filled += total;
  if (!transfer.touched) {
    transfer.touched = true;
    state.touched.push_back(&transfer);
  }
  return total;
}

// Hands the collected bytes to the sink.
void CurlClient::State::Flush(Transfer& transfer) {
  if (transfer.filled == 0 || !transfer.failure.ok()) return;
  const size_t size = std::exchange(transfer.filled, 0);
  // The next transfer that reads takes the same block, so that a thousand open transfers do not hold one each.
  const runtime::Block block = std::move(transfer.block);
  HandOn(transfer, block.span().first(size));
}

void CurlClient::State::HandOn(Transfer& transfer, std::span<const std::byte> bytes) {
  transfer.last_byte_at = Clock::now();
  absl::Status taken = transfer.sink.OnBody(bytes);
  if (!taken.ok()) {
    transfer.Fail(std::move(taken));
    return;
  }
  const Clock::duration pause = transfer.sink.PauseFor(bytes.size());
  if (pause <= Clock::duration::zero()) return;
  const TimePoint resume_at = Clock::now() + pause;
  if (transfer.paused) {
    transfer.resume_at = std::max(transfer.resume_at, resume_at);
    return;
  }
  transfer.paused = true;
  transfer.resume_at = resume_at;
  transfer.wake.cancel();
  curl_easy_pause(transfer.easy.get(), CURLPAUSE_RECV);
}

void CurlClient::State::Resume(Transfer& transfer) {
  transfer.paused = false;
  transfer.last_byte_at = Clock::now();
  Flush(transfer);  // what had come before the pause began, which may ask for the next
  if (transfer.paused || transfer.result.has_value() || !transfer.failure.ok()) return;
  acting = true;
  curl_easy_pause(transfer.easy.get(), CURLPAUSE_CONT);
  acting = false;
  AfterAction();
}

}  // namespace dragonfly::http
