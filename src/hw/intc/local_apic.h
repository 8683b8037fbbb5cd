// The local APIC of one logical processor (SDM 3A, chapter 11): xAPIC and x2APIC.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/log.h"
#include "event/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/intc/apic_message.h"
#include "hw/intc/effect_guard.h"
#include "hw/intc/interrupt_acknowledge.h"
#include "hw/intc/local_apic_registers.h"
#include "hw/intc/local_apic_state.h"
#include "hw/intc/local_apic_timer.h"
#include "hw/intc/vector_set.h"
#include "memory/io_handler.h"

namespace doppel::hw {

class ApicBus;

/// The processor's side. Called on any thread, the vCPU's own among them, with no device lock held; must not block.
class LocalApicClient {
 public:
  virtual ~LocalApicClient() = default;
  /// has_interrupt() has become true. On another thread than the vCPU's: wake it, get it out of the guest.
  virtual void interrupt_pending() = 0;
  virtual void nmi() = 0;
  virtual void smi() = 0;
  /// The vCPU is to become uninitialised: on its own thread it calls LocalApic::init() and waits for start_up().
  virtual void init() = 0;
  /// Begin at 4 KiB page VECTOR, if waiting for it; otherwise to be ignored.
  virtual void start_up(std::uint8_t vector) = 0;
};

struct LocalApicConfig {
  std::uint32_t id = 0;       // the initial APIC id, as CPUID says it
  bool bootstrap = false;     // the BSP: its LINT0 starts as virtual wire, as firmware expects it
  bool x2apic = true;         // CPUID.1:ECX[21]
  bool tsc_deadline = true;   // CPUID.1:ECX[24]
  bool directed_eoi = false;  // for I/O APICs of version 0x20
  unsigned physical_bits = 46;
  std::uint64_t tsc_hz = 1'000'000'000;
};

/// Threads: the register and processor side (read, write, MSRs, TPR, acknowledge) belongs to the vCPU's thread;
/// accept() and set_irq() to any; timers to the loop's. has_interrupt(), tpr() and matches() take no lock.
///
/// As an IrqSink its pins 0 and 1 are LINT0 and LINT1, levels meaning asserted or not whatever the polarity bits say.
/// IPIs are always sent as edges, delivery is immediate and the delivery status always idle.
class LocalApic final : public Device, public memory::IoHandler, public IrqSink {
 public:
  static constexpr std::uint64_t kSize = 0x1000;
  static constexpr memory::IoSizes kSizes{4, 4, false};

  /// TSC_NOW is the guest's TSC; it is called with the lock held. PIC answers ExtINT; without one there are none.
  LocalApic(const LocalApicConfig& config, ApicBus& bus, LocalApicClient& client, event::Clock& clock,
            std::function<std::uint64_t()> tsc_now, InterruptAcknowledge* pic, Logger log);

  [[nodiscard]] std::string_view name() const override { return "apic"; }
  void reset() override;
  /// After an INIT: as reset(), but APIC base, mode and id stay.
  void init();
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  // The processor's side.

  /// An external interrupt is waiting that TPR and those in service let through.
  [[nodiscard]] bool has_interrupt() const { return pending_.load(std::memory_order_acquire) != 0; }
  /// The APIC's own among them; an ExtINT has no vector before acknowledge().
  [[nodiscard]] std::optional<std::uint8_t> pending_vector() const;
  /// INTA: takes what has_interrupt() promised, ExtINT first. Empty if it is gone.
  std::optional<std::uint8_t> acknowledge();
  [[nodiscard]] std::uint8_t tpr() const { return tpr_.load(std::memory_order_relaxed); }
  /// CR8 is the high nibble.
  [[nodiscard]] std::uint8_t cr8() const { return static_cast<std::uint8_t>(tpr() >> 4U); }
  void set_tpr(std::uint8_t value);
  /// An unchanged CR8 leaves the TPR's low nibble alone, so an accelerator may hand it over after each exit.
  void set_cr8(std::uint8_t value) {
    if (value != cr8()) set_tpr(static_cast<std::uint8_t>(value << 4U));
  }
  /// What the EOI register does.
  void end_of_interrupt();
  /// An event of the processor itself, such as a performance counter's overflow.
  void signal(LocalVector source);
  /// After the guest has written its TSC.
  void tsc_changed();

  /// The register page, at apic_base(), in xAPIC mode only. Other than aligned 32-bit accesses are undefined: they read
  /// as ones and write nothing.
  std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

  /// IA32_APIC_BASE, IA32_TSC_DEADLINE and 0x800 to 0x8ff.
  [[nodiscard]] static bool owns_msr(std::uint32_t index);
  /// Empty: #GP.
  [[nodiscard]] std::optional<std::uint64_t> read_msr(std::uint32_t index);
  /// False: #GP.
  [[nodiscard]] bool write_msr(std::uint32_t index, std::uint64_t value);
  [[nodiscard]] std::uint64_t apic_base() const { return base_.load(std::memory_order_acquire); }
  /// Where the register page is; empty unless in xAPIC mode.
  [[nodiscard]] std::optional<std::uint64_t> mmio_address() const;

  /// Exchange with KVM's local APIC, which keeps the APIC base with the special registers and the TSC deadline with the
  /// MSRs: load those after the page. The fields of a page that no APIC can have are corrected.
  void save_page(LocalApicPage page);
  Result<> load_page(ConstLocalApicPage page, std::uint64_t apic_base);

  // The bus's side.

  void accept(const ApicMessage& message);
  void set_irq(unsigned pin, bool level) override;
  [[nodiscard]] bool matches(const ApicMessage& message) const;
  [[nodiscard]] std::uint32_t id() const;
  /// Takes part in lowest-priority arbitration.
  [[nodiscard]] bool takes_part() const;
  [[nodiscard]] std::uint8_t arbitration_priority() const { return apr_.load(std::memory_order_relaxed); }
  /// Has VECTOR pending or in service, and focus checking on: arbitration ends here (SDM 3A 11.6.2.4).
  [[nodiscard]] bool is_focus(std::uint8_t vector);

 private:
  friend class EffectGuard<LocalApic>;
  struct Effects {
    bool interrupt = false;
    bool nmi = false;
    bool smi = false;
    bool init = false;
    bool ipi = false;
    bool ipi_spares_sender = false;
    std::optional<std::uint8_t> start_up;
    std::optional<std::uint8_t> end_of_interrupt;
    ApicMessage message;  // of the IPI
  };
  enum class Mode : std::uint8_t { kDisabled, kXapic, kX2apic, kIllegal };
  /// What the bus asks for without the lock.
  struct Address {
    Mode mode = Mode::kDisabled;
    bool takes_part = false;
    std::uint8_t xapic_id = 0;
    std::uint8_t ldr = 0;
    std::uint8_t dfr = 0;
    std::array<std::uint8_t, 3> unused{};  // a size that atomics like
  };
  static constexpr std::uint32_t kExternal = 0x100;  // in pending_: an ExtINT

  void perform(const Effects& effects);

  [[nodiscard]] static Mode mode_of(std::uint64_t base);
  [[nodiscard]] Mode mode() const { return mode_of(apic_base()); }
  [[nodiscard]] bool software_enabled() const { return test_bit(svr_, lapic::kSvrEnableBit); }
  [[nodiscard]] std::uint32_t& lvt(LocalVector source) { return lvt_[static_cast<unsigned>(source)]; }
  [[nodiscard]] std::uint32_t lvt(LocalVector source) const { return lvt_[static_cast<unsigned>(source)]; }

  void clear_registers();
  void update();
  void publish_address();
  [[nodiscard]] static bool matches_logical(const Address& address, std::uint32_t destination);
  [[nodiscard]] std::uint8_t processor_priority() const;
  [[nodiscard]] bool external_interrupt() const;

  void receive(const ApicMessage& message);
  void receive_vector(std::uint8_t vector, TriggerMode trigger);
  void report_error(std::uint32_t error);
  void fire(LocalVector source);
  void finish();
  void lint_changed(unsigned pin, bool rising);
  void serve_level_lint();
  void on_timer();

  [[nodiscard]] std::uint32_t version() const;
  [[nodiscard]] std::uint32_t svr_writable() const;
  [[nodiscard]] static std::uint32_t lvt_writable(LocalVector source);
  [[nodiscard]] std::uint32_t read_register(lapic::Register reg) const;
  void write_register(lapic::Register reg, std::uint32_t value);
  void write_svr(std::uint32_t value);
  void write_lvt(LocalVector source, std::uint32_t value);
  void write_icr(std::uint64_t value);
  void send_ipi(std::uint64_t command);
  void set_timer_mode();
  [[nodiscard]] std::optional<std::uint64_t> read_x2apic(std::uint32_t number) const;
  [[nodiscard]] bool write_x2apic(std::uint32_t number, std::uint64_t value);
  [[nodiscard]] bool write_base(std::uint64_t value);
  [[nodiscard]] bool is_legal_base(std::uint64_t value) const;

  [[nodiscard]] LocalApicState snapshot() const;
  Result<> restore(const LocalApicState& state);

  const LocalApicConfig config_;
  ApicBus& bus_;
  LocalApicClient& client_;
  InterruptAcknowledge* const pic_;
  const Logger log_;
  Effects effects_;  // of the guard in force
  LocalApicTimer timer_;

  // Written under the lock, read without.
  std::atomic<std::uint32_t> pending_{0};  // 0, or a vector, or kExternal, or both
  std::atomic<std::uint8_t> tpr_{0};
  std::atomic<std::uint8_t> apr_{0};
  std::atomic<std::uint64_t> base_{0};
  std::atomic<Address> address_{Address{}};

  std::uint8_t id_ = 0;  // in xAPIC mode, where the guest may change it
  std::uint8_t ldr_ = 0;
  std::uint8_t dfr_ = lapic::kDfrFlat;
  std::uint32_t svr_ = lapic::kSvrReset;
  VectorSet irr_;
  VectorSet isr_;
  VectorSet tmr_;
  std::uint32_t esr_ = 0;
  std::uint32_t errors_ = 0;
  std::uint64_t icr_ = 0;
  std::array<std::uint32_t, kLocalVectorCount> lvt_{};
  std::array<bool, 2> lint_{};
  bool external_request_ = false;  // an ExtINT message is waiting
};

}  // namespace doppel::hw
