// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dragonfly::rpc {

// Keeps the gRPC library and its callback threads running until the process ends. Without it,
// - the last server or channel to go shuts the library down and waits for its background poller, which may sit in epoll
//   for ten seconds when a peer has stopped reading;
// - the last channel to go stops the callback threads. When that happens in a callback (the context of a call that has
//   ended may hold the last reference), gRPC 1.51 frees the queue that the thread goes on to use.
void KeepLibrary();

}  // namespace dragonfly::rpc
