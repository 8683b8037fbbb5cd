// The 256 words with which a drive describes itself: ATA8-ACS sections 7.16 and 7.17.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hw/ide/ata_registers.h"

namespace doppel::hw {

class IdentifyData {
 public:
  using Bytes = std::array<std::byte, ata::kSectorSize>;

  void set(unsigned word, std::uint16_t value) { words_[word] = value; }
  /// A number of two or four words, the lowest first.
  void set32(unsigned word, std::uint32_t value);
  void set64(unsigned word, std::uint64_t value);
  /// TEXT, filled up with blanks; the first of two characters is in the upper byte.
  void set_text(unsigned word, unsigned words, std::string_view text);
  /// Words 63 and 88: multiword DMA 0 to 2 and Ultra DMA 0 to 5 can be had, MODE (SET FEATURES' number) is chosen.
  void set_dma_modes(std::uint8_t mode);

  /// As they come over the data port, with word 255's checksum.
  [[nodiscard]] Bytes bytes() const;

 private:
  std::array<std::uint16_t, 256> words_{};
};

}  // namespace doppel::hw
