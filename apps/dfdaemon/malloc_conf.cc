// SPDX-License-Identifier: Apache-2.0
// Settings of jemalloc, which reads this variable at the start; MALLOC_CONF in the environment comes on top.
//
// prof: one allocation in 512 KiB is remembered with its stack, for GET /debug/pprof/heap
// (src/telemetry/heap_profile.h).
// background_thread, *_decay_ms: what a burst of downloads used goes back to the system within seconds, also when
// nothing is allocated any more.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf =
    "prof:true,prof_active:true,lg_prof_sample:19,background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0";
}
