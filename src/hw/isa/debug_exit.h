// isa-debug-exit: a port through which a guest ends the program, for test suites.
#pragma once

#include <cstdint>
#include <functional>

#include "hw/core/device.h"
#include "hw/core/property.h"
#include "memory/io_handler.h"

namespace doppel::hw {

struct DebugExitConfig {
  std::uint32_t iobase = 0x501;
  std::uint32_t iosize = 2;
};

inline const PropertyTable<DebugExitConfig> kDebugExitProperties = {
    {"iobase", &DebugExitConfig::iobase, "first I/O port"},
    {"iosize", &DebugExitConfig::iosize, "ports taken, in bytes"},
};

/// Writing V ends the program with status (V << 1) | 1: never 0, so that it cannot be mistaken for a plain shutdown.
class DebugExit final : public Device, public memory::IoHandler {
 public:
  static constexpr memory::IoSizes kIoSizes{1, 4};

  /// Called on the thread of the access, with no lock held; it asks the main thread to end things.
  using Exit = std::function<void(int status)>;

  DebugExit(const DebugExitConfig& config, Exit exit) : config_(config), exit_(std::move(exit)) {}

  [[nodiscard]] std::string_view name() const override { return "isa-debug-exit"; }
  void reset() override {}

  [[nodiscard]] std::uint32_t port() const { return config_.iobase; }
  [[nodiscard]] std::uint32_t ports() const { return config_.iosize; }
  [[nodiscard]] std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return 0; }
  void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) override {
    if (exit_) exit_(static_cast<int>(static_cast<std::uint32_t>(value << 1U | 1U)));
  }

 private:
  const DebugExitConfig config_;
  const Exit exit_;
};

}  // namespace doppel::hw
