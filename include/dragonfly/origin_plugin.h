/* SPDX-License-Identifier: Apache-2.0
 *
 * Origins by plugin: how a shared library teaches dfdaemon to read URLs of a further scheme.
 *
 * The library lies at <server.pluginDir>/backend/lib<scheme>.so and exports one function, df_origin_plugin_open(). It is
 * loaded when dfdaemon starts and stays until it ends. A plugin cannot replace a scheme that dfdaemon reads itself.
 *
 * Threads: stat, read, open and list are called on threads of dfdaemon's that may block, several at once, also for one URL.
 * Memory: what is passed to a function belongs to the caller and is valid until the function returns, unless said
 * otherwise. Strings are NUL-terminated UTF-8 and never NULL.
 * A plugin must not throw, exit, change the working directory, the locale or signal handlers, nor fork without exec.
 *
 * Compatibility: the structures only ever grow at their end within one DF_ORIGIN_ABI_VERSION. struct_size is the size
 * that whoever filled the structure knew; read nothing behind it.
 */
#ifndef DRAGONFLY_ORIGIN_PLUGIN_H_
#define DRAGONFLY_ORIGIN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DF_ORIGIN_ABI_VERSION 1u

/* What a function returns. */
enum df_origin_code {
  DF_ORIGIN_OK = 0,
  DF_ORIGIN_CANCELLED = 1,         /* ended because df_origin_request::cancelled or df_origin_sink::write said so */
  DF_ORIGIN_INVALID_ARGUMENT = 2,  /* the URL or a header makes no sense */
  DF_ORIGIN_NOT_FOUND = 3,         /* final */
  DF_ORIGIN_PERMISSION_DENIED = 4, /* final */
  DF_ORIGIN_UNAVAILABLE = 5,       /* may pass: dfdaemon asks again, going on where a read stopped */
  DF_ORIGIN_CHANGED = 6,           /* the object is not the one that df_origin_request::etag names */
  DF_ORIGIN_UNSUPPORTED = 7,       /* no such function for this URL (list of what has no directories) */
  DF_ORIGIN_INTERNAL = 8           /* anything else; so is every other value. Final */
};

/* Why a function failed, for the user; written by the plugin. Without secrets; may stay empty. */
#define DF_ORIGIN_ERROR_TEXT_MAX 512
typedef struct df_origin_error {
  char text[DF_ORIGIN_ERROR_TEXT_MAX]; /* NUL-terminated */
} df_origin_error;

typedef struct df_origin_header {
  const char* name;
  const char* value;
} df_origin_header;

/* What is asked for. */
typedef struct df_origin_request {
  uint32_t struct_size;
  const char* url;                /* as the URL standard writes it: percent-encoded, dot segments resolved */
  const df_origin_header* header; /* the user's headers (dfget --header), names in any case; may hold secrets */
  size_t header_count;
  const char* etag; /* of the stat, for read; empty: not known */
  int64_t timeout_ms; /* the call is given up after so long; -1: never */
  /* Not 0 when nobody waits for the answer any more: the function should return soon. To be asked at least once a
   * second while the function waits for the world. Any thread. */
  int (*cancelled)(const struct df_origin_request* request);
  void* reserved; /* the caller's */
} df_origin_request;

/* What is told of one object; zeroed by the caller, written by the plugin. */
#define DF_ORIGIN_ETAG_MAX 256
typedef struct df_origin_stat {
  uint32_t struct_size;     /* set by the caller */
  uint32_t has_length;      /* 0: the length is not known, and the object can only be read as a whole */
  uint64_t content_length;  /* bytes */
  uint32_t accepts_ranges;  /* 0: read is only called for all of it */
  /* Changes whenever the bytes change; printable ASCII without '"'. Empty: no such thing. */
  char etag[DF_ORIGIN_ETAG_MAX];
  int64_t modified_at;      /* seconds since 1970 UTC; 0: not known */
} df_origin_stat;

/* Takes the bytes of a read, in order. */
typedef struct df_origin_sink {
  /* Returns 0 when the bytes are taken, after as long as the bandwidth limit and the disk need; else nothing more is
   * wanted: return DF_ORIGIN_CANCELLED. Only on the thread that read was called on. Calls of 64 KiB and more are best;
   * `data` may be used again at once. */
  int (*write)(const struct df_origin_sink* sink, const void* data, size_t size);
  void* reserved; /* the caller's */
} df_origin_sink;

/* Takes what an open brings. */
typedef struct df_origin_opening {
  /* To be called once, before the first byte, with the stat that `stat` would give; the plugin zeroes it and sets its
   * struct_size. Not 0: no byte is wanted, return DF_ORIGIN_CANCELLED. Only on the thread that open was called on. */
  int (*opened)(const struct df_origin_opening* opening, const df_origin_stat* stat);
  const df_origin_sink* sink;
  void* reserved; /* the caller's */
} df_origin_opening;

/* Takes the entries of a list. */
typedef struct df_origin_lister {
  /* One entry at any depth below the directory. `path` is relative to it, not percent-encoded, with '/' between its
   * components and none at its ends. A directory may be left out when something below it is told. Not 0: enough,
   * return DF_ORIGIN_CANCELLED. Only on the thread that list was called on. */
  int (*add)(const struct df_origin_lister* lister, const char* path, uint64_t content_length, int is_directory);
  void* reserved; /* the caller's */
} df_origin_lister;

/* The end of the range of a read that wants everything from its offset on. */
#define DF_ORIGIN_TO_END UINT64_MAX

/* What dfdaemon offers to a plugin; valid until the plugin's destroy returns. */
typedef struct df_origin_host {
  uint32_t struct_size;
  /* Writes a line to dfdaemon's log. level: 0 debug, 1 info, 2 warning, 3 error. Any thread. */
  void (*log)(int level, const char* text);
} df_origin_host;

/* The plugin. Lives until destroy has been called. */
typedef struct df_origin_plugin {
  uint32_t struct_size;
  uint32_t abi_version; /* DF_ORIGIN_ABI_VERSION of the header that it was built with */
  const char* scheme;   /* lower case; must be the one in the file's name */
  void* self;           /* passed to the functions */

  /* Tells of the object that request->url names. */
  int (*stat)(void* self, const df_origin_request* request, df_origin_stat* stat, df_origin_error* error);

  /* Hands bytes [offset, offset + length) of the object to the sink, exactly those; length DF_ORIGIN_TO_END: all from
   * offset on. */
  int (*read)(void* self, const df_origin_request* request, uint64_t offset, uint64_t length,
              const df_origin_sink* sink, df_origin_error* error);

  /* Tells what is below the directory that request->url names (it ends in '/'). NULL: there are no directories. */
  int (*list)(void* self, const df_origin_request* request, const df_origin_lister* lister, df_origin_error* error);

  /* Frees the plugin; nothing is called after it. NULL: nothing to free. */
  void (*destroy)(void* self);

  /* Stat and first read in one, for origins that tell both in one answer: tells of the object, and hands its first
   * min(first_bytes, content_length) bytes to the sink; all of them when the length is not known or ranges are not
   * accepted. NULL, or not in the table: stat and read are called instead. */
  int (*open)(void* self, const df_origin_request* request, uint64_t first_bytes, const df_origin_opening* opening,
              df_origin_error* error);
} df_origin_plugin;

/* The one function that the library exports. `abi_version` is dfdaemon's. NULL: the plugin cannot work, with the reason
 * in `error`; dfdaemon logs it and goes on without the plugin. Called once for each dfdaemon in a process. */
typedef const df_origin_plugin* (*df_origin_plugin_open_fn)(uint32_t abi_version, const df_origin_host* host,
                                                             df_origin_error* error);
#if defined(__GNUC__)
#define DF_ORIGIN_EXPORT __attribute__((visibility("default")))
#else
#define DF_ORIGIN_EXPORT
#endif
DF_ORIGIN_EXPORT const df_origin_plugin* df_origin_plugin_open(uint32_t abi_version, const df_origin_host* host,
                                                                df_origin_error* error);

#ifdef __cplusplus
}
#endif

#endif /* DRAGONFLY_ORIGIN_PLUGIN_H_ */
