// Bits that were set in memory, on top of what the file has of a bitmap.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>

namespace doppel::block::qcow2 {

/// Calls RUN(first, count) for each run of set bits in BYTES, whose first bit has number BASE.
void for_each_run(std::span<const std::byte> bytes, std::uint64_t base,
                  const std::function<void(std::uint64_t first, std::uint64_t count)>& run);
/// Clears all bits of BYTES from number BITS on.
void clear_from(std::span<std::byte> bytes, std::uint64_t bits);

/// Takes memory for parts that have any. Bit 0 of a byte is the first, as qcow2 stores them.
class BitmapBits {
 public:
  static constexpr std::uint64_t kPieceBytes = 512;  // divides every cluster
  static constexpr std::uint64_t kPieceBits = kPieceBytes * 8;

  void set(std::uint64_t first, std::uint64_t count);
  [[nodiscard]] bool empty() const { return pieces_.empty(); }
  void clear() { pieces_.clear(); }
  /// Forgets all from bit BITS on.
  void truncate(std::uint64_t bits);
  /// Is any set in bytes [OFFSET, OFFSET + LENGTH), multiples of kPieceBytes?
  [[nodiscard]] bool any(std::uint64_t offset, std::uint64_t length) const;
  /// Sets in TO, which begins at byte OFFSET, what is set here.
  void add_to(std::uint64_t offset, std::span<std::byte> to) const;
  /// The first byte from OFFSET on, rounded down to pieces, that may have any; ~0: there is none.
  [[nodiscard]] std::uint64_t next(std::uint64_t offset) const;

 private:
  using Piece = std::array<std::byte, kPieceBytes>;
  std::map<std::uint64_t, Piece> pieces_;  // by number
};

}  // namespace doppel::block::qcow2
