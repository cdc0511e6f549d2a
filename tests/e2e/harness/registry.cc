// SPDX-License-Identifier: Apache-2.0
#include "tests/e2e/harness/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "base/digest.h"

namespace dragonfly::e2e {
namespace {

constexpr char kLayer[] = "application/vnd.oci.image.layer.v1.tar";
constexpr char kConfig[] = "application/vnd.oci.image.config.v1+json";
constexpr char kManifest[] = "application/vnd.oci.image.manifest.v1+json";

// Writes a blob as it comes and gives it its name at the end.
class BlobWriter {
 public:
  explicit BlobWriter(const std::string& layout) : directory_(layout + "/blobs/sha256/") {
    std::filesystem::create_directories(directory_);
    file_.open(directory_ + "new", std::ios::binary | std::ios::trunc);
  }
  void Write(std::string_view bytes) {
    file_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    hasher_.Update(bytes);
    size_ += bytes.size();
  }
  Blob Finish() {
    file_.close();
    const Digest digest = hasher_.Finish();
    std::filesystem::rename(directory_ + "new", directory_ + digest.encoded());
    return {digest.ToString(), size_};
  }

 private:
  std::string directory_;
  std::ofstream file_;
  Hasher hasher_{DigestAlgorithm::kSha256};
  uint64_t size_ = 0;
};

// The header of a regular file (POSIX.1-1988 ustar).
std::string TarHeader(const std::string& name, uint64_t size) {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { header.replace(at, text.size(), text); };
  char octal[13];
  std::snprintf(octal, sizeof(octal), "%011llo", static_cast<unsigned long long>(size));
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, octal);
  put(136, "00000000000");
  put(148, "        ");
  put(156, "0");
  put(257, std::string("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(octal, sizeof(octal), "%06o", sum);
  put(148, std::string(octal) + '\0');
  return header;
}

Blob WriteLayer(const std::string& layout, const LayerSpec& spec) {
  BlobWriter blob(layout);
  blob.Write(TarHeader("data-" + std::to_string(spec.seed), spec.bytes));
  std::mt19937_64 random(spec.seed);
  std::vector<uint64_t> block(1 << 17);
  for (uint64_t left = spec.bytes; left > 0;) {
    for (uint64_t& word : block) word = random();
    const size_t n = std::min<uint64_t>(left, block.size() * sizeof(uint64_t));
    blob.Write(std::string_view(reinterpret_cast<const char*>(block.data()), n));
    left -= n;
  }
  blob.Write(std::string((512 - spec.bytes % 512) % 512 + 1024, '\0'));
  return blob.Finish();
}

Blob WriteBlob(const std::string& layout, const std::string& content) {
  BlobWriter blob(layout);
  blob.Write(content);
  return blob.Finish();
}

std::string Descriptor(const std::string& type, const Blob& blob) {
  return "{\"mediaType\":\"" + type + "\",\"digest\":\"" + blob.digest + "\",\"size\":" + std::to_string(blob.size) +
         "}";
}

}  // namespace

Registry::Registry(const std::string& dir, RegistrySettings settings) : settings_(std::move(settings)), dir_(dir) {
  std::filesystem::create_directories(dir_);
  std::ofstream config(dir_ + "/config.yml");
  config << "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: false\nstorage:\n  filesystem:\n"
         << "    rootdirectory: " << dir_ << "/data\nhttp:\n  addr: " << settings_.address
         << "\n  secret: of-this-test\n";
  if (!settings_.certificate.empty()) {
    config << "  tls:\n    certificate: " << settings_.certificate << "\n    key: " << settings_.key << "\n";
  }
  if (!settings_.user.empty()) config << Authentication();
  config.close();
  process_ = Process({"/usr/bin/docker-registry", "serve", dir_ + "/config.yml"}, dir_ + "/registry.out");
  const std::string probe = "curl -sk -o /dev/null --connect-timeout 2 " + url() + "/v2/";
  EXPECT_TRUE(Await([&] { return std::system(probe.c_str()) == 0; }, std::chrono::seconds(30))) << process_.Log();
}

std::string Registry::Authentication() {
  const std::string login = settings_.user + ":" + settings_.password;
  if (settings_.token_port == 0) {
    const std::string command =
        "htpasswd -Bbn '" + settings_.user + "' '" + settings_.password + "' > " + dir_ + "/htpasswd";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return "auth:\n  htpasswd:\n    realm: registry\n    path: " + dir_ + "/htpasswd\n";
  }
  const std::string certificate = "openssl req -x509 -newkey rsa:2048 -nodes -keyout " + dir_ + "/token.key -out " +
                                  dir_ + "/token.pem -days 30 -subj /CN=tests 2>/dev/null";
  EXPECT_EQ(std::system(certificate.c_str()), 0);
  const std::string ip = settings_.address.substr(0, settings_.address.find(':'));
  const std::string port = std::to_string(settings_.token_port);
  tokens_ = Process({"/usr/bin/python3", DF_HARNESS_DIR "/token_server.py", ip, port, dir_ + "/token.pem",
                     dir_ + "/token.key", login},
                    dir_ + "/tokens.out");
  const std::string realm = "http://" + ip + ":" + port + "/token";
  const std::string probe = "curl -s -o /dev/null --connect-timeout 2 " + realm;
  EXPECT_TRUE(Await([&] { return std::system(probe.c_str()) == 0; }, std::chrono::seconds(30))) << tokens_.Log();
  return "auth:\n  token:\n    realm: " + realm +
         "\n    service: registry\n    issuer: tests\n    rootcertbundle: " + dir_ + "/token.pem\n";
}

std::string Registry::url() const {
  return (settings_.certificate.empty() ? "http://" : "https://") + settings_.address;
}

std::vector<Registry::Entry> Registry::Log() const {
  std::vector<Entry> entries;
  std::istringstream lines(process_.Log().substr(forgotten_));
  for (std::string line; std::getline(lines, line);) {
    // ip - user [time] "METHOD PATH HTTP/1.1" STATUS BYTES "" "agent"
    const size_t quote = line.find("] \"");
    if (quote == std::string::npos) continue;
    Entry entry;
    std::istringstream fields(line.substr(quote + 3));
    std::string version;
    if (fields >> entry.method >> entry.path >> version >> entry.status >> entry.body_bytes) entries.push_back(entry);
  }
  return entries;
}

void Registry::Forget() { forgotten_ = process_.Log().size(); }

namespace {

// The digest of the blob whose bytes the request got; "" for other requests and those that only asked about it.
std::string BlobOf(const Registry::Entry& entry) {
  constexpr std::string_view kBefore = "/blobs/";
  constexpr size_t kDigestLength = 7 + 64;  // sha256:<hex>
  const size_t at = entry.path.find("/blobs/sha256:");
  if (entry.method != "GET" || at == std::string::npos || entry.status / 100 != 2) return "";
  if (entry.status == 206 && entry.body_bytes == 1) return "";
  return entry.path.substr(at + kBefore.size(), kDigestLength);
}

}  // namespace

uint64_t Registry::BytesSent(const std::string& digest) const {
  uint64_t bytes = 0;
  for (const Entry& entry : Log()) {
    if (BlobOf(entry) == digest) bytes += entry.body_bytes;
  }
  return bytes;
}

std::vector<std::string> Registry::BlobsSent() const {
  std::set<std::string> digests;
  for (const Entry& entry : Log()) digests.insert(BlobOf(entry));
  digests.erase("");
  return {digests.begin(), digests.end()};
}

Image MakeImage(const std::string& layout, const std::vector<LayerSpec>& layers) {
  Image image{.layout = layout};
  std::string diff_ids;
  std::string descriptors;
  for (const LayerSpec& spec : layers) {
    const Blob blob = WriteLayer(layout, spec);
    diff_ids += (diff_ids.empty() ? "\"" : ",\"") + blob.digest + "\"";
    descriptors += (descriptors.empty() ? "" : ",") + Descriptor(kLayer, blob);
    image.blobs.push_back(blob);
  }
  const Blob config =
      WriteBlob(layout,
                "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\","
                "\"diff_ids\":[" +
                    diff_ids + "]}}");
  image.blobs.push_back(config);
  const Blob manifest =
      WriteBlob(layout, std::string("{\"schemaVersion\":2,\"mediaType\":\"") + kManifest +
                            "\",\"config\":" + Descriptor(kConfig, config) + ",\"layers\":[" + descriptors + "]}");
  image.manifest = manifest.digest;
  std::ofstream(layout + "/oci-layout") << "{\"imageLayoutVersion\":\"1.0.0\"}";
  std::ofstream(layout + "/index.json") << "{\"schemaVersion\":2,\"manifests\":[" << Descriptor(kManifest, manifest)
                                        << "]}";
  return image;
}

}  // namespace dragonfly::e2e
