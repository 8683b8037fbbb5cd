#include "block/qcow2/bitmap_bits.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::block::qcow2 {

void for_each_run(std::span<const std::byte> bytes, std::uint64_t base,
                  const std::function<void(std::uint64_t first, std::uint64_t count)>& run) {
  std::uint64_t begin = 0;
  std::uint64_t length = 0;
  const auto end_run = [&] {
    if (length > 0) run(begin, length);
    length = 0;
  };
  const auto add = [&](std::uint64_t bit, std::uint64_t count) {
    if (length == 0) begin = bit;
    length += count;
  };
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint64_t first = base + i * 8;
    const auto byte = std::to_integer<unsigned>(bytes[i]);
    if (byte == 0xff) {
      add(first, 8);
    } else if (byte == 0) {
      end_run();
    } else {
      for (unsigned bit = 0; bit < 8; ++bit) {
        if (test_bit(byte, bit))
          add(first + bit, 1);
        else
          end_run();
      }
    }
  }
  end_run();
}

void clear_from(std::span<std::byte> bytes, std::uint64_t bits) {
  const std::uint64_t whole = bits / 8;
  if (whole >= bytes.size()) return;
  bytes[whole] &= static_cast<std::byte>(low_mask(static_cast<unsigned>(bits % 8)));
  std::ranges::fill(bytes.subspan(whole + 1), std::byte{0});
}

void BitmapBits::set(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = first + count;
  while (first < end) {
    Piece& piece = pieces_[first / kPieceBits];
    const std::uint64_t piece_end = std::min(end, (first / kPieceBits + 1) * kPieceBits);
    for (; first < piece_end; ++first) {
      const std::uint64_t bit = first % kPieceBits;
      if (bit % 8 == 0 && piece_end - first >= 8) {
        const auto whole = static_cast<std::size_t>((piece_end - first) / 8);
        std::fill_n(piece.begin() + static_cast<std::ptrdiff_t>(bit / 8), whole, std::byte{0xff});
        first += whole * 8 - 1;
      } else {
        piece[bit / 8] |= static_cast<std::byte>(1U << (bit % 8));
      }
    }
  }
}

void BitmapBits::truncate(std::uint64_t bits) {
  const std::uint64_t last = bits / kPieceBits;
  if (const auto found = pieces_.find(last); found != pieces_.end()) clear_from(found->second, bits % kPieceBits);
  pieces_.erase(pieces_.upper_bound(last), pieces_.end());
}

bool BitmapBits::any(std::uint64_t offset, std::uint64_t length) const {
  const auto found = pieces_.lower_bound(offset / kPieceBytes);
  return found != pieces_.end() && found->first * kPieceBytes < offset + length;
}

void BitmapBits::add_to(std::uint64_t offset, std::span<std::byte> to) const {
  auto it = pieces_.lower_bound(offset / kPieceBytes);
  for (; it != pieces_.end() && it->first * kPieceBytes < offset + to.size(); ++it) {
    std::byte* place = to.data() + (it->first * kPieceBytes - offset);
    for (std::size_t i = 0; i < kPieceBytes; ++i) place[i] |= it->second[i];
  }
}

std::uint64_t BitmapBits::next(std::uint64_t offset) const {
  const auto found = pieces_.lower_bound(offset / kPieceBytes);
  return found == pieces_.end() ? ~std::uint64_t{0} : found->first * kPieceBytes;
}

}  // namespace doppel::block::qcow2
