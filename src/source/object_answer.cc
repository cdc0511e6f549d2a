// SPDX-License-Identifier: Apache-2.0
#include "source/object_answer.h"

#include <expat.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "base/json_bounds.h"
#include "base/text.h"
#include "base/url.h"

namespace dragonfly::source {
namespace {

constexpr size_t kDepthMax = 16;
constexpr size_t kErrorMax = 300;

// Walks through an XML document and tells each element at its end: the path of names below the root ("Contents/Key"),
// and its own text. Attributes are not told but for the one that `encoded` asks for.
class XmlWalk {
 public:
  using OnElement = std::function<void(const std::string& path, const std::string& text, bool is_encoded)>;

  explicit XmlWalk(OnElement on_element)
      : on_element_(std::move(on_element)), parser_(XML_ParserCreate(nullptr), &XML_ParserFree) {
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(parser_.get(), &XmlWalk::Begin, &XmlWalk::End);
    XML_SetCharacterDataHandler(parser_.get(), &XmlWalk::Text);
    // No service sends one, and entities live there.
    XML_SetStartDoctypeDeclHandler(parser_.get(), &XmlWalk::Doctype);
  }

  // False when `document` is not one well-formed document within the limits.
  bool Run(std::string_view document) {
    return XML_Parse(parser_.get(), document.data(), static_cast<int>(document.size()), XML_TRUE) == XML_STATUS_OK;
  }
  const std::string& root() const { return root_; }

 private:
  struct Level {
    size_t path_size;  // of the path before this element
    std::string text;
    bool is_encoded = false;
  };

  static void XMLCALL Begin(void* user, const XML_Char* name, const XML_Char** attributes) {
    XmlWalk& self = *static_cast<XmlWalk*>(user);
    if (self.levels_.size() >= kDepthMax) return self.Stop();
    Level level{self.path_.size(), "", false};
    for (; *attributes != nullptr; attributes += 2) {
      const bool set = std::string_view(attributes[0]) == "Encoded" && std::string_view(attributes[1]) == "true";
      level.is_encoded = level.is_encoded || set;
    }
    if (self.levels_.empty()) {
      self.root_ = name;
    } else {
      self.path_.append(self.path_.empty() ? "" : "/").append(name);
    }
    self.levels_.push_back(std::move(level));
  }
  static void XMLCALL End(void* user, const XML_Char* /*name*/) {
    XmlWalk& self = *static_cast<XmlWalk*>(user);
    const Level level = std::move(self.levels_.back());
    self.levels_.pop_back();
    if (!self.levels_.empty()) self.on_element_(self.path_, level.text, level.is_encoded);
    self.path_.resize(level.path_size);
  }
  static void XMLCALL Text(void* user, const XML_Char* text, int size) {
    XmlWalk& self = *static_cast<XmlWalk*>(user);
    if (!self.levels_.empty()) self.levels_.back().text.append(text, static_cast<size_t>(size));
  }
  static void XMLCALL Doctype(void* user, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<XmlWalk*>(user)->Stop();
  }
  void Stop() { XML_StopParser(parser_.get(), XML_FALSE); }

  OnElement on_element_;
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, decltype(&XML_ParserFree)> parser_;
  std::string root_;
  std::string path_;
  std::vector<Level> levels_;
};

absl::Status NoPage(std::string_view why) { return absl::DataLossError(StrCat("list of the bucket: ", why)); }

// S3 writes a blank as '+', the others do not.
std::string DecodeKey(ObjectVendor vendor, std::string text) {
  if (vendor == ObjectVendor::kS3) std::replace(text.begin(), text.end(), '+', ' ');
  return PercentDecode(text);
}

void MarkDirectory(ListedObject& object) {
  if (!object.key.ends_with('/') && !object.is_directory) return;
  if (!object.key.ends_with('/')) object.key.push_back('/');
  object.is_directory = true;
  object.size = 0;
}

absl::StatusOr<ListPage> ParseBucketPage(ObjectVendor vendor, std::string_view body) {
  ListPage page;
  ListedObject object;
  bool encoded = false;
  bool truncated = false;
  bool has_size = false;
  std::string next_token;
  std::string next_marker;
  std::string broken;
  XmlWalk walk([&](const std::string& path, const std::string& text, bool) {
    if (path == "Contents/Key") {
      object.key = text;
    } else if (path == "Contents/Size") {
      const std::optional<uint64_t> size = ParseDecimal<uint64_t>(TrimSpace(text));
      has_size = size.has_value();
      object.size = size.value_or(0);
    } else if (path == "Contents") {
      if (object.key.empty()) broken = "an object without a key";
      if (!has_size) broken = StrCat("no size of object ", Quoted(object.key));
      page.objects.push_back(std::move(object));
      object = ListedObject();
      has_size = false;
    } else if (path == "EncodingType" || path == "Encoding-Type") {
      encoded = EqualsIgnoreCase(TrimSpace(text), "url");
    } else if (path == "IsTruncated") {
      truncated = EqualsIgnoreCase(TrimSpace(text), "true");
    } else if (path == "NextContinuationToken") {
      next_token = text;
    } else if (path == "NextMarker") {
      next_marker = text;
    }
  });
  if (!walk.Run(body) || walk.root() != "ListBucketResult") return NoPage("the answer is none");
  if (!broken.empty()) return NoPage(broken);
  for (ListedObject& one : page.objects) {
    if (encoded) one.key = DecodeKey(vendor, std::move(one.key));
  }
  if (truncated) {
    const bool by_token = vendor == ObjectVendor::kS3 || vendor == ObjectVendor::kOss;
    if (by_token) {
      // OSS encodes the token with the keys, S3 does not.
      page.continuation = encoded && vendor == ObjectVendor::kOss ? PercentDecode(next_token) : next_token;
    } else if (!next_marker.empty()) {
      page.continuation = encoded ? DecodeKey(vendor, next_marker) : next_marker;
    } else if (!page.objects.empty()) {
      page.continuation = page.objects.back().key;
    }
    if (page.continuation.empty()) return NoPage("it goes on, but does not say where");
  }
  for (ListedObject& one : page.objects) MarkDirectory(one);
  return page;
}

absl::StatusOr<ListPage> ParseAzurePage(std::string_view body) {
  ListPage page;
  ListedObject object;
  bool has_size = false;
  std::string broken;
  XmlWalk walk([&](const std::string& path, const std::string& text, bool is_encoded) {
    if (path == "Blobs/Blob/Name") {
      object.key = is_encoded ? PercentDecode(text) : text;
    } else if (path == "Blobs/Blob/Properties/Content-Length") {
      const std::optional<uint64_t> size = ParseDecimal<uint64_t>(TrimSpace(text));
      has_size = size.has_value();
      object.size = size.value_or(0);
    } else if (path == "Blobs/Blob/Properties/ResourceType") {
      object.is_directory = TrimSpace(text) == "directory";
    } else if (path == "Blobs/Blob") {
      if (object.key.empty()) broken = "an object without a name";
      if (!has_size && !object.is_directory) broken = StrCat("no size of object ", Quoted(object.key));
      page.objects.push_back(std::move(object));
      object = ListedObject();
      has_size = false;
    } else if (path == "NextMarker") {
      page.continuation = text;
    }
  });
  if (!walk.Run(body) || walk.root() != "EnumerationResults") return NoPage("the answer is none");
  if (!broken.empty()) return NoPage(broken);
  for (ListedObject& one : page.objects) MarkDirectory(one);
  return page;
}

std::string TextOf(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

nlohmann::json ParseJson(std::string_view body) {
  if (!IsBoundedJson(body)) return nlohmann::json::value_t::discarded;
  return nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
}

absl::StatusOr<ListPage> ParseGooglePage(std::string_view body) {
  const nlohmann::json parsed = ParseJson(body);
  if (!parsed.is_object()) return NoPage("the answer is none");
  ListPage page;
  page.continuation = TextOf(parsed, "nextPageToken");
  const auto items = parsed.find("items");
  if (items == parsed.end()) return page;
  if (!items->is_array()) return NoPage("the answer is none");
  for (const nlohmann::json& item : *items) {
    if (!item.is_object()) return NoPage("the answer is none");
    ListedObject object;
    object.key = TextOf(item, "name");
    const std::optional<uint64_t> size = ParseDecimal<uint64_t>(TextOf(item, "size"));
    if (object.key.empty()) return NoPage("an object without a name");
    if (!size.has_value()) return NoPage(StrCat("no size of object ", Quoted(object.key)));
    object.size = *size;
    MarkDirectory(object);
    page.objects.push_back(std::move(object));
  }
  return page;
}

}  // namespace

std::string ObjectError::ToString() const {
  // Azure's messages go on in further lines with the ids of the request.
  const std::string_view line = TrimSpace(std::string_view(message).substr(0, message.find('\n')));
  std::string text = StrCat(code, code.empty() || line.empty() ? "" : ": ", line);
  text.resize(std::min(text.size(), kErrorMax));
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = ' ';
  }
  return text;
}

absl::StatusOr<ListPage> ParseListPage(ObjectVendor vendor, std::string_view body) {
  switch (vendor) {
    case ObjectVendor::kGs:
      return ParseGooglePage(body);
    case ObjectVendor::kAbs:
      return ParseAzurePage(body);
    default:
      return ParseBucketPage(vendor, body);
  }
}

ObjectError ParseObjectError(std::string_view body) {
  ObjectError error;
  const std::string_view text = TrimSpace(body);
  if (text.starts_with('{')) {
    const nlohmann::json parsed = ParseJson(text);
    const auto inner = parsed.is_object() ? parsed.find("error") : parsed.end();
    if (parsed.is_object() && inner != parsed.end()) {
      if (inner->is_string()) {  // RFC 6749 §5.2
        error.code = inner->get<std::string>();
        error.message = TextOf(parsed, "error_description");
      } else if (inner->is_object()) {
        error.message = TextOf(*inner, "message");
      }
    }
    return error;
  }
  XmlWalk walk([&error](const std::string& path, const std::string& value, bool) {
    if (path == "Code") error.code = value;
    if (path == "Message") error.message = value;
    if (path == "Region") error.region = value;
  });
  // What a cut document has told before its end counts, too.
  (void)walk.Run(text.starts_with("\xEF\xBB\xBF") ? text.substr(3) : text);
  return error;
}

}  // namespace dragonfly::source
