// SPDX-License-Identifier: Apache-2.0
// What ngtcp2 asks and tells in the middle of its work, handed to the QuicConnection that is its user data.
#pragma once

#include <ngtcp2/ngtcp2.h>

#include <cstddef>
#include <cstdint>

namespace dragonfly::vortex {

struct QuicCallbacks {
  static ngtcp2_callbacks ForServer();
  static ngtcp2_callbacks ForClient();

 private:
  static ngtcp2_callbacks Common();
  static int HandshakeCompleted(ngtcp2_conn* conn, void* connection);
  static int ReceiveStreamData(ngtcp2_conn* conn, uint32_t flags, int64_t stream_id, uint64_t offset,
                               const uint8_t* data, size_t size, void* connection, void* stream);
  static int StreamOpened(ngtcp2_conn* conn, int64_t stream_id, void* connection);
  static int StreamClosed(ngtcp2_conn* conn, uint32_t flags, int64_t stream_id, uint64_t code, void* connection,
                          void* stream);
  static int StreamReset(ngtcp2_conn* conn, int64_t stream_id, uint64_t final_size, uint64_t code, void* connection,
                         void* stream);
  static int Acknowledged(ngtcp2_conn* conn, int64_t stream_id, uint64_t offset, uint64_t size, void* connection,
                          void* stream);
  static int WindowOpened(ngtcp2_conn* conn, int64_t stream_id, uint64_t max, void* connection, void* stream);
  static int StreamsAllowed(ngtcp2_conn* conn, uint64_t max, void* connection);
  static int MakeId(ngtcp2_conn* conn, ngtcp2_cid* id, uint8_t* token, size_t size, void* connection);
  static int RetireId(ngtcp2_conn* conn, const ngtcp2_cid* id, void* connection);
};

}  // namespace dragonfly::vortex
