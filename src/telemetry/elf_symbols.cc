// SPDX-License-Identifier: Apache-2.0
#include "telemetry/elf_symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/unique_fd.h"

namespace dragonfly::telemetry {
namespace {

// Longest name that is demangled: the demangler's time grows faster than its input.
constexpr size_t kDemangleMax = 2048;

class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat state{};
    if (!fd.valid() || ::fstat(fd.get(), &state) != 0 || state.st_size <= 0) return;
    void* const data = ::mmap(nullptr, static_cast<size_t>(state.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return;
    data_ = static_cast<const uint8_t*>(data);
    size_ = static_cast<size_t>(state.st_size);
  }
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// `count` headers of type T at `offset`; none when they leave the file.
template <typename T>
std::vector<T> Table(const uint8_t* file, uint64_t size, uint64_t offset, uint64_t count) {
  if (offset > size || count > (size - offset) / sizeof(T)) return {};
  std::vector<T> table(count);
  if (count > 0) std::memcpy(table.data(), file + offset, count * sizeof(T));
  return table;
}

std::string BuildIdOf(const uint8_t* note, uint64_t size) {
  constexpr char kDigits[] = "0123456789abcdef";
  while (size >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr header;
    std::memcpy(&header, note, sizeof header);
    const uint64_t name = (uint64_t{header.n_namesz} + 3) & ~uint64_t{3};
    const uint64_t text = (uint64_t{header.n_descsz} + 3) & ~uint64_t{3};
    if (sizeof header + name + text > size) break;
    const uint8_t* const id = note + sizeof header + name;
    if (header.n_type == NT_GNU_BUILD_ID && header.n_namesz == 4 && std::memcmp(note + sizeof header, "GNU", 4) == 0) {
      std::string hex;
      for (uint32_t i = 0; i < header.n_descsz; ++i) {
        hex += kDigits[id[i] >> 4];
        hex += kDigits[id[i] & 15];
      }
      return hex;
    }
    note = id + text;
    size -= sizeof header + name + text;
  }
  return "";
}

}  // namespace

ElfSymbols::ElfSymbols(const std::string& path) {
  const MappedFile file(path);
  if (file.data() != nullptr) Read(file.data(), file.size());
}

void ElfSymbols::Read(const uint8_t* file, uint64_t size) {
  const auto headers = Table<Elf64_Ehdr>(file, size, 0, 1);
  if (headers.empty()) return;
  const Elf64_Ehdr& header = headers[0];
  constexpr unsigned char kOrder = std::endian::native == std::endian::little ? ELFDATA2LSB : ELFDATA2MSB;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != kOrder || header.e_phentsize != sizeof(Elf64_Phdr) ||
      (header.e_shnum > 0 && header.e_shentsize != sizeof(Elf64_Shdr))) {
    return;
  }
  for (const Elf64_Phdr& segment : Table<Elf64_Phdr>(file, size, header.e_phoff, header.e_phnum)) {
    if (segment.p_type == PT_LOAD) segments_.push_back({segment.p_offset, segment.p_vaddr, segment.p_filesz});
    if (segment.p_type == PT_NOTE && build_id_.empty() && segment.p_offset <= size &&
        segment.p_filesz <= size - segment.p_offset) {
      build_id_ = BuildIdOf(file + segment.p_offset, segment.p_filesz);
    }
  }

  const auto sections = Table<Elf64_Shdr>(file, size, header.e_shoff, header.e_shnum);
  const Elf64_Shdr* table = nullptr;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type == SHT_SYMTAB) table = &section;
    if (section.sh_type == SHT_DYNSYM && table == nullptr) table = &section;
  }
  if (table == nullptr || table->sh_link >= sections.size()) return;
  const Elf64_Shdr& names = sections[table->sh_link];
  if (names.sh_offset > size || names.sh_size > size - names.sh_offset) return;
  const char* const text = reinterpret_cast<const char*>(file + names.sh_offset);
  for (const Elf64_Sym& symbol : Table<Elf64_Sym>(file, size, table->sh_offset, table->sh_size / sizeof(Elf64_Sym))) {
    const unsigned char type = ELF64_ST_TYPE(symbol.st_info);
    if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_value == 0 || symbol.st_name >= names.sh_size)
      continue;
    const size_t length = ::strnlen(text + symbol.st_name, names.sh_size - symbol.st_name);
    symbols_.push_back({symbol.st_value, symbol.st_size, std::string(text + symbol.st_name, length)});
  }
  std::ranges::sort(symbols_, {}, &Symbol::address);
}

std::optional<std::string> ElfSymbols::At(uint64_t file_offset) const {
  for (const Segment& segment : segments_) {
    if (file_offset < segment.offset || file_offset - segment.offset >= segment.size) continue;
    const uint64_t address = segment.address + (file_offset - segment.offset);
    auto after = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
    if (after == symbols_.begin()) return std::nullopt;
    const Symbol& symbol = *std::prev(after);
    // Hand-written functions often have no size: they reach to the next.
    if (symbol.size != 0 && address - symbol.address >= symbol.size) return std::nullopt;
    return symbol.name;
  }
  return std::nullopt;
}

std::string Demangle(const std::string& name) {
  if (name.size() > kDemangleMax) return name;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                         &std::free);
  return text != nullptr && status == 0 ? std::string(text.get()) : name;
}

}  // namespace dragonfly::telemetry
