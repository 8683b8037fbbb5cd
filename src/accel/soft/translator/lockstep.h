// What lockstep compares: the guest's registers, and the memory that a stretch of instructions writes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/fpu_state.h"

namespace doppel::accel::soft {

/// All that translated code may change but for memory.
struct GuestRegisters {
  std::array<std::uint64_t, x86::kGprCount> gpr{};
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0;
  std::uint64_t gs_base = 0;
  std::uint64_t kernel_gs_base = 0;
  FpuState fpu;

  void take(const Cpu& cpu);
  void put(Cpu& cpu) const;
};

/// What need not be equal.
struct Ignored {
  std::uint64_t gpr = 0;
  std::uint64_t rflags = 0;
  std::uint32_t mxcsr = 0;
  bool x87 = false;  // an MMX instruction that faults may have made x87's registers MMX's already
};

[[nodiscard]] bool same(const GuestRegisters& a, const GuestRegisters& b, const Ignored& ignored);

/// Memory that is about to be written, and what stood there.
class Journal {
 public:
  struct Place {
    std::uint64_t linear = 0;
    std::byte* host = nullptr;
    std::size_t size = 0;
  };
  using Contents = std::vector<std::byte>;  // of all places, one behind the other

  void clear() {
    places_.clear();
    before_.clear();
  }
  void add(const Place& place);
  /// Puts back what stood there.
  void undo() const;
  /// What stands there now.
  void read(Contents& contents) const;

  [[nodiscard]] std::span<const Place> places() const { return places_; }
  [[nodiscard]] const Contents& before() const { return before_; }

 private:
  std::vector<Place> places_;  // may overlap: a later one's "before" is an earlier one's "after"
  Contents before_;
};

/// One value that both sides have, for reports.
struct ComparedValue {
  std::string name;
  std::string before;
  std::string interpreted;
  std::string translated;
  bool differs = false;
};
/// General registers, RIP and RFLAGS; of the rest what differs.
std::vector<ComparedValue> compared_registers(const GuestRegisters& before, const GuestRegisters& interpreted,
                                              const GuestRegisters& translated, const Ignored& ignored);
std::vector<ComparedValue> compared_memory(const Journal& journal, const Journal::Contents& interpreted,
                                           const Journal::Contents& translated);

}  // namespace doppel::accel::soft
