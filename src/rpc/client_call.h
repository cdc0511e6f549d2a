// SPDX-License-Identifier: Apache-2.0
// gRPC client calls as coroutines over the callback API. The reactors run on gRPC's threads; the coroutines that wait
// resume on their own executor. Only .cc files include this (it pulls in grpc++).
//
// Lifetimes: what gRPC writes into is shared between the caller and the call, so either may go first. Executors are
// used only while a coroutine waits on them.
#pragma once

#include "rpc/bidi_stream.h"
#include "rpc/client_stream.h"
#include "rpc/server_stream.h"
#include "rpc/unary_call.h"
