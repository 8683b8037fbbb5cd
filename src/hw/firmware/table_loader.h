// The script "etc/table-loader": tells firmware where to put tables it cannot know the shape of, and how to link them
// (the fw_cfg linker/loader of SeaBIOS romfile_loader.h and OVMF QemuLoader.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hw/firmware/blob.h"
#include "memory/dma.h"

namespace doppel::hw {

/// Where firmware allocates a file: any memory below 4 GiB, or the F segment (where RSDP and SMBIOS anchor are sought).
enum class TableZone : std::uint8_t { kHigh = 1, kFSegment = 2 };

enum class TableCommandKind : std::uint32_t { kAllocate = 1, kAddPointer = 2, kAddChecksum = 3, kWritePointer = 4 };

/// One command; which fields count depends on the kind.
struct TableCommand {
  TableCommandKind kind = TableCommandKind::kAllocate;
  std::string file{};        // the file allocated, patched or summed
  std::string source{};      // pointers: the file pointed to
  std::uint32_t offset = 0;  // of the pointer or the checksum, in FILE
  std::uint32_t start = 0;   // checksum: first byte; write-pointer: offset in SOURCE
  std::uint32_t length = 0;  // checksum: bytes summed; allocate: alignment
  std::uint8_t size = 0;     // pointer: 1, 2, 4 or 8 bytes
  TableZone zone = TableZone::kHigh;
};

using TableFiles = std::map<std::string, Bytes, std::less<>>;

/// Collects commands in the order firmware runs them; every file is allocated before anything names it.
class TableLoader {
 public:
  void allocate(std::string_view file, std::uint32_t alignment, TableZone zone);
  /// FILE[OFFSET, SIZE bytes] holds an offset into SOURCE; firmware adds SOURCE's address.
  void add_pointer(std::string_view file, std::uint32_t offset, std::uint8_t size, std::string_view source);
  /// FILE[OFFSET] becomes the byte that makes FILE[START, LENGTH] sum to zero.
  void add_checksum(std::string_view file, std::uint32_t offset, std::uint32_t start, std::uint32_t length);
  /// Firmware writes SOURCE's address plus SOURCE_OFFSET back to the writable fw_cfg file FILE at OFFSET.
  void write_pointer(std::string_view file, std::uint32_t offset, std::uint8_t size, std::string_view source,
                     std::uint32_t source_offset);

  [[nodiscard]] const std::vector<TableCommand>& commands() const { return commands_; }
  /// The contents of "etc/table-loader": 128 bytes a command.
  [[nodiscard]] Bytes encode() const;

  /// Does what firmware would do, for guests booted without one: PLACE chooses each file's address. The linked files
  /// remain in FILES; the addresses are returned by name.
  using Placer = std::function<Result<std::uint64_t>(std::string_view file, std::uint64_t size, const TableCommand&)>;
  Result<std::map<std::string, std::uint64_t, std::less<>>> link(TableFiles& files, const Placer& place) const;

 private:
  std::vector<TableCommand> commands_;
};

inline constexpr std::size_t kTableCommandSize = 128;

}  // namespace doppel::hw
