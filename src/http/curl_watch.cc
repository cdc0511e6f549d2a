// SPDX-License-Identifier: Apache-2.0
// What libcurl wants to have watched: its sockets and its timer.
#include "http/curl_client_internal.h"

namespace dragonfly::http {

namespace asio = boost::asio;

int CurlClient::State::OnSocket(CURL* /*easy*/, curl_socket_t fd, int what, void* user, void* /*socket*/) {
  State& state = *static_cast<State*>(user);
  auto found = state.sockets.find(fd);
  if (what == CURL_POLL_REMOVE) {
    if (found == state.sockets.end()) return 0;
    const std::shared_ptr<Socket> socket = std::move(found->second);
    state.sockets.erase(found);
    socket->removed = true;
    socket->descriptor.release();  // libcurl closes or keeps it
    return 0;
  }
  if (found == state.sockets.end()) {
    auto socket = std::make_shared<Socket>(state.io);
    boost::system::error_code error;
    socket->descriptor.assign(fd, error);
    // Not watched (the kernel is out of memory for it): the transfer ends by its stall timeout.
    if (error) return 0;
    found = state.sockets.emplace(fd, std::move(socket)).first;
  }
  found->second->wanted = what;
  state.Watch(found->second);
  return 0;
}

void CurlClient::State::Watch(const std::shared_ptr<Socket>& socket) {
  if ((socket->wanted & CURL_POLL_IN) != 0 && !socket->reading) {
    socket->reading = true;
    socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                  [self = weak_from_this(), socket](const boost::system::error_code& error) {
                                    socket->reading = false;
                                    if (auto state = self.lock()) state->OnReady(socket, CURL_CSELECT_IN, error);
                                  });
  }
  if ((socket->wanted & CURL_POLL_OUT) != 0 && !socket->writing) {
    socket->writing = true;
    socket->descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                  [self = weak_from_this(), socket](const boost::system::error_code& error) {
                                    socket->writing = false;
                                    if (auto state = self.lock()) state->OnReady(socket, CURL_CSELECT_OUT, error);
                                  });
  }
}

void CurlClient::State::OnReady(const std::shared_ptr<Socket>& socket, int event,
                                const boost::system::error_code& error) {
  if (socket->removed || error == asio::error::operation_aborted) return;
  const int poll_bit = event == CURL_CSELECT_IN ? CURL_POLL_IN : CURL_POLL_OUT;
  if ((socket->wanted & poll_bit) == 0) return;  // not wanted any more; OnSocket() starts the next wait
  Act(socket->descriptor.native_handle(), error ? CURL_CSELECT_ERR : event);
  if (!socket->removed) Watch(socket);
}

int CurlClient::State::OnTimer(CURLM* /*multi*/, long milliseconds, void* user) {
  State& state = *static_cast<State*>(user);
  if (milliseconds < 0) {
    state.timer.cancel();
    return 0;
  }
  state.timer.expires_after(std::chrono::milliseconds(milliseconds));
  state.timer.async_wait([self = state.weak_from_this()](const boost::system::error_code& error) {
    if (error) return;
    if (auto locked = self.lock()) locked->Act(CURL_SOCKET_TIMEOUT, 0);
  });
  return 0;
}

}  // namespace dragonfly::http
