// SPDX-License-Identifier: Apache-2.0
// Settings of jemalloc, which reads this variable at the start; MALLOC_CONF in the environment comes on top.
//
// prof: one allocation in 512 KiB is remembered with its stack, for GET /debug/pprof/heap
// (src/telemetry/heap_profile.h).
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "prof:true,prof_active:true,lg_prof_sample:19";
}
