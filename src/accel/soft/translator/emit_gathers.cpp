// Gathers and scatters: element by element, through the TLB. Registers and memory change when all elements have been
// found; else the interpreter carries out the whole instruction, and goes as far as it can be gone.
#include "accel/soft/interpreter/gather.h"
#include "accel/soft/translator/generator.h"
#include "base/bits.h"

namespace doppel::accel::soft {

/// RAX has the elements that are left, RCX the number of one, RDX its value.
void Emitter::Generator::gather() {
  const GatherOperands operands = gather_operands(*planned_->instruction);
  const bool saves = needs_flags();
  Xbyak::Label next;
  Xbyak::Label complete;
  Xbyak::Label missed;
  Xbyak::Label done;
  if (saves) keep_flags_in(FlagsHome::kMemory);
  const FlagsHome home = flags_;
  effective_address(planned_->instruction->disp);
  mov(qword[at(state_.gather.base)], r10);
  mov(qword[at(state_.gather.rax)], rax);
  mov(qword[at(state_.rcx)], rcx);
  mov(qword[at(state_.gather.rdx)], rdx);
  if (operands.vex) {
    vmovdqu(yword[at(state_.gather.index)], Xbyak::Ymm(operands.index));
    vmovdqu(yword[at(state_.gather.data)], Xbyak::Ymm(operands.data));
  } else {
    vmovdqu64(zword[at(state_.gather.index)], Xbyak::Zmm(operands.index));
    vmovdqu64(zword[at(state_.gather.data)], Xbyak::Zmm(operands.data));
  }
  load_active_elements();
  jz(complete, T_NEAR);
  L(next);
  find_element();
  ja(missed, T_NEAR);
  mov(r11, qword[r11 + reinterpret_cast<std::size_t>(&entries().host)]);
  if (operands.scatter) {
    lea(r10, ptr[r10 + r11]);
    mov(qword[rcx * 8 + at(state_.gather.place)], r10);
  } else if (operands.element_size == 4) {
    mov(edx, dword[r10 + r11]);
    mov(dword[rcx * 4 + at(state_.gather.data)], edx);
  } else {
    mov(rdx, qword[r10 + r11]);
    mov(qword[rcx * 8 + at(state_.gather.data)], rdx);
  }
  blsr(eax, eax);
  jnz(next);
  if (operands.scatter) scatter_found();
  L(complete);
  put_gathered();
  restore_borrowed();
  if (saves) keep_flags_in(FlagsHome::kRegister);
  Xbyak::CodeGenerator::jmp(done);
  L(missed);
  restore_borrowed();
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), home);
  L(done);
}

/// The flags say if there are any.
void Emitter::Generator::load_active_elements() {
  const GatherOperands operands = gather_operands(*planned_->instruction);
  if (!operands.vex)
    kmovw(eax, Xbyak::Opmask(operands.mask));
  else if (operands.element_size == 4)
    vmovmskps(eax, Xbyak::Ymm(operands.mask));
  else
    vmovmskpd(eax, Xbyak::Ymm(operands.mask));
  and_(eax, static_cast<std::uint32_t>(low_mask(operands.count)));
}

/// The first that is left: R11 becomes the place of its entry, R10 its offset in the page, which the flags say to be
/// above the highest one if it is not to be had.
void Emitter::Generator::find_element() {
  const GatherOperands operands = gather_operands(*planned_->instruction);
  const Instruction& i = *planned_->instruction;
  bsf(ecx, eax);
  if (operands.index_size == 4)
    movsxd(r10, dword[rcx * 4 + at(state_.gather.index)]);
  else
    mov(r10, qword[rcx * 8 + at(state_.gather.index)]);
  mov(r11, qword[at(state_.gather.base)]);
  const Xbyak::RegExp sum = Xbyak::RegExp(r11) + Xbyak::RegExp(r10, 1 << i.scale);
  if (i.address_size == 4)
    lea(r10d, ptr[sum]);
  else
    lea(r10, ptr[sum]);
  add_segment_base();
  count_lookup();
  find_entry(
      reinterpret_cast<std::size_t>(&tlb_tag(entries(), operands.scatter ? TlbAccess::kWrite : TlbAccess::kRead)));
  cmp(r10, static_cast<std::uint32_t>(x86::kPageSize) - operands.element_size);
}

void Emitter::Generator::scatter_found() {
  const GatherOperands operands = gather_operands(*planned_->instruction);
  Xbyak::Label next;
  load_active_elements();
  L(next);
  bsf(ecx, eax);
  mov(r10, qword[rcx * 8 + at(state_.gather.place)]);
  if (operands.element_size == 4) {
    mov(edx, dword[rcx * 4 + at(state_.gather.data)]);
    mov(dword[r10], edx);
  } else {
    mov(rdx, qword[rcx * 8 + at(state_.gather.data)]);
    mov(qword[r10], rdx);
  }
  blsr(eax, eax);
  jnz(next);
}

/// And clears the mask.
void Emitter::Generator::put_gathered() {
  const GatherOperands operands = gather_operands(*planned_->instruction);
  const auto place = at(state_.gather.data);
  const int data = operands.data;
  if (!operands.scatter) switch (operands.count * operands.element_size) {
      case 8: vmovq(Xbyak::Xmm(data), qword[place]); break;
      case 16:
        operands.vex ? vmovdqu(Xbyak::Xmm(data), xword[place]) : vmovdqu64(Xbyak::Xmm(data), xword[place]);
        break;
      case 32:
        operands.vex ? vmovdqu(Xbyak::Ymm(data), yword[place]) : vmovdqu64(Xbyak::Ymm(data), yword[place]);
        break;
      default: vmovdqu64(Xbyak::Zmm(data), zword[place]); break;
    }
  if (operands.vex) {
    const Xbyak::Xmm mask(operands.mask);
    vpxor(mask, mask, mask);
  } else {
    const Xbyak::Opmask mask(operands.mask);
    kxorw(mask, mask, mask);
  }
}

/// The registers that are used beside the temporaries.
void Emitter::Generator::restore_borrowed() {
  mov(rax, qword[at(state_.gather.rax)]);
  mov(rcx, qword[at(state_.rcx)]);
  mov(rdx, qword[at(state_.gather.rdx)]);
}

}  // namespace doppel::accel::soft
