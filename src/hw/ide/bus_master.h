// The PIIX's bus master for one IDE channel: 290550-002 sections 2.6 and 3.4; SFF-8038i.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "hw/ide/ide_drive.h"
#include "memory/dma.h"

namespace doppel::hw {

/// Moves a drive's data to and from guest memory, as a table of physical regions says. It stops where the table ends,
/// where there is no memory, and when the guest clears the start bit; then the drive waits, as a real one does, until
/// it is reset. Guarded by its function's lock.
class BusMaster {
 public:
  static constexpr unsigned kPorts = 8;
  /// Guest memory, while the function may be a bus master.
  using Dma = std::function<Result<memory::DmaSpace>()>;

  BusMaster(Dma dma, Logger log) : dma_(std::move(dma)), log_(std::move(log)) {}

  [[nodiscard]] std::uint8_t read(unsigned offset) const;
  void write(unsigned offset, std::uint8_t value);

  /// Moves what DRIVE has to move now.
  void run(IdeDrive& drive);
  /// The drive's interrupt line went up.
  void interrupt_rose();

  void reset() { state_ = {}; }
  [[nodiscard]] const BusMasterState& save() const { return state_; }
  void load(const BusMasterState& saved);

 private:
  [[nodiscard]] bool active() const;
  void start();
  void stop_at_error(const Error& error);
  /// The table's next region.
  Result<> next_region(const memory::DmaSpace& memory);
  Result<> move(const memory::DmaSpace& memory, std::span<std::byte> bytes, bool to_memory);

  const Dma dma_;
  const Logger log_;
  BusMasterState state_;
};

}  // namespace doppel::hw
