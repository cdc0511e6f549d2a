// SPDX-License-Identifier: Apache-2.0
// The origins behind hf and modelscope URLs: model hubs, which keep files in repositories with revisions.
//
//   hf://[models/|datasets/|spaces/]<owner>/<repository>[/<path>]
//   modelscope://[models/|datasets/]<owner>/<repository>[/<path>]
//
// Files are read over HTTP from the hub's resolve address, which may redirect to another host; the token is not sent
// there. Source of the forms: client v1.5.1, dragonfly-client-backend/src/{hugging_face,model_scope}.rs; of the listing
// of Hugging Face: its "Hub API Endpoints", tree.
#pragma once

#include <memory>

#include "source/http_source.h"
#include "source/source.h"

namespace dragonfly::source {

// OriginRequest::access.hugging_face says token, revision ("main" when empty) and base URL (https://huggingface.co).
// `http` must outlive the source.
std::unique_ptr<Source> MakeHuggingFaceSource(HttpSource& http);

// OriginRequest::access.model_scope says token, revision ("master" when empty) and base URL (https://modelscope.cn).
std::unique_ptr<Source> MakeModelScopeSource(HttpSource& http);

}  // namespace dragonfly::source
