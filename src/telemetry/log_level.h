// SPDX-License-Identifier: Apache-2.0
// The level of the program's log while it runs. Apart from log.h, which everybody includes.
#pragma once

#include "telemetry/log.h"

namespace dragonfly::log {

// Goes from debug over info and warn to error, and from there and from any other to debug; returns the new level. Any
// thread.
Level NextLevel();

}  // namespace dragonfly::log
