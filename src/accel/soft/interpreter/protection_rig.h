// TestCpu with room in the GDT, a handler for each exception, and ways into other privilege levels: for tests of
// segmentation, transfers, events and tasks.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <vector>

#include "accel/soft/interpreter/interrupts.h"
#include "accel/soft/interpreter/test_cpu.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {

class ProtectionRig : public TestCpu {
 public:
  // GDT and LDT entries from here on are the test's.
  static constexpr std::uint16_t kFree = 0x80;
  static constexpr std::uint16_t kGdtLimit = 0x3ff;
  static constexpr std::uint64_t kLdt = 0x9000;
  static constexpr std::uint64_t kTarget = 0x5000;  // where transfers go

  explicit ProtectionRig(tiny::Mode mode, const x86::FeatureSet& features = x86::named_features())
      : TestCpu(mode, features), mode_(mode) {
    if (mode != tiny::Mode::kReal16) cpu.gdt.limit = kGdtLimit;
    if (!is_long()) poke<std::uint16_t>(tiny::kTss + x86::tss32::kSs0, tiny::kData32);
    for (unsigned vector = 0; vector < 32; ++vector)
      tiny::write_gate(memory(), mode, static_cast<std::uint8_t>(vector), handler(vector));
    std::memset(memory().data() + tiny::kHandler, 0x90, handler(32) - tiny::kHandler);  // a fault counts for nothing
    if (mode == tiny::Mode::kReal16) cpu.idt.limit = 0x7f;
  }

  [[nodiscard]] bool is_long() const { return mode_ == tiny::Mode::kLong64 || mode_ == tiny::Mode::kUser64; }
  static constexpr std::uint64_t handler(unsigned vector) { return tiny::kHandler + vector * 16ULL; }

  void set_descriptor(std::uint16_t selector, const x86::Segment& segment) {
    poke<std::uint64_t>(tiny::kGdt + (selector & 0xfff8U), x86::encode_descriptor(segment));
  }
  void set_system_descriptor(std::uint16_t selector, const x86::Segment& segment) {
    set_descriptor(selector, segment);
    if (is_long()) poke<std::uint64_t>(tiny::kGdt + (selector & 0xfff8U) + 8, segment.base >> 32);
  }
  void set_gate(std::uint16_t selector, const x86::Gate& gate) {
    poke<std::uint64_t>(tiny::kGdt + (selector & 0xfff8U), x86::encode_gate(gate));
    if (is_long()) poke<std::uint64_t>(tiny::kGdt + (selector & 0xfff8U) + 8, gate.offset >> 32);
  }
  void set_idt_gate(std::uint8_t vector, const x86::Gate& gate) {
    if (is_long()) {
      const auto halves = x86::encode_gate64(gate);
      poke(tiny::kIdt + vector * 16ULL, halves[0]);
      poke(tiny::kIdt + vector * 16ULL + 8, halves[1]);
    } else {
      poke(tiny::kIdt + vector * 8ULL, x86::encode_gate(gate));
    }
  }
  [[nodiscard]] std::uint8_t access_byte(std::uint16_t selector) const {
    return peek<std::uint8_t>(tiny::kGdt + (selector & 0xfff8U) + 5);
  }

  /// 32-bit code and stack of privilege 3, I/O privilege 0.
  void enter_user32() {
    cpu.segment[x86::kCs] = user(true, tiny::kUserCode32);
    for (const x86::SegmentName name : {x86::kSs, x86::kDs, x86::kEs, x86::kFs, x86::kGs})
      cpu.segment.at(name) = user(false, tiny::kUserData);
    cpu.update_mode();
  }
  /// VM86 with all segments at base 0.
  void enter_vm86(unsigned iopl) {
    for (x86::Segment& segment : cpu.segment) {
      segment = x86::real_mode_segment(0);
      segment.dpl = 3;
    }
    cpu.rflags = x86::rflags::kFixed | x86::rflags::kVm | iopl << x86::rflags::kIoplShift;
    cpu.update_mode();
  }
  static x86::Segment user(bool code, std::uint16_t selector) {
    x86::Segment segment = x86::flat_segment(selector, code);
    segment.dpl = 3;
    return segment;
  }
  static x86::Segment tss(std::uint64_t base, std::uint8_t type = x86::kTssAvailable) {
    return {.base = base, .limit = 0x67, .type = type, .code_or_data = false};
  }

  /// Runs one instruction, or the handler's first; the exception it led to, if any, with the error code on the
  /// handler's stack.
  std::optional<Fault> fault_of(std::initializer_list<std::uint8_t> code) {
    run(code);
    return fault();
  }
  [[nodiscard]] std::optional<Fault> fault() const {
    if (cpu.rip < tiny::kHandler || cpu.rip >= handler(32)) return {};
    const auto vector = static_cast<std::uint8_t>((cpu.rip - tiny::kHandler) / 16);
    const bool has_error_code = mode_ != tiny::Mode::kReal16 && x86::pushes_error_code(vector);
    return Fault{vector, has_error_code, has_error_code ? stack<std::uint32_t>(0) : 0};
  }
  /// The Nth value of T on a stack with base 0.
  template <class T>
  [[nodiscard]] T stack(unsigned n) const {
    return peek<T>(cpu.gpr[x86::kRsp] + n * sizeof(T));
  }
  template <class T>
  void set_stack(std::initializer_list<T> values) {
    std::uint64_t at = cpu.gpr[x86::kRsp];
    for (const T value : values) {
      poke<T>(at, value);
      at += sizeof(T);
    }
  }

 private:
  const tiny::Mode mode_;
};

inline bool operator==(const Fault& a, const Fault& b) {
  return a.vector == b.vector && a.has_error_code == b.has_error_code && a.error_code == b.error_code;
}
inline void PrintTo(const Fault& fault, std::ostream* out) {
  *out << "#" << unsigned{fault.vector} << "(" << fault.error_code << ")";
}
inline std::optional<Fault> fault_with(std::uint8_t vector, std::uint32_t error_code = 0) {
  return Fault{vector, x86::pushes_error_code(vector), error_code};
}

}  // namespace doppel::accel::soft
