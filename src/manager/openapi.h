// SPDX-License-Identifier: Apache-2.0
// The description of the REST API for tools: OpenAPI 3.1.0 (https://spec.openapis.org/oas/v3.1.0), made from the table
// of routes and that of the resources, so that it cannot differ from what is served.
#pragma once

#include <string>
#include <vector>

#include "manager/rest_api.h"

namespace dragonfly::manager {

// The document as JSON.
std::string MakeOpenApiDocument(const std::vector<Route>& routes);

// A page for people: every operation of the routes with who may call it. HTML without scripts.
std::string MakeOpenApiPage(const std::vector<Route>& routes);

}  // namespace dragonfly::manager
