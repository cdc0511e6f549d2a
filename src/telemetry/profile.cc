// SPDX-License-Identifier: Apache-2.0
#include "telemetry/profile.h"

#include <zlib.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <unordered_map>

#include "perftools/profile.pb.h"
#include "telemetry/elf_symbols.h"

namespace dragonfly::telemetry {
namespace {

namespace wire = perftools::profiles;

struct Mapping {
  uint64_t begin = 0, end = 0, offset = 0;
  std::string path;
};

// The executable parts of the address space, by address.
std::vector<Mapping> ReadMappings() {
  std::vector<Mapping> mappings;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    Mapping mapping;
    char rights[5] = {};
    int path_at = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %*s %*s %n", &mapping.begin, &mapping.end,
                    rights, &mapping.offset, &path_at) != 4 ||
        rights[2] != 'x') {
      continue;
    }
    mapping.path = line.substr(std::min(static_cast<size_t>(path_at), line.size()));
    mappings.push_back(std::move(mapping));
  }
  return mappings;
}

class Encoder {
 public:
  Encoder() : mappings_(ReadMappings()) {
    Text("");
    // pprof takes the first mapping for the program: the kernel lists it first, too.
    for (uint64_t i = 0; i < mappings_.size(); ++i) {
      wire::Mapping* const mapping = out_.add_mapping();
      mapping->set_id(i + 1);
      mapping->set_memory_start(mappings_[i].begin);
      mapping->set_memory_limit(mappings_[i].end);
      mapping->set_file_offset(mappings_[i].offset);
      mapping->set_filename(Text(mappings_[i].path));
      mapping->set_has_functions(true);
      if (mappings_[i].path.starts_with('/')) mapping->set_build_id(Text(SymbolsOf(mappings_[i].path).build_id()));
    }
  }

  std::string Encode(const Profile& profile) {
    for (const Profile::Type& type : profile.value_types) SetType(type, out_.add_sample_type());
    SetType(profile.period_type, out_.mutable_period_type());
    out_.set_period(profile.period);
    using std::chrono::duration_cast;
    using std::chrono::nanoseconds;
    out_.set_time_nanos(duration_cast<nanoseconds>(profile.begin.time_since_epoch()).count());
    out_.set_duration_nanos(profile.duration.count());
    std::map<std::vector<uint64_t>, std::vector<int64_t>> sums;
    for (const ProfileSample& sample : profile.samples) {
      std::vector<int64_t>& sum = sums[sample.addresses];
      sum.resize(profile.value_types.size());
      for (size_t i = 0; i < sum.size() && i < sample.values.size(); ++i) sum[i] += sample.values[i];
    }
    for (const auto& [addresses, values] : sums) {
      wire::Sample* const sample = out_.add_sample();
      for (const uint64_t address : addresses) sample->add_location_id(LocationOf(address));
      for (const int64_t value : values) sample->add_value(value);
    }
    return out_.SerializeAsString();
  }

 private:
  int64_t Text(const std::string& text) {
    const auto [found, is_new] = texts_.try_emplace(text, out_.string_table_size());
    if (is_new) out_.add_string_table(text);
    return found->second;
  }

  void SetType(const Profile::Type& type, wire::ValueType* out) {
    out->set_type(Text(type.first));
    out->set_unit(Text(type.second));
  }

  const ElfSymbols& SymbolsOf(const std::string& path) {
    std::unique_ptr<ElfSymbols>& symbols = files_[path];
    if (symbols == nullptr) symbols = std::make_unique<ElfSymbols>(path);
    return *symbols;
  }

  uint64_t FunctionOf(const std::string& name) {
    const auto [found, is_new] = functions_.try_emplace(name, functions_.size() + 1);
    if (is_new) {
      wire::Function* const function = out_.add_function();
      function->set_id(found->second);
      function->set_name(Text(Demangle(name)));
      function->set_system_name(Text(name));
    }
    return found->second;
  }

  uint64_t LocationOf(uint64_t address) {
    const auto [found, is_new] = locations_.try_emplace(address, locations_.size() + 1);
    if (!is_new) return found->second;
    wire::Location* const location = out_.add_location();
    location->set_id(found->second);
    location->set_address(address);
    const auto after = std::ranges::upper_bound(mappings_, address, {}, &Mapping::begin);
    if (after == mappings_.begin()) return found->second;
    const auto mapping = std::prev(after);
    if (address >= mapping->end) return found->second;
    location->set_mapping_id(static_cast<uint64_t>(mapping - mappings_.begin()) + 1);
    if (!mapping->path.starts_with('/')) return found->second;
    const auto name = SymbolsOf(mapping->path).At(address - mapping->begin + mapping->offset);
    if (name) location->add_line()->set_function_id(FunctionOf(*name));
    return found->second;
  }

  const std::vector<Mapping> mappings_;
  wire::Profile out_;
  std::unordered_map<std::string, int64_t> texts_;
  std::map<std::string, std::unique_ptr<ElfSymbols>> files_;
  std::unordered_map<std::string, uint64_t> functions_;
  std::unordered_map<uint64_t, uint64_t> locations_;
};

std::string Gzip(const std::string& data) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;  // the largest window, with gzip's header
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK) return "";
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return result == Z_STREAM_END ? out : "";
}

}  // namespace

std::string EncodeProfile(const Profile& profile) { return Gzip(Encoder().Encode(profile)); }

}  // namespace dragonfly::telemetry
