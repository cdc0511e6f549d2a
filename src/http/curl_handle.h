// SPDX-License-Identifier: Apache-2.0
// Owners for libcurl's handles, and what libcurl can say about a URL. For the module's .cc files only.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <string_view>

namespace dragonfly::http {

// CURL, CURLM and CURLSH are all void in C; the tags keep their owners apart.
struct EasyDelete {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct MultiDelete {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct ShareDelete {
  void operator()(CURLSH* handle) const { curl_share_cleanup(handle); }
};
struct UrlDelete {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
struct ListDelete {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using EasyHandle = std::unique_ptr<CURL, EasyDelete>;
using MultiHandle = std::unique_ptr<CURLM, MultiDelete>;
using ShareHandle = std::unique_ptr<CURLSH, ShareDelete>;
using UrlHandle = std::unique_ptr<CURLU, UrlDelete>;
using HeaderList = std::unique_ptr<curl_slist, ListDelete>;

// `url` without user, password, query and fragment, for messages; "<bad URL>" when it does not parse.
std::string UrlForMessages(const std::string& url);

// The absolute form of `location`, a Location header of the answer to `url`; empty when it does not parse.
std::string ResolveLocation(const std::string& url, const std::string& location);

// The host of `url` as libcurl will look it up: an IPv4 address in any of its spellings as 10.0.0.1, IPv6 in brackets.
std::string HostOf(const std::string& url);

// Its scheme in lower case.
std::string SchemeOf(const std::string& url);

// Whether libcurl reads `url` as an absolute URL of http or https.
bool IsHttpUrl(const std::string& url);

}  // namespace dragonfly::http
