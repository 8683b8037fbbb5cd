// The bus accesses (MMIO and port I/O) of the instruction being executed. Each leaves run() once; the instruction is
// then executed again from its start, and accesses that were answered are answered from here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/exit.h"

namespace doppel::accel::soft {

struct BusAccess {
  enum class Kind : std::uint8_t { kMemory, kPort, kMsr };
  Kind kind = Kind::kMemory;
  IoDirection direction = IoDirection::kIn;
  std::uint64_t address = 0;
  std::uint8_t size = 0;  // bytes, 1 to 8
  std::uint64_t value = 0;
  std::uint8_t fault = 0;   // kMsr: #GP instead
  std::uint32_t count = 0;  // kPort: if not 0, so many elements in BusLog::block() instead of VALUE
};

class BusLog {
 public:
  /// The next access of the instruction: its answer if there is one already, else null; then pending() is it.
  const BusAccess* next(const BusAccess& access);
  [[nodiscard]] bool is_pending() const { return pending_; }
  [[nodiscard]] BusAccess& pending() { return accesses_.back(); }
  /// The pending access was carried out; the instruction begins anew.
  void answered() {
    pending_ = false;
    cursor_ = 0;
  }
  /// The instruction begins anew for another reason, such as a fault after some accesses.
  void rewind() { cursor_ = 0; }
  [[nodiscard]] bool empty() const { return accesses_.empty(); }
  /// The elements of a string access, of which an instruction makes one at a time.
  [[nodiscard]] std::span<std::byte> block() { return block_; }
  /// The instruction is done.
  void clear() {
    accesses_.clear();
    cursor_ = 0;
    pending_ = false;
  }

 private:
  std::array<std::byte, 1024> block_;
  std::vector<BusAccess> accesses_;
  std::size_t cursor_ = 0;
  bool pending_ = false;
};

inline const BusAccess* BusLog::next(const BusAccess& access) {
  if (cursor_ < accesses_.size() && !(pending_ && cursor_ + 1 == accesses_.size())) return &accesses_[cursor_++];
  if (!pending_) accesses_.push_back(access);
  pending_ = true;
  return nullptr;
}

}  // namespace doppel::accel::soft
