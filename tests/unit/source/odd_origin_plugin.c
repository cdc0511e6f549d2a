/* SPDX-License-Identifier: Apache-2.0
 *
 * An origin plugin that does to its host, by the path of the URL, what a plugin may do. The environment variable
 * ODD_ORIGIN says how it refuses to be loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dragonfly/origin_plugin.h"

static int breaks_left = 2;
static int downs_left = 1;

static int odd_stat(void* self, const df_origin_request* request, df_origin_stat* stat, df_origin_error* error) {
  (void)self;
  if (strstr(request->url, "/missing") != NULL) {
    snprintf(error->text, sizeof error->text, "no\nsuch thing");
    return DF_ORIGIN_NOT_FOUND;
  }
  if (strstr(request->url, "/forbidden") != NULL) return DF_ORIGIN_PERMISSION_DENIED;
  if (strstr(request->url, "/crazy") != NULL) return 4711;
  stat->has_length = strstr(request->url, "/unknown") == NULL;
  stat->content_length = 100000;
  stat->accepts_ranges = 1;
  snprintf(stat->etag, sizeof stat->etag, "%s", strstr(request->url, "/badtag") != NULL ? "a \"b" : "v1");
  stat->modified_at = 784111777; /* of RFC 9110 section 5.6.7 */
  return DF_ORIGIN_OK;
}

static const char* header_of(const df_origin_request* request, const char* name) {
  for (size_t i = 0; i < request->header_count; ++i) {
    if (strcmp(request->header[i].name, name) == 0) return request->header[i].value;
  }
  return "";
}

/* Byte i is '0' + i % 10, in writes of ten. */
static int write_digits(const df_origin_sink* sink, uint64_t offset, uint64_t length) {
  while (length > 0) {
    char block[10];
    const size_t size = length < sizeof block ? (size_t)length : sizeof block;
    for (size_t i = 0; i < size; ++i) block[i] = (char)('0' + (offset + i) % 10);
    if (sink->write(sink, block, size) != 0) return DF_ORIGIN_CANCELLED;
    offset += size;
    length -= size;
  }
  return DF_ORIGIN_OK;
}

static int odd_read(void* self, const df_origin_request* request, uint64_t offset, uint64_t length,
                    const df_origin_sink* sink, df_origin_error* error) {
  (void)self;
  if (length == DF_ORIGIN_TO_END) length = 100000 - offset;
  if (strstr(request->url, "/breaks") != NULL && breaks_left > 0) {
    --breaks_left;
    const int code = write_digits(sink, offset, 1234);
    snprintf(error->text, sizeof error->text, "the line is down");
    return code == DF_ORIGIN_OK ? DF_ORIGIN_UNAVAILABLE : code;
  }
  if (strstr(request->url, "/long") != NULL) ++length;
  if (strstr(request->url, "/short") != NULL) --length;
  if (strstr(request->url, "/version") != NULL && strcmp(request->etag, "v1") != 0) return DF_ORIGIN_CHANGED;
  if (strstr(request->url, "/stuck") != NULL) {
    static char block[512 << 10]; /* large enough to be handed over at once */
    int refused = length >= sizeof block && sink->write(sink, block, sizeof block) != 0;
    while (!refused && !request->cancelled(request)) {
      const struct timespec moment = {0, 1000000};
      nanosleep(&moment, NULL);
    }
    FILE* const mark = fopen(header_of(request, "X-Mark"), "w");
    if (mark != NULL) fclose(mark);
    return DF_ORIGIN_CANCELLED;
  }
  return write_digits(sink, offset, length);
}

/* What stat and read do, in one call. */
static int odd_open(void* self, const df_origin_request* request, uint64_t first_bytes,
                    const df_origin_opening* opening, df_origin_error* error) {
  if (strstr(request->url, "/silent") != NULL) return DF_ORIGIN_OK;
  if (strstr(request->url, "/down") != NULL && downs_left > 0) {
    --downs_left;
    return DF_ORIGIN_UNAVAILABLE;
  }
  df_origin_stat stat;
  memset(&stat, 0, sizeof stat);
  stat.struct_size = sizeof stat;
  const int told = odd_stat(self, request, &stat, error);
  if (told != DF_ORIGIN_OK) return told;
  snprintf(stat.etag, sizeof stat.etag, "opened");
  if (strstr(request->url, "/twice") != NULL && opening->opened(opening, &stat) != 0) return DF_ORIGIN_CANCELLED;
  if (opening->opened(opening, &stat) != 0) return DF_ORIGIN_CANCELLED;
  uint64_t length = stat.has_length && first_bytes < 100000 ? first_bytes : 100000;
  return odd_read(self, request, 0, length, opening->sink, error);
}

static int odd_list(void* self, const df_origin_request* request, const df_origin_lister* lister,
                    df_origin_error* error) {
  (void)self;
  (void)error;
  if (strstr(request->url, "/unsafe/") != NULL) return lister->add(lister, "../x", 1, 0) ? DF_ORIGIN_CANCELLED : 0;
  for (int i = 0; i < 10; ++i) {
    char name[16];
    snprintf(name, sizeof name, "dir/%d", i);
    if (lister->add(lister, name, (uint64_t)i, 0) != 0) return DF_ORIGIN_CANCELLED;
  }
  return DF_ORIGIN_OK;
}

static df_origin_plugin plugin = {
    .struct_size = sizeof plugin,
    .abi_version = DF_ORIGIN_ABI_VERSION,
    .scheme = "odd",
    .stat = odd_stat,
    .read = odd_read,
    .list = odd_list,
};

const df_origin_plugin* df_origin_plugin_open(uint32_t abi_version, const df_origin_host* host,
                                               df_origin_error* error) {
  (void)abi_version;
  host->log(1, "the odd plugin is asked for");
  const char* const how = getenv("ODD_ORIGIN");
  if (how != NULL && strcmp(how, "refuse") == 0) {
    snprintf(error->text, sizeof error->text, "not today");
    return NULL;
  }
  plugin.abi_version = how != NULL && strcmp(how, "future") == 0 ? 7 : DF_ORIGIN_ABI_VERSION;
  plugin.read = how != NULL && strcmp(how, "half") == 0 ? NULL : odd_read;
  plugin.open = how != NULL && strcmp(how, "opens") == 0 ? odd_open : NULL;
  plugin.list = how != NULL && strcmp(how, "flat") == 0 ? NULL : odd_list;
  return &plugin;
}
