// Accesses to devices by translated code: what the interpreter would come to in the end, without looking for it by
// exceptions of the host and of C++.
#include <cstring>
#include <optional>

#include "accel/soft/interpreter/paging.h"
#include "accel/soft/translator/translator.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

/// The device's address behind SIZE bytes at LINEAR, if a single access of the bus does.
std::optional<std::uint64_t> find_device(Cpu& cpu, std::uint64_t linear, std::uint64_t size, AccessKind kind) {
  if (cpu.code_mode == CodeMode::kLong64 && !x86::is_canonical(linear, cpu.linear_bits())) return {};
  if (linear % x86::kPageSize + size > x86::kPageSize) return {};
  if (data_breakpoints_hit(cpu, linear, size, kind) != 0) return {};
  const std::uint64_t cr2 = cpu.cr2;
  try {
    const TlbInfo& info = translate(cpu, linear, kind);
    if (info.slot == nullptr) return info.gpa | linear % x86::kPageSize;
  } catch (const Fault&) {
    cpu.cr2 = cr2;
  }
  return {};
}

}  // namespace

/// INSTRUCTION's access, if it is a MOV between a device and a register or of a number. False: it is not, or it faults;
/// nothing was done. Else it is done, or waits to be handed out and answered, and will be executed again then.
bool Translator::access_device(const Instruction& instruction, const Translation::Instruction& place,
                               std::uint64_t rip) {
  if (place.action != Action::kMemory || !place.is_mov) return false;
  cpu_.instruction_start = cpu_.rip = rip;
  const std::uint64_t linear =
      (cpu_.view[instruction.segment].base + cpu_.effective_address(instruction)) & kind_->address_mask();
  const std::uint8_t size = instruction.operand_size;
  const auto gpa = find_device(cpu_, linear, size, place.writes_memory ? AccessKind::kWrite : AccessKind::kRead);
  if (!gpa) return false;
  BusAccess access{.kind = BusAccess::Kind::kMemory,
                   .direction = place.writes_memory ? IoDirection::kOut : IoDirection::kIn,
                   .address = *gpa,
                   .size = size};
  if (place.writes_memory) {
    const bool from_register = instruction.reg != kZeroRegister;
    const std::uint64_t value = from_register ? cpu_.get<std::uint64_t>(instruction.reg) : instruction.imm;
    access.value = value & low_mask(size * 8U);
    if (cpu_.machine.take_write && cpu_.machine.take_write(access)) {
      cpu_.rip = rip + instruction.length;
      return true;
    }
  }
  (void)cpu_.bus.next(access);
  cpu_.stop = StopReason::kBus;
  cpu_.leave_block = true;
  return true;
}

}  // namespace doppel::accel::soft
