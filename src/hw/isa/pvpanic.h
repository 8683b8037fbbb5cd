// pvpanic: a port through which a guest's kernel reports that it has crashed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/core/property.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// Bits of the port. A guest reads which of them it may write.
enum class PvpanicEvent : std::uint8_t {
  kPanicked = 1,     // crashed for good
  kCrashLoaded = 2,  // crashed, and its own crash kernel takes over
};

struct PvpanicConfig {
  std::uint16_t ioport = 0x505;
  std::uint8_t events = 3;
};

inline const PropertyTable<PvpanicConfig> kPvpanicProperties = {
    {"ioport", &PvpanicConfig::ioport, "I/O port"},
    {"events", &PvpanicConfig::events, "events offered to the guest: 1 panicked, 2 crash kernel loaded"},
};

class Pvpanic final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kPorts = 1;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// Called on the thread of the access, with no lock held; a panic comes before a loaded crash kernel.
  using Report = std::function<void(PvpanicEvent)>;

  Pvpanic(const PvpanicConfig& config, Report report, Logger log = {});

  [[nodiscard]] std::string_view name() const override { return "pvpanic"; }
  void reset() override {}

  [[nodiscard]] std::uint16_t port() const { return config_.ioport; }
  [[nodiscard]] std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return config_.events; }
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  const PvpanicConfig config_;
  const Report report_;
  const Logger log_;
};

}  // namespace doppel::hw
