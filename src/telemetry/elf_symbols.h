// SPDX-License-Identifier: Apache-2.0
// Names of functions in an ELF file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dragonfly::telemetry {

// The functions of one file: of its symbol table if it has one, else of its dynamic symbols.
class ElfSymbols {
 public:
  // No functions when the file cannot be read or is no 64-bit ELF file of this machine's byte order. Blocks; maps the
  // file while it reads.
  explicit ElfSymbols(const std::string& path);

  // The function, mangled, that holds the byte at `file_offset` of the file. nullopt when none is known.
  std::optional<std::string> At(uint64_t file_offset) const;
  // The GNU build id in hex; empty when there is none.
  const std::string& build_id() const { return build_id_; }

 private:
  struct Segment {
    uint64_t offset, address, size;
  };
  struct Symbol {
    uint64_t address, size;
    std::string name;
  };
  void Read(const uint8_t* file, uint64_t size);

  std::vector<Segment> segments_;
  std::vector<Symbol> symbols_;  // by address
  std::string build_id_;
};

// As people read it: "dragonfly::daemon::Daemon::Stop(...)"; names that are not mangled stay.
std::string Demangle(const std::string& name);

}  // namespace dragonfly::telemetry
