#include "hw/isa/i8237.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

// Registers of each controller, data sheet, figure 5; 0 to 7 are addresses and counts of the four channels.
enum Register : unsigned {
  kCommandOrStatus = 0x8,
  kRequest = 0x9,
  kSingleMask = 0xa,
  kMode = 0xb,
  kClearFlipFlop = 0xc,
  kMasterClear = 0xd,  // reads as the temporary register
  kClearMask = 0xe,
  kAllMask = 0xf,
};

constexpr std::uint8_t kCommandDisable = 0x04;
constexpr std::uint8_t kCommandRefused = 0xfb;  // memory to memory, compressed timing, rotating priority, polarities
constexpr unsigned kModeDecrement = 5;
constexpr unsigned kModeAutoInitialize = 4;
constexpr unsigned kModeCascade = 3;
constexpr int kNoChannel = -1;
/// Which channel a page port belongs to.
constexpr std::array<int, 16> kPageChannels = {kNoChannel, 2, 3, 1, kNoChannel, kNoChannel, kNoChannel, 0,
                                               kNoChannel, 6, 7, 5, kNoChannel, kNoChannel, kNoChannel, 4};

constexpr bool is_wide(unsigned channel) {
  return channel >= I8237::kCascade;
}

}  // namespace

I8237::I8237(memory::DmaSpace memory, Logger log)
    : memory_(memory),
      log_(std::move(log)),
      windows_{Window(*this, 0, &I8237::read_low, &I8237::write_low),
               Window(*this, 1, &I8237::read_high, &I8237::write_high),
               Window(*this, 0, &I8237::read_page, &I8237::write_page),
               Window(*this, 0, &I8237::read_high_page, &I8237::write_high_page)} {}

void I8237::reset() {
  const DeviceGuard guard(*this);
  controllers_ = {};
  page_ports_ = {};
  high_page_ports_ = {};
}

void I8237::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, I8237State{controllers_, page_ports_, high_page_ports_, lines_});
}

Result<> I8237::load(state::Reader& reader) {
  const DeviceGuard guard(*this);
  DOPPEL_ASSIGN(const auto loaded, state::load<I8237State>(reader));
  controllers_ = loaded.controllers;
  page_ports_ = loaded.page_ports;
  high_page_ports_ = loaded.high_page_ports;
  lines_ = loaded.lines;
  return {};
}

std::array<I8237::Ports, 4> I8237::ports() {
  return {{{0x00, 0x10, &windows_[0]},
           {0xc0, 0x20, &windows_[1]},
           {0x80, 0x10, &windows_[2]},
           {0x480, 0x10, &windows_[3]}}};
}

void I8237::register_channel(unsigned channel, std::function<void()> ready) {
  const DeviceGuard guard(*this);
  if (channel < kChannels) handlers_[channel] = std::move(ready);
}

void I8237::set_request(unsigned channel, bool asserted) {
  if (channel >= kChannels) return;
  bool runs = false;
  {
    const DeviceGuard guard(*this);
    lines_ = with_bit(lines_, channel, asserted);
    runs = may_run(channel);
  }
  if (runs && handlers_[channel]) handlers_[channel]();
}

bool I8237::ready(unsigned channel) {
  const DeviceGuard guard(*this);
  return channel < kChannels && may_run(channel);
}

std::uint64_t I8237::Window::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(chip_);
  const std::uint64_t reg = offset >> shift_;
  return size == 1 && reg < 16 ? (chip_.*read_)(static_cast<unsigned>(reg)) : low_mask(8 * size);
}

void I8237::Window::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const std::uint64_t reg = offset >> shift_;
  if (size != 1 || reg >= 16) return;
  {
    const DeviceGuard guard(chip_);
    (chip_.*write_)(static_cast<unsigned>(reg), static_cast<std::uint8_t>(value));
  }
  chip_.call_ready();
}

/// Tells every device whose channel may run, after a write that may have allowed it.
void I8237::call_ready() {
  std::uint8_t ready = 0;
  {
    const DeviceGuard guard(*this);
    if (lines_ == 0) return;
    for (unsigned channel = 0; channel < kChannels; ++channel) ready = with_bit(ready, channel, may_run(channel));
  }
  for (unsigned channel = 0; channel < kChannels; ++channel)
    if (test_bit(ready, channel) && handlers_[channel]) handlers_[channel]();
}

/// DREQ is up, the controller enabled, the channel neither masked nor a cascade.
bool I8237::may_run(unsigned channel) {
  const Controller& controller = controller_of(channel);
  return test_bit(lines_, channel) && (controller.command & kCommandDisable) == 0 &&
         !test_bit(controller.mask, channel % 4) && bits(channel_at(channel).mode, 7, 6) != kModeCascade;
}

void I8237::write_page(unsigned reg, std::uint8_t value) {
  page_ports_[reg] = value;
  high_page_ports_[reg] = 0;  // so that ISA software, knowing 24 bits, gets 24
  if (kPageChannels[reg] == kNoChannel) return;
  Channel& channel = channel_at(static_cast<unsigned>(kPageChannels[reg]));
  channel.page = value;
  channel.high_page = 0;
}

void I8237::write_high_page(unsigned reg, std::uint8_t value) {
  high_page_ports_[reg] = value;
  if (kPageChannels[reg] != kNoChannel) channel_at(static_cast<unsigned>(kPageChannels[reg])).high_page = value;
}

std::uint8_t I8237::read_controller(unsigned index, unsigned reg) {
  Controller& controller = controllers_[index];
  if (reg < kCommandOrStatus) return read_channel(controller, reg);
  switch (reg) {
    case kCommandOrStatus: {
      const unsigned requests = controller.requests | (lines_ >> (4 * index) & 0xfU);
      return static_cast<std::uint8_t>(requests << 4U | std::exchange(controller.terminal_counts, std::uint8_t{0}));
    }
    case kMasterClear: return 0;  // the temporary register, which only memory to memory fills
    case kAllMask: return static_cast<std::uint8_t>(0xf0 | controller.mask);
    default: log_.guest_error("read of write-only register {:#x}", reg); return 0xff;
  }
}

void I8237::write_controller(unsigned index, unsigned reg, std::uint8_t value) {
  Controller& controller = controllers_[index];
  const unsigned selected = value & 3U;
  if (reg < kCommandOrStatus) return write_channel(controller, reg, value);
  switch (reg) {
    case kCommandOrStatus: return write_command(controller, value);
    case kRequest: controller.requests = with_bit(controller.requests, selected, test_bit(value, 2)); break;
    case kSingleMask: controller.mask = with_bit(controller.mask, selected, test_bit(value, 2)); break;
    case kMode: controller.channels[selected].mode = value; break;
    case kClearFlipFlop: controller.high_byte_next = false; break;
    case kMasterClear: {
      const auto channels = controller.channels;
      controller = {};
      controller.channels = channels;
      break;
    }
    case kClearMask: controller.mask = 0; break;
    default: controller.mask = value & 0xf; break;
  }
}

void I8237::write_command(Controller& controller, std::uint8_t value) {
  if ((value & kCommandRefused) != 0) log_.guest_error("command {:#x} asks for what no PC has", value);
  controller.command = value & kCommandDisable;
}

std::uint8_t I8237::read_channel(Controller& controller, unsigned reg) {
  const Channel& channel = controller.channels[reg / 2];
  const unsigned value = reg % 2 == 0 ? channel.address : channel.count;
  const bool high = std::exchange(controller.high_byte_next, !controller.high_byte_next);
  return static_cast<std::uint8_t>(high ? value >> 8U : value);
}

/// Base and current registers are written together.
void I8237::write_channel(Controller& controller, unsigned reg, std::uint8_t value) {
  Channel& channel = controller.channels[reg / 2];
  std::uint16_t& base = reg % 2 == 0 ? channel.base_address : channel.base_count;
  std::uint16_t& current = reg % 2 == 0 ? channel.address : channel.count;
  const bool high = std::exchange(controller.high_byte_next, !controller.high_byte_next);
  base = high ? with_bits(base, 15, 8, value) : with_bits(base, 7, 0, value);
  current = high ? with_bits(current, 15, 8, value) : with_bits(current, 7, 0, value);
}

/// A wide channel counts words: its address is shifted up and page bit 0 is not used.
memory::GuestPhysAddr I8237::physical(unsigned channel) {
  const Channel& c = channel_at(channel);
  const std::uint64_t high = std::uint64_t{c.high_page} << 24U;
  if (is_wide(channel)) return {high | (std::uint64_t{c.page} & 0xfe) << 16U | std::uint64_t{c.address} << 1U};
  return {high | std::uint64_t{c.page} << 16U | c.address};
}

Result<I8237::Transfer> I8237::to_memory(unsigned channel, std::span<const std::byte> data) {
  const DeviceGuard guard(*this);
  return transfer(channel, Kind::kToMemory, data.size(),
                  [&](memory::GuestPhysAddr address, std::size_t at, std::size_t n) {
                    return memory_.write(address, data.subspan(at, n));
                  });
}

Result<I8237::Transfer> I8237::from_memory(unsigned channel, std::span<std::byte> out) {
  const DeviceGuard guard(*this);
  return transfer(channel, Kind::kFromMemory, out.size(),
                  [&](memory::GuestPhysAddr address, std::size_t at, std::size_t n) {
                    return memory_.read(address, out.subspan(at, n));
                  });
}

/// Moves runs that neither cross the 16-bit address's end nor the terminal count; downwards each unit is a run.
Result<I8237::Transfer> I8237::transfer(
    unsigned channel, Kind kind, std::size_t size,
    const std::function<Result<>(memory::GuestPhysAddr, std::size_t at, std::size_t n)>& move) {
  if (channel >= kChannels) return fail(ErrorKind::kInvalidArgument, "there is no DMA channel {}", channel);
  const Channel& c = channel_at(channel);
  if ((controller_of(channel).command & kCommandDisable) != 0 || test_bit(controller_of(channel).mask, channel % 4))
    return Transfer{};
  const auto programmed = static_cast<Kind>(bits(c.mode, 3, 2));
  if (bits(c.mode, 7, 6) == kModeCascade || (programmed != kind && programmed != Kind::kVerify))
    return fail(ErrorKind::kInvalidArgument, "DMA channel {} is programmed for another direction (mode {:#x})", channel,
                c.mode);

  const std::size_t unit = is_wide(channel) ? 2 : 1;
  std::size_t left = size / unit;
  Transfer result;
  while (left > 0 && !result.terminal_count) {
    const std::size_t to_wrap = test_bit(c.mode, kModeDecrement) ? 1 : 0x10000U - c.address;
    const std::size_t units = std::min({left, to_wrap, std::size_t{c.count} + 1});
    if (programmed != Kind::kVerify) DOPPEL_TRY(move(physical(channel), result.bytes, units * unit));
    result.bytes += units * unit;
    left -= units;
    result.terminal_count = advance(channel, static_cast<std::uint32_t>(units));
  }
  return result;
}

/// Counts UNITS, at most those left. Returns whether this was the terminal count.
bool I8237::advance(unsigned channel, std::uint32_t units) {
  Channel& c = channel_at(channel);
  const auto step = static_cast<std::uint16_t>(units);
  c.address = static_cast<std::uint16_t>(test_bit(c.mode, kModeDecrement) ? c.address - step : c.address + step);
  const bool terminal = units == std::uint32_t{c.count} + 1;
  c.count = static_cast<std::uint16_t>(c.count - step);
  if (!terminal) return false;
  Controller& controller = controller_of(channel);
  const unsigned index = channel % 4;
  controller.terminal_counts |= bit<std::uint8_t>(index);
  controller.requests = with_bit(controller.requests, index, false);
  if (test_bit(c.mode, kModeAutoInitialize)) {
    c.address = c.base_address;
    c.count = c.base_count;
  } else {
    controller.mask |= bit<std::uint8_t>(index);
  }
  return true;
}

}  // namespace doppel::hw
