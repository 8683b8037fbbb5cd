// The local APIC's registers, as memory and as MSRs.
#include <utility>

#include "base/bits.h"
#include "hw/intc/local_apic.h"

namespace doppel::hw {

using namespace lapic;

namespace {

const RegisterInfo& info(std::uint32_t number) {
  return kRegisters[number];
}

/// N if REG is the Nth of eight registers from FIRST on.
std::optional<unsigned> index_in(Register reg, Register first) {
  const unsigned n = static_cast<unsigned>(reg) - static_cast<unsigned>(first);
  return n < 8 ? std::optional(n) : std::nullopt;
}

std::optional<LocalVector> local_vector(Register reg) {
  if (reg == Register::kLvtCmci) return LocalVector::kCmci;
  if (reg < Register::kLvtTimer || reg > Register::kLvtError) return std::nullopt;
  return static_cast<LocalVector>(static_cast<unsigned>(reg) - static_cast<unsigned>(Register::kLvtTimer));
}

}  // namespace

LocalApic::Mode LocalApic::mode_of(std::uint64_t base) {
  const bool x2apic = test_bit(base, kBaseX2apicBit);
  if (test_bit(base, kBaseEnableBit)) return x2apic ? Mode::kX2apic : Mode::kXapic;
  return x2apic ? Mode::kIllegal : Mode::kDisabled;
}

std::optional<std::uint64_t> LocalApic::mmio_address() const {
  const std::uint64_t base = apic_base();
  if (mode_of(base) != Mode::kXapic) return std::nullopt;
  return align_down(base, kSize);
}

std::uint64_t LocalApic::read(std::uint64_t offset, unsigned size) {
  const EffectGuard guard(*this);
  if (size != 4 || !is_aligned(offset, 16) || offset >= kSize || mode() != Mode::kXapic) {
    log_.guest_error("APIC {}: undefined read of {} bytes at offset {:#x}", config_.id, size, offset);
    return low_mask(8 * size);
  }
  const std::uint64_t number = offset / 16;
  if (number >= kRegisterCount || info(static_cast<std::uint32_t>(number)).xapic == Access::kNone) {
    report_error(kEsrIllegalRegister);
    return 0;
  }
  return readable(info(static_cast<std::uint32_t>(number)).xapic) ? read_register(static_cast<Register>(number)) : 0;
}

void LocalApic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const EffectGuard guard(*this);
  if (size != 4 || !is_aligned(offset, 16) || offset >= kSize || mode() != Mode::kXapic) {
    log_.guest_error("APIC {}: undefined write of {} bytes at offset {:#x}", config_.id, size, offset);
    return;
  }
  const std::uint64_t number = offset / 16;
  if (number >= kRegisterCount || info(static_cast<std::uint32_t>(number)).xapic == Access::kNone)
    report_error(kEsrIllegalRegister);
  else if (writable(info(static_cast<std::uint32_t>(number)).xapic))
    write_register(static_cast<Register>(number), static_cast<std::uint32_t>(value));
  else
    log_.guest_error("APIC {}: write of {:#x} to a read-only register at {:#x}", config_.id, value, offset);
}

std::uint32_t LocalApic::version() const {
  const std::uint32_t value = kVersionValue | (kLocalVectorCount - 1) << 16U;
  return with_bit(value, kVersionDirectedEoiBit, config_.directed_eoi);
}

std::uint32_t LocalApic::read_register(Register reg) const {
  if (const auto source = local_vector(reg)) return lvt(*source);
  if (const auto n = index_in(reg, Register::kIsr)) return isr_.word32(*n);
  if (const auto n = index_in(reg, Register::kTmr)) return tmr_.word32(*n);
  if (const auto n = index_in(reg, Register::kIrr)) return irr_.word32(*n);
  const bool x2apic = mode() == Mode::kX2apic;
  switch (reg) {
    case Register::kId: return x2apic ? config_.id : static_cast<std::uint32_t>(id_) << 24U;
    case Register::kVersion: return version();
    case Register::kTpr: return tpr();
    case Register::kApr: return arbitration_priority();
    case Register::kPpr: return processor_priority();
    case Register::kLdr: return x2apic ? x2apic_ldr(config_.id) : static_cast<std::uint32_t>(ldr_) << 24U;
    case Register::kDfr: return static_cast<std::uint32_t>(dfr_) << 28U | 0x0fffffffU;
    case Register::kSvr: return svr_;
    case Register::kEsr: return esr_;
    case Register::kIcr: return static_cast<std::uint32_t>(icr_);
    case Register::kIcrHigh: return static_cast<std::uint32_t>(icr_ >> 32U);
    case Register::kInitialCount: return timer_.initial_count();
    case Register::kCurrentCount: return timer_.current_count();
    case Register::kDivide: return timer_.divide();
    default: return 0;
  }
}

/// Where both modes do the same.
void LocalApic::write_register(Register reg, std::uint32_t value) {
  if (const auto source = local_vector(reg)) return write_lvt(*source, value);
  switch (reg) {
    case Register::kEoi: return finish();
    case Register::kId: id_ = static_cast<std::uint8_t>(value >> 24U); return publish_address();
    case Register::kTpr: tpr_.store(static_cast<std::uint8_t>(value), std::memory_order_relaxed); return update();
    case Register::kLdr: ldr_ = static_cast<std::uint8_t>(value >> 24U); return publish_address();
    case Register::kDfr: dfr_ = static_cast<std::uint8_t>(value >> 28U); return publish_address();
    case Register::kSvr: return write_svr(value);
    case Register::kEsr: esr_ = std::exchange(errors_, 0); return;
    case Register::kIcr: return write_icr(with_bits(icr_, 31, 0, value));
    case Register::kIcrHigh: icr_ = with_bits(icr_, 63, 32, value & 0xff000000U); return;
    case Register::kInitialCount: return timer_.start(value);
    case Register::kDivide: return timer_.set_divide(value);
    case Register::kSelfIpi: return send_ipi(bit(18) | (value & 0xff));  // as an ICR with the shorthand for self
    default: return;
  }
}

std::uint32_t LocalApic::svr_writable() const {
  return with_bit(0x3ffU, kSvrSuppressEoiBit, config_.directed_eoi);
}

std::uint32_t LocalApic::lvt_writable(LocalVector source) {
  const Register reg =
      source == LocalVector::kCmci
          ? Register::kLvtCmci
          : static_cast<Register>(static_cast<unsigned>(Register::kLvtTimer) + static_cast<unsigned>(source));
  return static_cast<std::uint32_t>(info(static_cast<std::uint32_t>(reg)).x2apic_bits) & ~kLvtReadOnly;
}

/// Disabled by software, the APIC masks its local vectors (SDM 3A 11.4.7.2) but keeps what is pending.
void LocalApic::write_svr(std::uint32_t value) {
  svr_ = value & svr_writable();
  if (!software_enabled())
    for (std::uint32_t& entry : lvt_) entry = with_bit(entry, kLvtMaskBit, true);
  publish_address();
  update();
}

void LocalApic::write_lvt(LocalVector source, std::uint32_t value) {
  std::uint32_t& entry = lvt(source);
  entry = (value & lvt_writable(source)) | (entry & bit<std::uint32_t>(kLvtRemoteIrrBit));
  if (!test_bit(entry, kLvtLevelBit)) entry = with_bit(entry, kLvtRemoteIrrBit, false);
  if (!software_enabled()) entry = with_bit(entry, kLvtMaskBit, true);
  if (source == LocalVector::kTimer) set_timer_mode();
  serve_level_lint();
  update();
}

void LocalApic::set_timer_mode() {
  const std::uint32_t mode = bits(lvt(LocalVector::kTimer), 18, 17);
  if (mode == 1)
    timer_.set_mode(LocalApicTimerMode::kPeriodic);
  else if (mode == 2 && config_.tsc_deadline)
    timer_.set_mode(LocalApicTimerMode::kTscDeadline);
  else
    timer_.set_mode(LocalApicTimerMode::kOneShot);
}

void LocalApic::write_icr(std::uint64_t value) {
  icr_ = value & (low_mask(32) << 32U | kIcrWritable);
  send_ipi(icr_);
}

/// SDM 3A 11.6.1.
void LocalApic::send_ipi(std::uint64_t command) {
  ApicMessage message;
  message.delivery_mode = static_cast<DeliveryMode>(bits(command, 10, 8));
  message.destination_mode = test_bit(command, kIcrLogicalBit) ? DestinationMode::kLogical : DestinationMode::kPhysical;
  message.destination = static_cast<std::uint32_t>(
      mode() == Mode::kX2apic ? command >> 32U : widen_destination(static_cast<std::uint32_t>(command >> 56U)));
  message.vector = static_cast<std::uint8_t>(command);
  switch (message.delivery_mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority:
      if (message.vector < kLowestApicVector) return report_error(kEsrSendIllegalVector);
      break;
    case DeliveryMode::kInit:
      // The de-assert only synchronises arbitration ids, which are long gone.
      if (test_bit(command, kIcrLevelBit) && !test_bit(command, kIcrAssertBit)) return;
      break;
    case DeliveryMode::kRemoteRead:
    case DeliveryMode::kExtInt:
      log_.guest_error("APIC {}: IPI with reserved delivery mode, ICR {:#x}", config_.id, command);
      return;
    default: break;
  }
  const auto shorthand = static_cast<Shorthand>(bits(command, 19, 18));
  if (shorthand == Shorthand::kSelf) return receive(message);
  if (shorthand != Shorthand::kNone) message.destination = kApicBroadcast;
  effects_.ipi = true;
  effects_.ipi_spares_sender = shorthand == Shorthand::kAllButSelf;
  effects_.message = message;
}

bool LocalApic::owns_msr(std::uint32_t index) {
  return index == kMsrApicBase || index == kMsrTscDeadline || (index >= kMsrX2apicFirst && index <= kMsrX2apicLast);
}

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t index) {
  const EffectGuard guard(*this);
  if (index == kMsrApicBase) return apic_base();
  if (index == kMsrTscDeadline) return config_.tsc_deadline ? std::optional(timer_.tsc_deadline()) : std::nullopt;
  if (!owns_msr(index)) return std::nullopt;
  return read_x2apic(index - kMsrX2apicFirst);
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value) {
  const EffectGuard guard(*this);
  if (index == kMsrApicBase) return write_base(value);
  if (index == kMsrTscDeadline) {
    if (!config_.tsc_deadline) return false;
    if (timer_.set_tsc_deadline(value)) fire(LocalVector::kTimer);
    return true;
  }
  return owns_msr(index) && write_x2apic(index - kMsrX2apicFirst, value);
}

std::optional<std::uint64_t> LocalApic::read_x2apic(std::uint32_t number) const {
  if (mode() != Mode::kX2apic || number >= kRegisterCount || !readable(info(number).x2apic)) return std::nullopt;
  const auto reg = static_cast<Register>(number);
  return reg == Register::kIcr ? icr_ : read_register(reg);
}

bool LocalApic::write_x2apic(std::uint32_t number, std::uint64_t value) {
  if (mode() != Mode::kX2apic || number >= kRegisterCount || !writable(info(number).x2apic)) return false;
  if ((value & ~info(number).x2apic_bits) != 0) return false;
  const auto reg = static_cast<Register>(number);
  if (reg == Register::kSvr && (value & ~std::uint64_t{svr_writable()}) != 0) return false;
  if (reg == Register::kIcr)
    write_icr(value);
  else
    write_register(reg, static_cast<std::uint32_t>(value));
  return true;
}

bool LocalApic::is_legal_base(std::uint64_t value) const {
  const std::uint64_t flags = bit(kBaseBspBit) | bit(kBaseEnableBit) | (config_.x2apic ? bit(kBaseX2apicBit) : 0);
  const std::uint64_t address = low_mask(config_.physical_bits) & ~low_mask(12);
  return (value & ~(flags | address)) == 0 && mode_of(value) != Mode::kIllegal;
}

/// The transitions of SDM 3A figure 11-27: into x2APIC mode only from xAPIC mode, out of it only by disabling.
bool LocalApic::write_base(std::uint64_t value) {
  const Mode from = mode();
  const Mode to = mode_of(value);
  if (!is_legal_base(value)) return false;
  if ((from == Mode::kX2apic && to == Mode::kXapic) || (from == Mode::kDisabled && to == Mode::kX2apic)) return false;
  base_.store(value, std::memory_order_release);
  if (to == from) return true;
  id_ = static_cast<std::uint8_t>(config_.id);
  if (to == Mode::kDisabled) {
    clear_registers();
  } else {
    icr_ &= low_mask(32);
    publish_address();
    update();
  }
  return true;
}

}  // namespace doppel::hw
