// SPDX-License-Identifier: Apache-2.0
// The routes of jobs.
#pragma once

#include "manager/rest_call.h"

namespace dragonfly::manager {

boost::asio::awaitable<RestAnswer> CreateJob(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> GetJob(RestContext& context, RestCall call);
// Ends what runs of it, too.
boost::asio::awaitable<RestAnswer> DeleteJob(RestContext& context, RestCall call);

// The preheat adapter of Harbor (goharbor/harbor, src/pkg/p2p/preheat/provider/dragonfly.go).
boost::asio::awaitable<RestAnswer> CreateHarborPreheat(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> GetHarborPreheat(RestContext& context, RestCall call);

// Persistent cache tasks with their replicas, as the schedulers of a cluster know them.
boost::asio::awaitable<RestAnswer> ListPersistentCacheTasks(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> GetPersistentCacheTask(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> DeletePersistentCacheTask(RestContext& context, RestCall call);

}  // namespace dragonfly::manager
