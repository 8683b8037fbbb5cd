#include "hw/ide/identify_data.h"

#include "base/endian.h"

namespace doppel::hw {

void IdentifyData::set32(unsigned word, std::uint32_t value) {
  for (unsigned i = 0; i < 2; ++i) set(word + i, static_cast<std::uint16_t>(value >> (16 * i)));
}

void IdentifyData::set64(unsigned word, std::uint64_t value) {
  for (unsigned i = 0; i < 4; ++i) set(word + i, static_cast<std::uint16_t>(value >> (16 * i)));
}

void IdentifyData::set_text(unsigned word, unsigned words, std::string_view text) {
  const auto character = [&](std::size_t index) {
    return static_cast<std::uint8_t>(index < text.size() ? text[index] : ' ');
  };
  for (unsigned i = 0; i < words; ++i)
    set(word + i, static_cast<std::uint16_t>(character(2UL * i) << 8U | character(2UL * i + 1)));
}

void IdentifyData::set_dma_modes(std::uint8_t mode) {
  constexpr unsigned kMultiword = 0x20;
  constexpr unsigned kUltra = 0x40;
  const auto chosen = [&](unsigned family) { return (mode & 0xf8U) == family ? 0x100U << (mode & 7U) : 0U; };
  set(63, static_cast<std::uint16_t>(0x07U | chosen(kMultiword)));
  set(88, static_cast<std::uint16_t>(0x3fU | chosen(kUltra)));
}

IdentifyData::Bytes IdentifyData::bytes() const {
  constexpr std::uint8_t kChecksumFollows = 0xa5;
  Bytes bytes{};
  for (std::size_t i = 0; i < words_.size(); ++i) store_le(bytes.data() + 2 * i, words_[i]);
  bytes[510] = std::byte{kChecksumFollows};
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
  bytes[511] = static_cast<std::byte>(0x100 - (sum & 0xffU));
  return bytes;
}

}  // namespace doppel::hw
