// gdb's breakpoints and watchpoints, carried to the guest: INT3 planted in its memory, or the four debug registers
// (SDM 3B 18.2).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "accel/accelerator.h"
#include "base/error.h"
#include "gdbstub/debug_target.h"

namespace doppel::gdbstub {

/// The numbers are those of gdb's Z packets.
enum class BreakKind : std::uint8_t { kSoftware = 0, kHardware = 1, kWrite = 2, kRead = 3, kAccess = 4 };

/// Where the accelerator does not hand INT3 back to us, software breakpoints take debug registers too.
class Breakpoints {
 public:
  static constexpr std::size_t kMaxCount = 1024;
  static constexpr unsigned kDebugRegisters = 4;

  explicit Breakpoints(DebugTarget& target) : target_(target) {}

  /// LENGTH is the bytes watched; a breakpoint has none to speak of. CPU's page tables say where ADDRESS is. Inserting
  /// what is there already changes nothing. kUnsupported, kNoSpace: with a sentence for the user.
  Result<> insert(BreakKind kind, std::uint64_t address, std::uint64_t length, unsigned cpu);
  Result<> remove(BreakKind kind, std::uint64_t address, std::uint64_t length);
  /// Removes all, restoring the guest's memory.
  void clear();

  /// Execution at LINEAR stops.
  [[nodiscard]] bool stops_at(std::uint64_t linear) const;
  /// Takes breakpoints on LINEAR's execution out of the guest until plant().
  void lift(std::uint64_t linear);
  /// Puts everything in (again): what was lifted, and what the guest wrote over.
  void plant();
  /// For each CPU, as of the last lift() or plant().
  [[nodiscard]] accel::DebugRequest request() const;

  struct Hit {
    BreakKind kind = BreakKind::kSoftware;
    std::uint64_t address = 0;
  };
  [[nodiscard]] std::optional<Hit> find_hit(const accel::DebugExit& exit) const;

  /// Guest memory as if nothing were planted.
  Result<> read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) const;
  Result<> write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data);

  [[nodiscard]] bool empty() const { return breaks_.empty(); }
  /// One line each, and what the accelerator cannot do.
  [[nodiscard]] std::string describe() const;

 private:
  /// An INT3 in place of ORIGINAL.
  struct Planted {
    memory::GuestPhysAddr address;
    std::byte original{};
    bool in_place = false;
  };
  struct Break {
    BreakKind kind = BreakKind::kSoftware;
    std::uint64_t address = 0;
    std::uint64_t length = 1;
    std::optional<Planted> planted;  // none: in debug registers
  };
  /// What one debug register watches.
  struct Slot {
    const Break* owner = nullptr;
    std::uint64_t address = 0;
    unsigned size = 1;
  };

  [[nodiscard]] std::vector<Slot> slots() const;
  Result<> check_kind(BreakKind kind) const;
  Result<Planted> plan_planting(std::uint64_t address, unsigned cpu);
  Result<> plant_one(Planted& planted);
  void unplant(Planted& planted);
  [[nodiscard]] std::vector<Break>::iterator find(BreakKind kind, std::uint64_t address, std::uint64_t length);

  DebugTarget& target_;
  std::vector<Break> breaks_;
  std::optional<std::uint64_t> lifted_;
};

}  // namespace doppel::gdbstub
