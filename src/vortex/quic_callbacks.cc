// SPDX-License-Identifier: Apache-2.0
#include "vortex/quic_callbacks.h"

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <cstdlib>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "base/text.h"
#include "vortex/quic_connection.h"

namespace dragonfly::vortex {

namespace {

QuicConnection& Connection(void* user_data) { return *static_cast<QuicConnection*>(user_data); }
QuicStream* Stream(void* user_data) { return static_cast<QuicStream*>(user_data); }

void FillRandom(uint8_t* out, size_t size, const ngtcp2_rand_ctx* /*context*/) {
  // Without random numbers there is no safe way on.
  if (gnutls_rnd(GNUTLS_RND_NONCE, out, size) != 0) std::abort();
}

}  // namespace

ngtcp2_callbacks QuicCallbacks::Common() {
  ngtcp2_callbacks callbacks{};
  callbacks.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb;
  callbacks.encrypt = ngtcp2_crypto_encrypt_cb;
  callbacks.decrypt = ngtcp2_crypto_decrypt_cb;
  callbacks.hp_mask = ngtcp2_crypto_hp_mask_cb;
  callbacks.update_key = ngtcp2_crypto_update_key_cb;
  callbacks.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  callbacks.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  callbacks.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
  callbacks.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  callbacks.rand = FillRandom;
  callbacks.handshake_completed = HandshakeCompleted;
  callbacks.recv_stream_data = ReceiveStreamData;
  callbacks.acked_stream_data_offset = Acknowledged;
  callbacks.stream_close = StreamClosed;
  callbacks.stream_reset = StreamReset;
  callbacks.extend_max_stream_data = WindowOpened;
  callbacks.get_new_connection_id = MakeId;
  callbacks.remove_connection_id = RetireId;
  return callbacks;
}

ngtcp2_callbacks QuicCallbacks::ForServer() {
  ngtcp2_callbacks callbacks = Common();
  callbacks.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  callbacks.stream_open = StreamOpened;
  return callbacks;
}

ngtcp2_callbacks QuicCallbacks::ForClient() {
  ngtcp2_callbacks callbacks = Common();
  callbacks.client_initial = ngtcp2_crypto_client_initial_cb;
  callbacks.recv_retry = ngtcp2_crypto_recv_retry_cb;
  callbacks.extend_max_local_streams_bidi = StreamsAllowed;
  return callbacks;
}

int QuicCallbacks::HandshakeCompleted(ngtcp2_conn* /*conn*/, void* connection) {
  Connection(connection).HandshakeCompleted();
  return 0;
}

int QuicCallbacks::ReceiveStreamData(ngtcp2_conn* /*conn*/, uint32_t flags, int64_t /*stream_id*/, uint64_t /*offset*/,
                                     const uint8_t* data, size_t size, void* /*connection*/, void* stream) {
  if (stream == nullptr) return 0;
  Stream(stream)->Deliver({reinterpret_cast<const std::byte*>(data), size}, (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
  return 0;
}

int QuicCallbacks::StreamOpened(ngtcp2_conn* conn, int64_t stream_id, void* connection) {
  const std::shared_ptr<QuicStream> stream = Connection(connection).AddStream(stream_id);
  if (ngtcp2_conn_set_stream_user_data(conn, stream_id, stream.get()) != 0) return NGTCP2_ERR_CALLBACK_FAILURE;
  Connection(connection).parts_.owner.Opened(Connection(connection), stream);
  return 0;
}

int QuicCallbacks::StreamClosed(ngtcp2_conn* /*conn*/, uint32_t /*flags*/, int64_t stream_id, uint64_t /*code*/,
                                void* connection, void* /*stream*/) {
  Connection(connection).RemoveStream(stream_id);
  return 0;
}

int QuicCallbacks::StreamReset(ngtcp2_conn* /*conn*/, int64_t /*stream_id*/, uint64_t /*final_size*/, uint64_t code,
                               void* /*connection*/, void* stream) {
  if (stream == nullptr || Stream(stream)->reader_ == nullptr) return 0;
  Stream(stream)->reader_->Broken(absl::UnavailableError(StrCat("the peer reset the stream: code ", code)));
  return 0;
}

int QuicCallbacks::Acknowledged(ngtcp2_conn* /*conn*/, int64_t /*stream_id*/, uint64_t offset, uint64_t size,
                                void* /*connection*/, void* stream) {
  if (stream != nullptr) Stream(stream)->Acknowledged(offset + size);
  return 0;
}

int QuicCallbacks::WindowOpened(ngtcp2_conn* /*conn*/, int64_t /*stream_id*/, uint64_t /*max*/, void* connection,
                                void* stream) {
  if (stream == nullptr) return 0;
  Stream(stream)->withheld_ = false;
  Connection(connection).WantToSend(*Stream(stream));
  return 0;
}

int QuicCallbacks::StreamsAllowed(ngtcp2_conn* /*conn*/, uint64_t /*max*/, void* connection) {
  Connection(connection).changed_.Notify();
  return 0;
}

int QuicCallbacks::MakeId(ngtcp2_conn* /*conn*/, ngtcp2_cid* id, uint8_t* token, size_t size, void* connection) {
  id->datalen = size;
  Connection(connection).parts_.owner.MakeId(Connection(connection), *id, token);
  return 0;
}

int QuicCallbacks::RetireId(ngtcp2_conn* /*conn*/, const ngtcp2_cid* id, void* connection) {
  Connection(connection).parts_.owner.RetireId(Connection(connection), *id);
  return 0;
}

}  // namespace dragonfly::vortex
