// SPDX-License-Identifier: Apache-2.0
#include "http/curl_handle.h"

#include <utility>

namespace dragonfly::http {
namespace {

UrlHandle ParseUrl(const std::string& url) {
  UrlHandle handle(curl_url());
  if (handle == nullptr || curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), CURLU_URLENCODE) != CURLUE_OK) {
    return nullptr;
  }
  return handle;
}

std::string Part(const UrlHandle& handle, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(handle.get(), part, &text, 0) != CURLUE_OK) return "";
  std::string value(text);
  curl_free(text);
  return value;
}

}  // namespace

std::string HostOf(const std::string& url) {
  const UrlHandle handle = ParseUrl(url);
  return handle == nullptr ? "" : Part(handle, CURLUPART_HOST);
}

std::string SchemeOf(const std::string& url) {
  const UrlHandle handle = ParseUrl(url);
  return handle == nullptr ? "" : Part(handle, CURLUPART_SCHEME);
}

bool IsHttpUrl(const std::string& url) {
  const std::string scheme = SchemeOf(url);
  return scheme == "http" || scheme == "https";
}

std::string UrlForMessages(const std::string& url) {
  const UrlHandle handle = ParseUrl(url);
  if (handle == nullptr) return "<bad URL>";
  for (const CURLUPart secret :
       {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    curl_url_set(handle.get(), secret, nullptr, 0);
  }
  return Part(handle, CURLUPART_URL);
}

std::string ResolveLocation(const std::string& url, const std::string& location) {
  const UrlHandle handle = ParseUrl(url);
  if (handle == nullptr) return "";
  if (curl_url_set(handle.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) != CURLUE_OK) return "";
  return Part(handle, CURLUPART_URL);
}

}  // namespace dragonfly::http
