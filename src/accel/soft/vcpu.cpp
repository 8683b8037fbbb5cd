#include "accel/soft/vcpu.h"

#include <utility>

#include "accel/soft/interpreter/paging.h"
#include "base/endian.h"

namespace doppel::accel::soft {

SoftVcpu::SoftVcpu(VmShared& vm, unsigned id)
    : vm_(vm), cpu_owner_(make_low<Cpu>(vm.machine)), cpu_(*cpu_owner_), interpreter_(cpu_) {
  cpu_.id = id;
  reset();
  if (vm.translation.one_instruction) interpreter_.cache().limit_blocks(1);
  if (vm.translation.on) start_translator();
  start_trace();
}

void SoftVcpu::start_translator() {
  TranslationOptions options = vm_.translation;
  options.count_lookups = vm_.log.enabled(LogCategory::kAccel);
  auto translator = Translator::create(cpu_, interpreter_.cache(), options);
  if (!translator) {
    vm_.log.warn("vCPU {}: guest code is interpreted, not translated: {}", cpu_.id, translator.error().describe());
    return;
  }
  translator_ = *std::move(translator);
  interpreter_.set_translated_code(translator_.get());
  for (const auto& profile : vm_.profiles) translator_->observe(*profile);
  if (TranslationLog::is_wanted(vm_.log)) translator_->observe(translation_log_.emplace(vm_.log));
}

void SoftVcpu::start_trace() {
  if (!CpuTrace::is_wanted(vm_.log)) return;
  trace_.emplace(cpu_, interpreter_.cache(), vm_.log);
  if (!CpuTrace::wants_blocks(vm_.log)) return;
  traced_.emplace(*trace_, translator_.get());
  interpreter_.set_translated_code(&*traced_);
}

SoftVcpu::~SoftVcpu() {
  if (vm_.log.enabled(LogCategory::kAccel)) log_statistics();
  if (translator_ != nullptr) translator_->abandon();
}

void SoftVcpu::log_statistics() const {
  const Interpreter::Statistics& run = interpreter_.statistics();
  const CodeCache::Statistics& code = interpreter_.code_statistics();
  const Tlb::Statistics& tlb = cpu_.tlb.statistics();
  const auto flushes = [&](TlbFlush what) { return tlb.flushes.at(static_cast<std::size_t>(what)); };
  vm_.log.trace(LogCategory::kAccel, "vCPU {}: {} instructions interpreted by the run loop, {} faults, {} interrupts",
                cpu_.id, run.instructions, run.faults, run.interrupts);
  vm_.log.trace(LogCategory::kAccel, "vCPU {}: {} blocks decoded, {} once more, {} found unchanged, {} looked up",
                cpu_.id, code.decoded, code.again, code.verified, code.lookups);
  vm_.log.trace(LogCategory::kAccel,
                "vCPU {}: TLB filled {} times, {} of them from its second level, flushed {} times, {} but for global "
                "pages, {} by page",
                cpu_.id, tlb.fills, tlb.second_level, flushes(TlbFlush::kAll), flushes(TlbFlush::kNonGlobal),
                flushes(TlbFlush::kPage));
  if (translator_ == nullptr) return;
  vm_.log.trace(LogCategory::kAccel, "vCPU {}: what was translated:", cpu_.id);
  vm_.log.dump(LogCategory::kAccel, describe(translator_->statistics()));
  if (translator_->verifier() == nullptr) return;
  const Verifier::Statistics& verified = translator_->verifier()->statistics();
  vm_.log.trace(
      LogCategory::kAccel,
      "vCPU {}: {} instructions in {} blocks compared with the interpreter, {} differences; {} did not repeat, "
      "{} times what an instruction writes was unknown",
      cpu_.id, verified.instructions, verified.stretches, verified.differences, verified.passing, verified.unknown);
}

void SoftVcpu::kick() {
  cpu_.kicked.store(true, std::memory_order_release);
  cpu_.attention.request();
}

Result<VcpuExit> SoftVcpu::run() {
  if (mp_state_ == x86::MpState::kHalted) [[unlikely]] {
    if (cpu_.kicked.exchange(false, std::memory_order_acq_rel)) return InterruptedExit{};
    return HaltExit{};
  }
  take_answer();
  const Inside inside(vm_.machine.rendezvous);
  return run_inside();
}

VcpuExit SoftVcpu::run_inside() {
  while (true) {
    // An access that complete_exit() came upon waits already.
    switch (cpu_.bus.is_pending() ? StopReason::kBus : interpreter_.run()) {
      case StopReason::kBus:
        if (auto exit = hand_out()) return *std::move(exit);
        break;
      case StopReason::kHalt: return HaltExit{};
      case StopReason::kShutdown: return ShutdownExit{};
      case StopReason::kDebug: return interpreter_.debug_exit();
      case StopReason::kKick: return InterruptedExit{};
      case StopReason::kIrqWindow: return IrqWindowExit{};
      case StopReason::kTprLowered: return SetTprExit{};
      case StopReason::kDifference: return InternalErrorExit{.why = translator_->verifier()->difference()};
      case StopReason::kNone:
      case StopReason::kBudget: break;
    }
  }
}

/// The pending access as an exit; none if a doorbell took it.
std::optional<VcpuExit> SoftVcpu::hand_out() {
  BusAccess& access = cpu_.bus.pending();
  if (rings_doorbell(access)) {
    cpu_.bus.answered();
    return {};
  }
  handed_out_ = true;
  if (access.kind == BusAccess::Kind::kMsr) {
    msr_value_ = access.value;
    msr_fault_ = 0;
    return MsrExit{.index = static_cast<std::uint32_t>(access.address),
                   .direction = access.direction,
                   .value = &msr_value_,
                   .fault = &msr_fault_};
  }
  store_le(data_.data(), access.direction == IoDirection::kOut ? access.value : 0);
  const std::span<std::byte> single = std::span(data_).first(access.size);
  if (access.kind == BusAccess::Kind::kMemory)
    return MmioExit{.address = {access.address}, .direction = access.direction, .data = single};
  const bool is_string = access.count != 0;
  return IoExit{.port = static_cast<std::uint16_t>(access.address),
                .size = access.size,
                .direction = access.direction,
                .count = is_string ? access.count : 1,
                .data = is_string ? cpu_.bus.block().first(std::size_t{access.count} * access.size) : single};
}

bool SoftVcpu::rings_doorbell(const BusAccess& access) const {
  if (access.direction != IoDirection::kOut || access.kind == BusAccess::Kind::kMsr || access.count != 0) return false;
  return vm_.machine.take_write && vm_.machine.take_write(access);
}

/// Puts what the exit's handler left behind where the instruction will find it.
void SoftVcpu::take_answer() {
  if (!std::exchange(handed_out_, false)) return;
  BusAccess& access = cpu_.bus.pending();
  if (access.kind == BusAccess::Kind::kMsr) {
    access.value = msr_value_;
    access.fault = msr_fault_;
  } else if (access.direction == IoDirection::kIn && access.count == 0) {
    access.value = load_le_sized(data_.data(), access.size);
  }
  cpu_.bus.answered();
}

/// The instruction that was being executed is not what comes next any more.
void SoftVcpu::forget_access() {
  handed_out_ = false;
  cpu_.bus.clear();
}

Result<> SoftVcpu::complete_exit() {
  take_answer();
  const Inside inside(vm_.machine.rendezvous);
  while (!cpu_.bus.empty()) {
    if (!cpu_.bus.is_pending() && interpreter_.finish_instruction() != StopReason::kBus) break;
    if (!rings_doorbell(cpu_.bus.pending()))
      return fail(ErrorKind::kBusy, "vCPU {}: the instruction needs another access, which run() will hand out", id());
    cpu_.bus.answered();
  }
  if (cpu_.stop != StopReason::kNone)
    return fail(ErrorKind::kBusy, "vCPU {}: the instruction ended in an exit, which run() will hand out", id());
  return {};
}

Result<> SoftVcpu::inject(const Injection& injection) {
  x86::PendingEvents& events = cpu_.events;
  switch (injection.kind) {
    case Injection::Kind::kInterrupt:
      if (!ready_for_interrupt())
        return fail(ErrorKind::kInternal, "vCPU {}: interrupt {:#x} injected into a guest that is not ready for it",
                    id(), injection.vector);
      events.interrupt = {.injected = true, .vector = injection.vector, .soft = false};
      break;
    case Injection::Kind::kNmi: events.nmi.pending = true; break;
    case Injection::Kind::kException:
      if (events.exception.injected)
        return fail(ErrorKind::kBusy, "vCPU {}: exception {} is being delivered already", id(),
                    events.exception.vector);
      events.exception = {.injected = true,
                          .pending = false,
                          .vector = injection.vector,
                          .has_error_code = injection.error_code.has_value(),
                          .error_code = injection.error_code.value_or(0),
                          .has_payload = false,
                          .payload = 0};
      break;
  }
  mp_state_ = x86::MpState::kRunnable;
  return {};
}

Result<> SoftVcpu::set_debug(const DebugRequest& request) {
  const Inside inside(vm_.machine.rendezvous);
  cpu_.host_single_step = request.single_step;
  cpu_.host_breakpoints = request.software_breakpoints;
  cpu_.host_owns_dr = (request.dr7 & x86::dr7::kEnables) != 0;
  cpu_.host_dr = request.address;
  cpu_.host_dr7 = request.dr7;
  if (cpu_.stop == StopReason::kDebug) cpu_.stop = StopReason::kNone;  // that was for an earlier request
  breakpoints_changed(cpu_);
  return {};
}

Result<memory::GuestPhysAddr> SoftVcpu::translate(std::uint64_t linear) {
  const Inside inside(vm_.machine.rendezvous);
  const std::uint64_t cut = cpu_.long_mode ? linear : linear & 0xffff'ffffU;
  std::optional<std::uint64_t> physical;
  if (!cpu_.long_mode || x86::is_canonical(cut, cpu_.linear_bits())) physical = translate_debug(cpu_, cut);
  if (!physical) return fail(ErrorKind::kNotFound, "linear address {:#x} is not mapped", linear);
  return memory::GuestPhysAddr{*physical};
}

}  // namespace doppel::accel::soft
