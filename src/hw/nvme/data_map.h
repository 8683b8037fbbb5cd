// Where a command's data is in guest memory: PRP entries and lists, and scatter gather lists (NVM Express base
// specification 1.4, sections 4.3 and 4.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hw/nvme/nvme_commands.h"
#include "memory/dma.h"

namespace doppel::hw::nvme {

class DataMap {
 public:
  /// Finds LENGTH bytes; PAGE_SHIFT is of CC.MPS. Lists are read from guest memory here, once; a hostile one costs no
  /// more than a list for the most data would. What the entries point to is looked at only when data moves.
  static std::expected<DataMap, Status> create(const memory::DmaSpace& memory, const Command& command,
                                               std::uint64_t length, unsigned page_shift);

  [[nodiscard]] std::uint64_t length() const { return length_; }
  /// DATA has length() bytes. Data goes as far as there is memory.
  Result<> to_guest(const memory::DmaSpace& memory, std::span<const std::byte> data) const;
  Result<> from_guest(const memory::DmaSpace& memory, std::span<std::byte> data) const;
  /// The memory itself. Nothing: part of it is none, or is a bit bucket.
  [[nodiscard]] std::shared_ptr<const memory::DmaMappings> lend(const memory::DmaSpace& memory,
                                                                memory::DmaSpace::Access access) const;

 private:
  struct Piece {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    bool discarded = false;  // a bit bucket: what is read does not go anywhere
  };
  class SglReader;

  Status add_prps(const memory::DmaSpace& memory, const Command& command, unsigned page_shift);
  Status add_prp_list(const memory::DmaSpace& memory, std::uint64_t list, std::uint64_t page);
  Status add_sgl(const memory::DmaSpace& memory, const Command& command);
  void add(const Piece& piece);
  [[nodiscard]] std::uint64_t missing() const { return length_ - found_; }

  std::uint64_t length_ = 0;
  std::uint64_t found_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace doppel::hw::nvme
