// SPDX-License-Identifier: Apache-2.0
// Handlers of the routes that are more than rows of one table.
#pragma once

#include "manager/rest_call.h"

namespace dragonfly::manager {

// Users and their sessions.
boost::asio::awaitable<RestAnswer> SignIn(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> SignOut(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> SignUp(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> RefreshToken(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> ResetPassword(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> ListUserRoles(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> AddUserRole(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> DeleteUserRole(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> CreateAccessToken(RestContext& context, RestCall call);

// A session of the user: 200 with the token, and the cookie; the latter alone, as a header's value.
http::Response TokenResponse(const RestContext& context, const RestCall& call, int64_t user_id);
std::string SessionCookie(const RestContext& context, const RestCall& call, int64_t user_id);

// Sign-in by a provider: out to it, and back.
boost::asio::awaitable<RestAnswer> BeginProviderSignIn(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> EndProviderSignIn(RestContext& context, RestCall call);

// Gives the user the role; false when they have it.
absl::StatusOr<bool> AddRoleRow(db::Connection& connection, const std::string& user, const std::string& role);

// Roles.
boost::asio::awaitable<RestAnswer> CreateRole(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> ListRoles(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> GetRole(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> DeleteRole(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> AddPermission(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> DeletePermission(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> ListPermissions(RestContext& context, RestCall call);

// A cluster: a scheduler cluster with its seed peer cluster.
boost::asio::awaitable<RestAnswer> CreateCluster(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> ListClusters(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> GetCluster(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> PatchCluster(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> DeleteCluster(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> MoveScheduler(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> MoveSeedPeer(RestContext& context, RestCall call);
boost::asio::awaitable<RestAnswer> LinkSchedulerCluster(RestContext& context, RestCall call);

boost::asio::awaitable<RestAnswer> ListSchedulerFeatures(RestContext& context, RestCall call);

// Who calls. Errors: UNAUTHENTICATED, PERMISSION_DENIED; the latter for a token that is known but may not: its code is
// 403 in the API.
boost::asio::awaitable<absl::StatusOr<Caller>> Authenticate(RestContext& context, const RestCall& call);
absl::Status Authorize(const Caller& caller, const std::string& object, const std::string& action);
// `scope`: "job" or "cluster".
boost::asio::awaitable<absl::StatusOr<Caller>> AuthenticateAccessToken(RestContext& context, const RestCall& call,
                                                                       const std::string& scope);

}  // namespace dragonfly::manager
