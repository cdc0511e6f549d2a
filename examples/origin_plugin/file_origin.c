/* SPDX-License-Identifier: Apache-2.0
 *
 * An origin plugin that reads file:///<path> below one directory of this host, which the environment variable
 * DF_FILE_ORIGIN_ROOT names when dfdaemon starts: a network file system that only the seed peers mount, for example.
 *
 * A URL comes from whoever may ask dfdaemon, so no path leaves the root: it is walked from there component by
 * component, ".." is refused and no symbolic link is followed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dragonfly/origin_plugin.h"

enum { kBlock = 1 << 20, kDepthMax = 64 };

typedef struct {
  df_origin_plugin table;
  int root; /* directory */
} file_origin;

static int fail(df_origin_error* error, int code, const char* what, int number) {
  snprintf(error->text, sizeof error->text, "%s: %s", what, strerror(number));
  return code;
}

static int fail_errno(df_origin_error* error, const char* what, int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return fail(error, DF_ORIGIN_NOT_FOUND, what, number);
    case EACCES:
    case EPERM:
    case ELOOP: /* a symbolic link */
      return fail(error, DF_ORIGIN_PERMISSION_DENIED, what, number);
    case EINVAL:
    case ENAMETOOLONG:
      return fail(error, DF_ORIGIN_INVALID_ARGUMENT, what, number);
    case EIO:
    case ESTALE:
    case ETIMEDOUT:
      return fail(error, DF_ORIGIN_UNAVAILABLE, what, number);
    default:
      return fail(error, DF_ORIGIN_INTERNAL, what, number);
  }
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The path of "file:///<path>", percent-decoded, in memory of its own; NULL with errno. */
static char* path_of(const char* url) {
  const char* const prefix = "file:///";
  if (strncmp(url, prefix, strlen(prefix)) != 0) {
    errno = EINVAL; /* another host, or no path */
    return NULL;
  }
  url += strlen(prefix);
  char* const path = malloc(strlen(url) + 1);
  if (path == NULL) return NULL;
  size_t length = 0;
  for (; *url != '\0' && *url != '?' && *url != '#'; ++url) {
    char c = *url;
    if (c == '%' && hex_digit(url[1]) >= 0 && hex_digit(url[2]) >= 0) {
      c = (char)(hex_digit(url[1]) * 16 + hex_digit(url[2]));
      url += 2;
    }
    if (c == '\0') {
      free(path);
      errno = EINVAL;
      return NULL;
    }
    path[length++] = c;
  }
  path[length] = '\0';
  return path;
}

/* Opens `path` below `root`; -1 with errno. Changes `path`. */
static int open_below(int root, char* path, int flags) {
  int at = dup(root);
  char* rest = path;
  while (at >= 0) {
    while (*rest == '/') ++rest;
    if (*rest == '\0') break;
    char* const component = rest;
    rest += strcspn(rest, "/");
    const int last = rest[strspn(rest, "/")] == '\0';
    if (*rest != '\0') *rest++ = '\0';
    int next = -1;
    if (strcmp(component, "..") == 0) {
      errno = EPERM;
    } else {
      const int how = last ? flags : O_RDONLY | O_DIRECTORY;
      next = openat(at, component, how | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    }
    const int saved = errno;
    close(at);
    errno = saved;
    at = next;
  }
  return at;
}

static int open_url(const file_origin* self, const char* url, int flags, struct stat* info, df_origin_error* error) {
  char* const path = path_of(url);
  if (path == NULL) return fail_errno(error, "URL", errno), -1;
  const int file = open_below(self->root, path, flags);
  free(path);
  if (file >= 0 && fstat(file, info) == 0) return file;
  const int saved = errno;
  if (file >= 0) close(file);
  errno = saved;
  return -1;
}

static void version_of(const struct stat* info, char* etag, size_t size) {
  snprintf(etag, size, "%llx-%llx-%llx.%09lx", (unsigned long long)info->st_ino, (unsigned long long)info->st_size,
           (unsigned long long)info->st_mtim.tv_sec, (unsigned long)info->st_mtim.tv_nsec);
}

static void fill_stat(const struct stat* info, df_origin_stat* stat) {
  stat->has_length = 1;
  stat->content_length = (uint64_t)info->st_size;
  stat->accepts_ranges = 1;
  version_of(info, stat->etag, sizeof stat->etag);
  stat->modified_at = info->st_mtim.tv_sec;
}

static int file_stat(void* self, const df_origin_request* request, df_origin_stat* stat, df_origin_error* error) {
  struct stat info;
  const int file = open_url(self, request->url, O_RDONLY, &info, error);
  if (file < 0) return error->text[0] != '\0' ? DF_ORIGIN_INVALID_ARGUMENT : fail_errno(error, "open", errno);
  close(file);
  if (!S_ISREG(info.st_mode)) return fail(error, DF_ORIGIN_INVALID_ARGUMENT, "not a file", EISDIR);
  fill_stat(&info, stat);
  return DF_ORIGIN_OK;
}

static int copy_range(int file, const df_origin_request* request, uint64_t offset, uint64_t length,
                      const df_origin_sink* sink, char* block, df_origin_error* error) {
  while (length > 0) {
    if (request->cancelled(request)) return DF_ORIGIN_CANCELLED;
    const size_t wanted = length < kBlock ? (size_t)length : kBlock;
    const ssize_t got = pread(file, block, wanted, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(error, "read", errno);
    if (got == 0) {
      return length > UINT64_MAX / 2 ? DF_ORIGIN_OK : fail(error, DF_ORIGIN_CHANGED, "the file ends early", ENODATA);
    }
    if (sink->write(sink, block, (size_t)got) != 0) return DF_ORIGIN_CANCELLED;
    offset += (uint64_t)got;
    length -= (uint64_t)got;
  }
  return DF_ORIGIN_OK;
}

static int file_read(void* self, const df_origin_request* request, uint64_t offset, uint64_t length,
                     const df_origin_sink* sink, df_origin_error* error) {
  struct stat info;
  const int file = open_url(self, request->url, O_RDONLY, &info, error);
  if (file < 0) return error->text[0] != '\0' ? DF_ORIGIN_INVALID_ARGUMENT : fail_errno(error, "open", errno);
  int code = DF_ORIGIN_OK;
  char etag[DF_ORIGIN_ETAG_MAX];
  version_of(&info, etag, sizeof etag);
  char* const block = malloc(kBlock);
  if (!S_ISREG(info.st_mode)) {
    code = fail(error, DF_ORIGIN_INVALID_ARGUMENT, "not a file", EISDIR);
  } else if (request->etag[0] != '\0' && strcmp(request->etag, etag) != 0) {
    code = fail(error, DF_ORIGIN_CHANGED, "the file is another now", ESTALE);
  } else if (block == NULL) {
    code = fail(error, DF_ORIGIN_INTERNAL, "block", ENOMEM);
  } else {
    code = copy_range(file, request, offset, length, sink, block, error);
  }
  free(block);
  close(file);
  return code;
}

static int file_open(void* self, const df_origin_request* request, uint64_t first_bytes,
                     const df_origin_opening* opening, df_origin_error* error) {
  struct stat info;
  const int file = open_url(self, request->url, O_RDONLY, &info, error);
  if (file < 0) return error->text[0] != '\0' ? DF_ORIGIN_INVALID_ARGUMENT : fail_errno(error, "open", errno);
  int code = DF_ORIGIN_OK;
  df_origin_stat stat;
  memset(&stat, 0, sizeof stat);
  stat.struct_size = sizeof stat;
  char* const block = malloc(kBlock);
  if (!S_ISREG(info.st_mode)) {
    code = fail(error, DF_ORIGIN_INVALID_ARGUMENT, "not a file", EISDIR);
  } else if (block == NULL) {
    code = fail(error, DF_ORIGIN_INTERNAL, "block", ENOMEM);
  } else {
    fill_stat(&info, &stat);
    const uint64_t length = stat.content_length < first_bytes ? stat.content_length : first_bytes;
    code = opening->opened(opening, &stat) != 0 ? DF_ORIGIN_CANCELLED
                                                : copy_range(file, request, 0, length, opening->sink, block, error);
  }
  free(block);
  close(file);
  return code;
}

/* Tells what is below `directory`, whose path from the listed one is `prefix` ("" or ending in '/'). Closes it. */
static int list_below(int directory, const char* prefix, int depth, const df_origin_request* request,
                      const df_origin_lister* lister, df_origin_error* error) {
  DIR* const stream = fdopendir(directory);
  if (stream == NULL) {
    const int number = errno;
    close(directory);
    return fail_errno(error, "open directory", number);
  }
  int code = DF_ORIGIN_OK;
  const struct dirent* entry;
  while (code == DF_ORIGIN_OK && (errno = 0, entry = readdir(stream)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (request->cancelled(request)) {
      code = DF_ORIGIN_CANCELLED;
      break;
    }
    struct stat info;
    if (fstatat(dirfd(stream), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue; /* gone meanwhile */
    const int is_directory = S_ISDIR(info.st_mode);
    if (!is_directory && !S_ISREG(info.st_mode)) continue;
    const size_t size = strlen(prefix) + strlen(entry->d_name) + 2;
    char* const path = malloc(size);
    if (path == NULL) {
      code = fail(error, DF_ORIGIN_INTERNAL, "path", ENOMEM);
      break;
    }
    snprintf(path, size, "%s%s", prefix, entry->d_name);
    if (lister->add(lister, path, is_directory ? 0 : (uint64_t)info.st_size, is_directory) != 0) {
      code = DF_ORIGIN_CANCELLED;
    } else if (is_directory && depth >= kDepthMax) {
      code = fail(error, DF_ORIGIN_INTERNAL, "directories are nested too deeply", ELOOP);
    } else if (is_directory) {
      const int below = openat(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (below >= 0) {
        snprintf(path, size, "%s%s/", prefix, entry->d_name);
        code = list_below(below, path, depth + 1, request, lister, error);
      } else if (errno != ENOENT) {
        code = fail_errno(error, "open directory", errno);
      }
    }
    free(path);
  }
  if (code == DF_ORIGIN_OK && errno != 0) code = fail_errno(error, "read directory", errno);
  closedir(stream);
  return code;
}

static int file_list(void* self, const df_origin_request* request, const df_origin_lister* lister,
                     df_origin_error* error) {
  struct stat info;
  const int directory = open_url(self, request->url, O_RDONLY | O_DIRECTORY, &info, error);
  if (directory < 0) return error->text[0] != '\0' ? DF_ORIGIN_INVALID_ARGUMENT : fail_errno(error, "open", errno);
  return list_below(directory, "", 0, request, lister, error);
}

static void file_destroy(void* self) {
  close(((file_origin*)self)->root);
  free(self);
}

const df_origin_plugin* df_origin_plugin_open(uint32_t abi_version, const df_origin_host* host,
                                               df_origin_error* error) {
  (void)host;
  if (abi_version != DF_ORIGIN_ABI_VERSION) {
    snprintf(error->text, sizeof error->text, "built for version %u of the interface", DF_ORIGIN_ABI_VERSION);
    return NULL;
  }
  const char* const root = getenv("DF_FILE_ORIGIN_ROOT");
  if (root == NULL || root[0] != '/') {
    snprintf(error->text, sizeof error->text, "DF_FILE_ORIGIN_ROOT names no absolute directory");
    return NULL;
  }
  file_origin* const self = calloc(1, sizeof *self);
  if (self == NULL) return NULL; /* the host says that no reason was given */
  self->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->root < 0) {
    snprintf(error->text, sizeof error->text, "DF_FILE_ORIGIN_ROOT: open %s: %s", root, strerror(errno));
    free(self);
    return NULL;
  }
  self->table.struct_size = sizeof self->table;
  self->table.abi_version = DF_ORIGIN_ABI_VERSION;
  self->table.scheme = "file";
  self->table.self = self;
  self->table.stat = file_stat;
  self->table.read = file_read;
  self->table.list = file_list;
  self->table.destroy = file_destroy;
  self->table.open = file_open;
  return &self->table;
}
