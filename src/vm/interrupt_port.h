// The interrupt side of one vCPU, as far as its interrupt controllers are ours and not the accelerator's.
#pragma once

#include <cstdint>
#include <optional>

#include "memory/address.h"
#include "memory/io_handler.h"

namespace doppel::vm {

/// What INIT, SIPI, NMI and SMI messages ask of a processor (SDM 3A 10.6).
enum class CpuSignal : std::uint8_t { kNmi, kSmi, kInit, kStartup };

struct CpuSignalEvent {
  CpuSignal signal = CpuSignal::kNmi;
  std::uint8_t vector = 0;  // kStartup: the page to start at
};

/// Asked by the vCPU's own thread. A change that makes has_work() true wakes the thread from elsewhere.
class InterruptPort {
 public:
  virtual ~InterruptPort() = default;
  /// False: only the 8259s are ours; the accelerator has the local APIC, and with it halting, TPR and INIT.
  [[nodiscard]] virtual bool has_local_apic() const = 0;
  /// Asked before each entry: anything for this processor, whether or not it can take it now?
  [[nodiscard]] virtual bool has_work() const = 0;
  /// The next INIT, SIPI, NMI or SMI.
  virtual std::optional<CpuSignalEvent> take_signal() = 0;
  [[nodiscard]] virtual bool has_interrupt() const = 0;
  /// The interrupt acknowledge cycle: empty if the request went away meanwhile.
  virtual std::optional<std::uint8_t> acknowledge() = 0;
  [[nodiscard]] virtual std::uint8_t tpr() const = 0;  // CR8's view: 0 to 15
  virtual void set_tpr(std::uint8_t tpr) = 0;
  [[nodiscard]] virtual std::uint64_t apic_base() const = 0;
  /// The local APIC's registers, if ADDRESS lies in its page; each processor sees its own there.
  [[nodiscard]] virtual memory::IoHandler* page_at(memory::GuestPhysAddr address) = 0;
  /// IA32_APIC_BASE and the x2APIC MSRs; false makes the guest take #GP.
  virtual bool read_msr(std::uint32_t index, std::uint64_t& value) = 0;
  virtual bool write_msr(std::uint32_t index, std::uint64_t value) = 0;
};

}  // namespace doppel::vm
