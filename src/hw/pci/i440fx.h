// The 82441FX host bridge (Intel 440FX PCIset, 290549-001): what of RAM and PCI the processor sees where.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "hw/pci/pci_function.h"
#include "memory/address_space.h"
#include "memory/region.h"

namespace doppel::hw {

/// What the processor's memory space is made of.
struct I440fxMemory {
  memory::RegionPtr system;    // the container to fill: the processor's view
  memory::RegionPtr ram;       // all of the machine's RAM, from offset 0, in no container
  memory::RegionPtr low_ram;   // a kRam region over its first part, at least 1 MiB
  std::uint64_t below_4g = 0;  // bytes of it at address 0, at least 1 MiB
  std::uint64_t above_4g = 0;  // and the rest, at 4 GiB
  memory::RegionPtr pci;       // the root bus's memory container; shows wherever RAM does not
};

/// Lays out SYSTEM:
///   00000-9FFFF          RAM
///   A0000-BFFFF          PCI (VGA), or RAM while SMRAM is open to all
///   C0000-FFFFF          thirteen PAM segments: PCI, read-only RAM, RAM, or PCI for reading and RAM for writing
///   1 MiB-below_4g       RAM
///   4 GiB and up         RAM
///   everywhere else      PCI, which lies below all of it (priority -1)
/// The machine adds to SYSTEM itself only what lies above PCI, such as local APIC and firmware tables.
///
/// A write to PAM or SMRAM changes the map at once, in one Transaction, under this function's lock.
class I440fx final : public PciFunction {
 public:
  static Result<std::unique_ptr<I440fx>> create(const PciServices& services, const I440fxMemory& memory);

  [[nodiscard]] std::string_view name() const override { return "i440FX"; }

  /// What a processor in system management mode sees over SYSTEM: a container with RAM at A0000-BFFFF while SMRAM is
  /// enabled. Whoever builds that view gives it the higher priority.
  [[nodiscard]] const memory::RegionPtr& smram() const { return smram_; }

  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;

 private:
  enum class PamMode : std::uint8_t { kPci, kReadRam, kWriteRam, kRam };  // bits WE, RE

  /// Takes the writes of a write-only segment to RAM; reads, where no ROM answers them, from PCI.
  class ShadowPort final : public memory::IoHandler {
   public:
    void attach(I440fx& bridge, std::uint64_t base) { bridge_ = &bridge, base_ = base; }
    /// What offset of the region in use stands for the segment's first byte.
    void set_origin(std::uint64_t origin) { origin_.store(origin, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    I440fx* bridge_ = nullptr;
    std::uint64_t base_ = 0;
    std::atomic<std::uint64_t> origin_{0};
  };
  struct Segment {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    PamMode mode = PamMode::kPci;
    memory::RegionPtr read_ram;  // kReadRam
    memory::RegionPtr ram;       // kRam
    memory::RegionPtr shadow;    // kWriteRam, made anew each time
    ShadowPort port;
  };
  static constexpr unsigned kSegments = 13;

  I440fx(const PciServices& services, const I440fxMemory& memory);

  void define_registers();
  void build_memory();
  void build_segments();
  [[nodiscard]] PamMode pam_mode(unsigned segment) const;
  void update_memory();
  void set_mode(Segment& segment, PamMode mode);
  [[nodiscard]] memory::RegionPtr make_shadow(Segment& segment);
  void smram_written();
  void update_smram();
  void write_ram(std::uint64_t address, unsigned size, std::uint64_t value);
  [[nodiscard]] memory::AddressSpace& pci_space();

  const I440fxMemory memory_;
  memory::RegionPtr pam_ram_;  // C0000-FFFFF of RAM, read-only
  memory::RegionPtr open_smram_;
  memory::RegionPtr smram_;
  std::array<Segment, kSegments> segments_;
  std::uint8_t smram_register_ = 0;                  // as last in force, for its lock
  std::unique_ptr<memory::AddressSpace> pci_space_;  // made when a segment first becomes write-only
};

}  // namespace doppel::hw
