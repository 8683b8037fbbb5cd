// Intel's ICH9 serial ATA controller in AHCI mode: 8086:2922 (316972-004 chapter 16, Serial ATA AHCI 1.3.1).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "hw/ahci/ahci_port.h"
#include "hw/disk/disk_queue.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

class Ahci final : public PciFunction {
 public:
  static constexpr unsigned kPorts = 6;

  static Result<std::unique_ptr<Ahci>> create(const PciServices& services);
  ~Ahci() override;

  [[nodiscard]] std::string_view name() const override { return "ich9-ahci"; }
  /// INDEX is below kPorts.
  [[nodiscard]] AhciPort& port(unsigned index) { return *ports_.at(index); }

  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;

 private:
  explicit Ahci(const PciServices& services);
  [[nodiscard]] std::uint64_t read_register(std::uint64_t offset);
  void write_register(std::uint64_t offset, std::uint32_t value);
  /// A port's or the adapter's own interrupt registers changed.
  void update_interrupt();
  /// Tells the guest of what there is, again: by a message, or by the pin.
  void signal();

  DiskQueue queue_{*this};
  std::array<std::unique_ptr<AhciPort>, kPorts> ports_;
  IoFunction registers_;
  std::uint32_t control_ = 0;
  std::uint32_t interrupts_ = 0;  // IS
};

}  // namespace doppel::hw
