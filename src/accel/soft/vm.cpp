#include "accel/soft/vm.h"

#include <algorithm>

#include "accel/soft/interpreter/cpu_trace.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/translator/jit_dump.h"
#include "accel/soft/translator/perf_map.h"
#include "accel/soft/vcpu.h"

namespace doppel::accel::soft {

namespace {

std::unexpected<Error> no_irqchip() {
  return fail(ErrorKind::kUnsupported, "the software accelerator has no interrupt controllers");
}
std::unexpected<Error> no_coalescing() {
  return fail(ErrorKind::kUnsupported, "the software accelerator delivers every write at once");
}

TranslationOptions translation_of(const Options& options) {
  TranslationOptions translation = options.translation;
  if (options.log.enabled(LogCategory::kNoChain))
    translation.may_chain_to = [](std::uint64_t) { return false; };
  else if (CpuTrace::wants_every_entry(options.log))
    translation.may_chain_to = [log = options.log](std::uint64_t linear) { return !log.covers(linear); };
  return translation;
}

using Profiles = std::vector<std::unique_ptr<TranslationObserver>>;

template <class Profile>
void open_profile(Profiles& profiles, const Logger& log) {
  auto profile = Profile::create(Profile::usual_path());
  if (profile)
    profiles.push_back(*std::move(profile));
  else
    log.warn("perf is told nothing: {}", profile.error().describe());
}

/// A guest runs as well without.
Profiles open_profiles(const Options& options) {
  Profiles profiles;
  if (!options.translation.on) return profiles;
  if (options.profile.perf_map) open_profile<PerfMap>(profiles, options.log);
  if (options.profile.jit_dump) open_profile<JitDump>(profiles, options.log);
  return profiles;
}

}  // namespace

SoftVm::SoftVm(const std::vector<std::uint32_t>& saved_msrs, const x86::CpuidTable& cpuid, const Options& options)
    : cpuid_(cpuid),
      shared_{.machine = {},
              .doorbells = {},
              .saved_msrs = saved_msrs,
              .supported = x86::features_of(cpuid),
              .log = options.log,
              .translation = translation_of(options),
              .profiles = open_profiles(options)} {
  shared_.machine.take_write = [&doorbells = shared_.doorbells](const BusAccess& write) {
    return doorbells.ring(write.kind == BusAccess::Kind::kPort, write.address, write.size, write.value);
  };
}

Result<> SoftVm::set_memory_slot(const MemorySlot& slot) {
  if (slot.slot >= kMaxMemorySlots)
    return fail(ErrorKind::kInvalidArgument, "memory slot {}; there are {}", slot.slot, kMaxMemorySlots);
  Machine& machine = shared_.machine;
  Result<> result;
  machine.rendezvous.exclusive(false, [&] {
    result = machine.ram.set(slot);
    flush_all_tlbs(machine);
  });
  return result;
}

Result<std::vector<std::uint64_t>> SoftVm::take_dirty_log(unsigned slot) {
  Machine& machine = shared_.machine;
  Result<std::vector<std::uint64_t>> result = fail(ErrorKind::kNotFound, "memory slot {} keeps no dirty log", slot);
  machine.rendezvous.exclusive(false, [&] {
    const RamSlot* found = machine.ram.by_number(slot);
    if (found == nullptr || !found->logs()) return;
    result = found->take_dirty();
    drop_all_tlb_writes(machine);
  });
  return result;
}

Result<> SoftVm::create_irqchip(IrqchipMode mode, unsigned /*ioapic_pins*/) {
  if (mode != IrqchipMode::kOff) return no_irqchip();
  return {};
}
Result<> SoftVm::create_pit() {
  return fail(ErrorKind::kUnsupported, "the software accelerator has no interval timer");
}
Result<std::vector<std::byte>> SoftVm::save_irqchip() {
  return no_irqchip();
}
Result<> SoftVm::load_irqchip(std::span<const std::byte> /*saved*/) {
  return no_irqchip();
}

Result<std::unique_ptr<Vcpu>> SoftVm::create_vcpu(unsigned id) {
  if (id >= kMaxVcpus) return fail(ErrorKind::kOutOfRange, "vCPU {}; there can be {}", id, kMaxVcpus);
  {
    const std::scoped_lock lock(mutex_);
    if (shared_.translation.verify != 0 && !vcpu_ids_.empty())
      return fail(ErrorKind::kUnsupported,
                  "verify= holds one processor against the interpreter; a machine with more cannot have it");
    if (!vcpu_ids_.insert(id).second) return fail(ErrorKind::kAlreadyExists, "there is a vCPU {} already", id);
  }
  auto vcpu = std::make_unique<SoftVcpu>(shared_, id);
  DOPPEL_TRY(vcpu->set_cpuid(cpuid_));
  return vcpu;
}

Result<> SoftVm::set_irq_line(std::uint32_t /*gsi*/, bool /*level*/) {
  return no_irqchip();
}
Result<> SoftVm::set_irq_routing(std::span<const IrqRoute> /*routes*/) {
  return no_irqchip();
}
Result<> SoftVm::signal_msi(const MsiMessage& /*message*/) {
  return no_irqchip();
}

Result<> SoftVm::attach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) {
  Result<> result;
  shared_.machine.rendezvous.exclusive(false, [&] { result = shared_.doorbells.attach(spec, event); });
  return result;
}
Result<> SoftVm::detach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) {
  Result<> result;
  shared_.machine.rendezvous.exclusive(false, [&] { result = shared_.doorbells.detach(spec, event); });
  return result;
}
Result<> SoftVm::attach_irqfd(std::uint32_t /*gsi*/, const event::EventFd& /*event*/,
                              const event::EventFd* /*resample*/) {
  return no_irqchip();
}
Result<> SoftVm::detach_irqfd(std::uint32_t /*gsi*/, const event::EventFd& /*event*/) {
  return no_irqchip();
}

Result<> SoftVm::coalesce(memory::GuestPhysAddr /*address*/, std::uint64_t /*size*/, bool /*is_port*/) {
  return no_coalescing();
}
Result<> SoftVm::uncoalesce(memory::GuestPhysAddr /*address*/, std::uint64_t /*size*/, bool /*is_port*/) {
  return no_coalescing();
}
void SoftVm::drain_coalesced(const CoalescedWrite& /*write*/) {}

Result<> SoftVm::exit_on_msrs(std::span<const std::uint32_t> indexes, bool unknown) {
  std::vector<std::uint32_t> sorted(indexes.begin(), indexes.end());
  std::ranges::sort(sorted);
  Machine& machine = shared_.machine;
  machine.rendezvous.exclusive(false, [&] {
    machine.msr_exits.indexes.swap(sorted);
    machine.msr_exits.unknown = unknown;
  });
  return {};
}

Result<std::uint64_t> SoftVm::get_clock() {
  return shared_.machine.clock.now();
}

Result<> SoftVm::set_clock(std::uint64_t ns) {
  Machine& machine = shared_.machine;
  machine.rendezvous.exclusive(false, [&] {
    machine.clock.set(ns);
    for (Cpu* cpu : machine.cpus) publish_clock(*cpu);
  });
  return {};
}

void SoftVm::set_fallback(InstructionFallback* /*fallback*/) {}

}  // namespace doppel::accel::soft
