#include "gdbstub/vm_target.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/bits.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

template <class Work>
auto VmTarget::on_cpu(unsigned cpu, Work work) {
  std::optional<decltype(work(std::declval<accel::Vcpu&>()))> result;
  machine_.vcpu(cpu).call([&](accel::Vcpu& vcpu) { result = work(vcpu); });
  return std::move(*result);
}

VmTarget::~VmTarget() {
  set_listener({});
}

void VmTarget::set_listener(Listener listener) {
  machine_.set_debug_listener(std::move(listener.debug_exit));
  machine_.set_state_listener(std::move(listener.state_changed));
}

bool VmTarget::has_avx() {
  constexpr unsigned kAvxBit = 28;  // CPUID.1:ECX
  const auto table = on_cpu(0, [](accel::Vcpu& vcpu) { return vcpu.get_cpuid(); });
  return table && std::ranges::any_of(*table, [](const x86::CpuidEntry& entry) {
           return entry.leaf == 1 && test_bit(entry.ecx, kAvxBit);
         });
}

void VmTarget::quit() {
  machine_.quit(EXIT_SUCCESS);
}

Result<x86::CpuState> VmTarget::read_state(unsigned cpu, x86::StateParts parts) {
  x86::CpuState state;
  DOPPEL_TRY(machine_.vcpu(cpu).get_state(state, parts));
  return state;
}

Result<> VmTarget::write_state(unsigned cpu, const x86::CpuState& state, x86::StateParts parts) {
  return machine_.vcpu(cpu).set_state(state, parts);
}

Result<> VmTarget::set_debug(unsigned cpu, const accel::DebugRequest& request) {
  return on_cpu(cpu, [&](accel::Vcpu& vcpu) { return vcpu.set_debug(request); });
}

Result<> VmTarget::inject_breakpoint(unsigned cpu) {
  return on_cpu(cpu, [](accel::Vcpu& vcpu) {
    return vcpu.inject({.kind = accel::Injection::Kind::kException, .vector = x86::kBreakpoint, .error_code = {}});
  });
}

Result<memory::GuestPhysAddr> VmTarget::translate(unsigned cpu, std::uint64_t linear) {
  return on_cpu(cpu, [linear](accel::Vcpu& vcpu) { return vcpu.translate(linear); });
}

Result<> VmTarget::read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) {
  const auto view = machine_.memory().view();
  for (std::size_t done = 0; done < out.size();) {
    const memory::FlatRange* range = view->find(address + done);
    if (range == nullptr) return fail(ErrorKind::kNotFound, "nothing answers at {}", address + done);
    const std::uint64_t size = std::min<std::uint64_t>(out.size() - done, range->end() - (address + done));
    machine_.memory().read(address + done, out.subspan(done, size));
    done += size;
  }
  return {};
}

/// What reads as memory is written as memory, whether the guest may or not. Device registers get a bus write.
Result<> VmTarget::write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data) {
  const auto view = machine_.memory().view();
  for (std::size_t done = 0; done < data.size();) {
    const memory::GuestPhysAddr at = address + done;
    const memory::FlatRange* range = view->find(at);
    if (range == nullptr) return fail(ErrorKind::kNotFound, "nothing answers at {}", at);
    const auto piece = data.subspan(done, std::min<std::uint64_t>(data.size() - done, range->end() - at));
    if (range->readable_ram && !range->writable_ram)
      std::memcpy(range->host() + (at - range->start), piece.data(), piece.size());
    else
      machine_.memory().write(at, piece);
    done += piece.size();
  }
  return {};
}

}  // namespace doppel::gdbstub
