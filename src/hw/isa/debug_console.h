// isa-debugcon: a port that prints what is written to it, known from Bochs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "base/log.h"
#include "chardev/chardev.h"
#include "hw/core/device.h"
#include "hw/core/property.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct DebugConsoleConfig {
  std::uint32_t iobase = 0xe9;
  std::uint32_t readback = 0xe9;
  std::string chardev;  // the backend's id
};

inline const PropertyTable<DebugConsoleConfig> kDebugConsoleProperties = {
    {"iobase", &DebugConsoleConfig::iobase, "I/O port"},
    {"readback", &DebugConsoleConfig::readback, "what the port reads as, for guests that look whether it is there"},
    {"chardev", &DebugConsoleConfig::chardev, "where the text goes"},
};

/// Text the backend cannot take at once waits, up to kMaxPending bytes; what comes then is dropped. Nothing is saved:
/// there is nothing the guest could see.
/// Created and destroyed on the loop's thread.
class DebugConsole final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 1;
  static constexpr memory::IoSizes kIoSizes{1, 1};
  static constexpr std::size_t kMaxPending = 1U << 20U;

  /// BACKEND may be nullptr; else it outlives the device.
  DebugConsole(DebugConsoleConfig config, chardev::Chardev* backend, Logger log = {});
  ~DebugConsole() override;

  [[nodiscard]] std::string_view name() const override { return "isa-debugcon"; }
  void reset() override {}

  [[nodiscard]] std::uint32_t port() const { return config_.iobase; }
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  void flush();

  const DebugConsoleConfig config_;
  chardev::Chardev* const backend_;
  Logger log_;
  std::deque<std::byte> pending_;
  bool dropping_ = false;
};

}  // namespace doppel::hw
