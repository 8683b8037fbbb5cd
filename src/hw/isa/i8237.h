// The PC's two cascaded Intel 8237A DMA controllers and their page registers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "hw/core/device.h"
#include "memory/dma.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct I8237ChannelState {
  std::uint16_t base_address = 0;
  std::uint16_t base_count = 0;
  std::uint16_t address = 0;
  std::uint16_t count = 0;  // transfers left, less one
  std::uint8_t mode = 0;
  std::uint8_t page = 0;       // address bits 23-16
  std::uint8_t high_page = 0;  // address bits 31-24

  void describe(auto& fields) {
    fields("base_address", base_address);
    fields("base_count", base_count);
    fields("address", address);
    fields("count", count);
    fields("mode", mode);
    fields("page", page);
    fields("high_page", high_page);
  }
};

struct I8237ControllerState {
  std::uint8_t command = 0;
  std::uint8_t terminal_counts = 0;  // one bit per channel, as are the following
  std::uint8_t requests = 0;         // by software
  std::uint8_t mask = 0x0f;
  bool high_byte_next = false;  // the flip-flop
  std::array<I8237ChannelState, 4> channels;

  void describe(auto& fields) {
    fields("command", command);
    fields("terminal_counts", terminal_counts);
    fields("requests", requests);
    fields("mask", mask);
    fields("high_byte_next", high_byte_next);
    fields("channels", channels);
  }
};

struct I8237State {
  static constexpr std::string_view kName = "i8237";
  static constexpr std::uint32_t kVersion = 1;
  std::array<I8237ControllerState, 2> controllers;
  std::array<std::uint8_t, 16> page_ports{};
  std::array<std::uint8_t, 16> high_page_ports{};
  std::uint8_t lines = 0;  // DREQ of channels 7 to 0

  void describe(auto& fields) {
    fields("controllers", controllers);
    fields("page_ports", page_ports);
    fields("high_page_ports", high_page_ports);
    fields("lines", lines);
  }
};

/// Channels 0 to 3 move bytes, 5 to 7 words; 4 is the cascade. The chip moves nothing by itself: a device with DREQ up
/// is told when its channel may run, and then moves as much as it likes with to_memory() or from_memory(). Memory to
/// memory, which no PC has wired up, is refused, and so are the odd timings and polarities of the command register.
class I8237 final : public Device {
 public:
  static constexpr unsigned kChannels = 8;
  static constexpr unsigned kCascade = 4;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// One of the chip's port ranges, for the machine to put on the bus.
  struct Ports {
    std::uint16_t port;
    std::uint16_t size;
    memory::IoHandler* handler;
  };

  struct Transfer {
    std::size_t bytes = 0;        // moved
    bool terminal_count = false;  // TC came with the last of them; nothing was moved after it
  };

  explicit I8237(memory::DmaSpace memory, Logger log = {});

  [[nodiscard]] std::string_view name() const override { return "i8237"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  /// 00h-0fh, c0h-dfh, the page registers 80h-8fh (80h itself is a POST code port, which may lie over it) and, for
  /// boards with 32-bit DMA, the high pages 480h-48fh.
  [[nodiscard]] std::array<Ports, 4> ports();

  /// For devices; call with no lock held.
  /// READY is called, with no lock held, when CHANNEL may run: DREQ is up and the guest lets it. Before attaching.
  void register_channel(unsigned channel, std::function<void()> ready);
  /// Raises or drops DREQ.
  void set_request(unsigned channel, bool asserted);
  /// Would a transfer move anything now?
  [[nodiscard]] bool ready(unsigned channel);
  /// Moves up to a whole buffer, stopping at terminal count. A masked channel moves nothing; a channel programmed for
  /// the other direction is kInvalidArgument, memory that is none kOutOfRange. Verify transfers count but move nothing.
  Result<Transfer> to_memory(unsigned channel, std::span<const std::byte> data);
  Result<Transfer> from_memory(unsigned channel, std::span<std::byte> out);

 private:
  using Channel = I8237ChannelState;
  using Controller = I8237ControllerState;
  enum class Kind : std::uint8_t { kVerify = 0, kToMemory = 1, kFromMemory = 2, kIllegal = 3 };

  /// A port range as the bus sees it.
  class Window final : public memory::IoHandler {
   public:
    using Read = std::uint8_t (I8237::*)(unsigned reg);
    using Write = void (I8237::*)(unsigned reg, std::uint8_t value);
    Window(I8237& chip, unsigned shift, Read reader, Write writer)
        : chip_(chip), shift_(shift), read_(reader), write_(writer) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I8237& chip_;
    const unsigned shift_;
    const Read read_;
    const Write write_;
  };

  [[nodiscard]] Controller& controller_of(unsigned channel) { return controllers_[channel / 4]; }
  [[nodiscard]] Channel& channel_at(unsigned channel) { return controllers_[channel / 4].channels[channel % 4]; }
  [[nodiscard]] bool may_run(unsigned channel);

  std::uint8_t read_low(unsigned reg) { return read_controller(0, reg); }
  std::uint8_t read_high(unsigned reg) { return read_controller(1, reg); }
  std::uint8_t read_page(unsigned reg) { return page_ports_[reg]; }
  std::uint8_t read_high_page(unsigned reg) { return high_page_ports_[reg]; }
  void write_low(unsigned reg, std::uint8_t value) { write_controller(0, reg, value); }
  void write_high(unsigned reg, std::uint8_t value) { write_controller(1, reg, value); }
  void write_page(unsigned reg, std::uint8_t value);
  void write_high_page(unsigned reg, std::uint8_t value);
  std::uint8_t read_controller(unsigned index, unsigned reg);
  void write_controller(unsigned index, unsigned reg, std::uint8_t value);
  void write_command(Controller& controller, std::uint8_t value);
  std::uint8_t read_channel(Controller& controller, unsigned reg);
  static void write_channel(Controller& controller, unsigned reg, std::uint8_t value);

  [[nodiscard]] memory::GuestPhysAddr physical(unsigned channel);
  Result<Transfer> transfer(unsigned channel, Kind kind, std::size_t size,
                            const std::function<Result<>(memory::GuestPhysAddr, std::size_t at, std::size_t n)>& move);
  bool advance(unsigned channel, std::uint32_t units);
  void call_ready();

  const memory::DmaSpace memory_;
  Logger log_;
  std::array<Controller, 2> controllers_;
  std::array<std::uint8_t, 16> page_ports_{};
  std::array<std::uint8_t, 16> high_page_ports_{};
  std::uint8_t lines_ = 0;
  std::array<std::function<void()>, kChannels> handlers_;  // fixed before the chip is attached
  std::array<Window, 4> windows_;
};

}  // namespace doppel::hw
