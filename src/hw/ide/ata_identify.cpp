// IDENTIFY DEVICE: what a disk says of itself, word by word as in ATA8-ACS section 7.16.
#include <algorithm>
#include <initializer_list>
#include <utility>

#include "hw/ide/ata_drive.h"

namespace doppel::hw {

void AtaDrive::identify() {
  offer_bytes(IdePhase::kPioIn, describe().bytes());
  raise_interrupt();
}

void AtaDrive::describe_serial(IdentifyData& data) {
  data.set(75, 31);       // queued commands, less one
  data.set(76, 0x010e);   // queued commands; 1.5, 3 and 6 Gbit/s
  data.set(222, 0x103f);  // serial, up to SATA 3.0
}

IdentifyData AtaDrive::describe() const {
  const auto with = [](unsigned bits, std::initializer_list<std::pair<unsigned, bool>> switches) {
    for (const auto& [bit, on] : switches) bits |= on ? 1U << bit : 0U;
    return static_cast<std::uint16_t>(bits);
  };
  const bool has_wwn = config_.wwn != 0;
  const bool serial = transport() == AtaTransport::kSerial;
  const std::uint64_t total = sectors();
  IdentifyData data;
  data.set(0, 0x0040);  // fixed, not ATAPI
  data.set(1, static_cast<std::uint16_t>(geometry_.cylinders));
  data.set(3, static_cast<std::uint16_t>(geometry_.heads));
  data.set(6, static_cast<std::uint16_t>(geometry_.sectors));
  data.set_text(10, 10, config_.serial);
  data.set_text(23, 4, config_.ver);
  data.set_text(27, 20, config_.model);
  data.set(47, 0x8000 | kMostMultiple);
  data.set(49, 0x2b00);  // standard standby timers, IORDY, LBA, DMA
  data.set(50, 0x4000);
  data.set(51, 0x0200);
  data.set(53, 0x0007);  // words 54-58, 64-70 and 88 are valid
  data.set(54, static_cast<std::uint16_t>(addressing_.cylinders));
  data.set(55, static_cast<std::uint16_t>(addressing_.heads));
  data.set(56, static_cast<std::uint16_t>(addressing_.sectors));
  data.set32(57, addressing_.cylinders * addressing_.heads * addressing_.sectors);
  data.set(59, multiple_ != 0 ? 0x0100 | multiple_ : 0);
  data.set32(60, static_cast<std::uint32_t>(std::min(total, kMostSectors28)));
  data.set_dma_modes(transfer_mode_);
  data.set(64, 0x0003);                                              // PIO modes 3 and 4
  for (unsigned word = 65; word <= 68; ++word) data.set(word, 120);  // cycle times, ns
  data.set(80, 0x01f0);                                              // ATA/ATAPI-4 to ATA8-ACS
  data.set(82, 0x4069);                                     // NOP, look-ahead, write cache, power management, SMART
  data.set(83, 0x7400);                                     // FLUSH CACHE [EXT], 48-bit addresses
  data.set(84, with(0x4040, {{8, has_wwn}, {5, serial}}));  // FUA, world wide name, logs
  data.set(85, with(0x4008, {{6, read_ahead_}, {5, write_cache_}, {0, smart_}}));
  data.set(86, 0x3400);
  data.set(87, with(0x4040, {{8, has_wwn}, {5, serial}}));
  if (serial)
    describe_serial(data);
  else
    data.set(93, 0x6001);  // an 80-conductor cable
  data.set64(100, total);
  data.set(105, kMostTrimBlocks);
  data.set(106, 0x4000);  // one logical sector in a physical one
  // The world wide name has its highest word first.
  for (unsigned i = 0; i < 4; ++i) data.set(108 + i, static_cast<std::uint16_t>(config_.wwn >> (48 - 16 * i)));
  data.set(169, disk()->read_only() ? 0 : 1);  // TRIM
  data.set(217, config_.rotation_rate);
  return data;
}

}  // namespace doppel::hw
