// SPDX-License-Identifier: Apache-2.0
// Members by which requests tell how an origin is reached. Internal to src/jobs; only .cc files include this.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "jobs/json.h"

namespace dragonfly::jobs {

// A member that is missing or null leaves the value alone. Errors: INVALID_ARGUMENT naming the member.
absl::Status ReadHeaders(const Json& json, const char* name, std::map<std::string, std::string>& headers);
// A list of base64, which stands for bytes in Go.
absl::Status ReadCertificates(const Json& json, const char* name, std::vector<std::string>& chain);
// An object, kept as its text.
absl::Status ReadObject(const Json& json, const char* name, std::optional<std::string>& text);

// What ReadCertificates() reads; null for none.
Json ShowCertificates(const std::vector<std::string>& chain);
// Sets the member to what ReadObject() has kept, if anything.
void SetObject(Json& json, const char* name, const std::optional<std::string>& text);

}  // namespace dragonfly::jobs
