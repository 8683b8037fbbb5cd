#include "hw/ide/bus_master.h"

#include <algorithm>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::hw {

namespace {

// Offsets into a channel's ports.
constexpr unsigned kCommand = 0;  // BMICX
constexpr unsigned kStatus = 2;   // BMISX
constexpr unsigned kTable = 4;    // BMIDTPX, four bytes

constexpr std::uint8_t kStart = 0x01;
constexpr std::uint8_t kToMemory = 0x08;
constexpr std::uint8_t kCommandWritable = kStart | kToMemory;

constexpr std::uint8_t kActive = 0x01;
constexpr std::uint8_t kError = 0x02;
constexpr std::uint8_t kInterrupt = 0x04;
constexpr std::uint8_t kDrivesCapable = 0x60;  // firmware's notes
constexpr std::uint8_t kClearable = kError | kInterrupt;

constexpr std::uint16_t kEndOfTable = 0x8000;

/// Physical region descriptor: an even address and an even size, of which 0 stands for 64 KiB.
struct RegionDescriptor {
  Le32 address;
  Le16 size;
  Le16 flags;
};

}  // namespace

bool BusMaster::active() const {
  return (state_.status & kActive) != 0;
}

std::uint8_t BusMaster::read(unsigned offset) const {
  switch (offset) {
    case kCommand: return state_.command;
    case kStatus: return state_.status;
    default:
      return offset >= kTable && offset < kPorts ? static_cast<std::uint8_t>(state_.table >> 8 * (offset - kTable)) : 0;
  }
}

void BusMaster::write(unsigned offset, std::uint8_t value) {
  if (offset == kCommand) {
    const std::uint8_t before = std::exchange(state_.command, value & kCommandWritable);
    if ((value & kStart) == 0)
      state_.status = static_cast<std::uint8_t>(state_.status & ~kActive);
    else if ((before & kStart) == 0)
      start();
  } else if (offset == kStatus) {
    state_.status =
        static_cast<std::uint8_t>((state_.status & ~(value & kClearable) & ~kDrivesCapable) | (value & kDrivesCapable));
  } else if (offset >= kTable && offset < kPorts) {
    const unsigned low = 8 * (offset - kTable);
    state_.table = with_bits<std::uint32_t>(state_.table, low + 7, low, value) & ~3U;
  }
}

void BusMaster::start() {
  state_.status |= kActive;
  state_.next_entry = state_.table;
  state_.rest = 0;
  state_.last = false;
}

void BusMaster::run(IdeDrive& drive) {
  if (!active() || drive.dma_window().empty()) return;
  const auto memory = dma_();
  if (!memory) return stop_at_error(memory.error());
  while (active()) {
    const std::span<std::byte> window = drive.dma_window();
    if (window.empty()) return;
    if (state_.rest == 0)
      if (const auto found = next_region(*memory); !found) return stop_at_error(found.error());
    const std::size_t size = std::min<std::size_t>(window.size(), state_.rest);
    if (const auto moved = move(*memory, window.first(size), drive.dma_to_memory()); !moved)
      return stop_at_error(moved.error());
    // Before the drive can end its command: by then the guest is to find the controller inactive.
    if (state_.rest == 0 && state_.last) state_.status = static_cast<std::uint8_t>(state_.status & ~kActive);
    drive.dma_moved(size);
  }
}

Result<> BusMaster::next_region(const memory::DmaSpace& memory) {
  constexpr std::uint32_t kSizes = 0xfffe;
  DOPPEL_ASSIGN(const auto entry, memory.read<RegionDescriptor>({state_.next_entry}));
  state_.next_entry += sizeof entry;
  state_.address = entry.address & ~1U;
  state_.rest = entry.size & kSizes;
  if (state_.rest == 0) state_.rest = 64 * kKiB;
  state_.last = (entry.flags & kEndOfTable) != 0;
  return {};
}

Result<> BusMaster::move(const memory::DmaSpace& memory, std::span<std::byte> bytes, bool to_memory) {
  const memory::GuestPhysAddr at{state_.address};
  if (to_memory)
    DOPPEL_TRY(memory.write(at, bytes));
  else
    DOPPEL_TRY(memory.read(at, bytes));
  state_.address += static_cast<std::uint32_t>(bytes.size());
  state_.rest -= static_cast<std::uint32_t>(bytes.size());
  return {};
}

void BusMaster::stop_at_error(const Error& error) {
  log_.guest_error("the bus master stops: {}", error.describe());
  state_.status = static_cast<std::uint8_t>((state_.status & ~kActive) | kError);
}

void BusMaster::interrupt_rose() {
  state_.status |= kInterrupt;
}

void BusMaster::load(const BusMasterState& saved) {
  state_ = saved;
  state_.command &= kCommandWritable;
  state_.status &= kActive | kError | kInterrupt | kDrivesCapable;
  state_.table &= ~3U;
  state_.rest = std::min<std::uint32_t>(saved.rest, 64 * kKiB);
}

}  // namespace doppel::hw
