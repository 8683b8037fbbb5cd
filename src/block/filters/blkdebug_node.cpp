#include "block/filters/blkdebug_node.h"

#include <algorithm>
#include <bit>

#include "base/bits.h"

namespace doppel::block {

namespace {

constexpr std::uint64_t kMostAlignment = 64 * kMiB;

}  // namespace

Result<> BlkdebugLimits::check() const {
  struct Row {
    std::string_view name;
    std::uint64_t value;
    bool power_of_two;
  };
  for (const auto& [name, value, power_of_two] : {Row{"align", align, true},
                                                  {"opt-write-zero", opt_write_zero, true},
                                                  {"opt-discard", opt_discard, true},
                                                  {"max-transfer", max_transfer, false},
                                                  {"max-write-zero", max_write_zero, false},
                                                  {"max-discard", max_discard, false}}) {
    if (value == 0) continue;
    if (power_of_two && (!std::has_single_bit(value) || value > kMostAlignment))
      return fail(ErrorKind::kInvalidArgument, "{} expects a power of two up to 64M, not {}", name, value);
    if (!power_of_two && !is_aligned(value, std::max<std::uint64_t>(align, 1)))
      return fail(ErrorKind::kInvalidArgument, "{} of {} is not a multiple of the alignment {}", name, value, align);
  }
  return {};
}

Result<> BlkdebugNode::judge(IoType type, std::uint64_t offset, std::uint64_t length) {
  const int error = machine_.fault(type, offset, length);
  if (error == 0) return {};
  return std::unexpected(Error::from_errno(error, fmt::format("blkdebug fails a request at offset {}", offset)));
}

Task<Result<>> BlkdebugNode::read_aligned(std::uint64_t offset, IoView to) {
  const std::size_t most = limits_.max_transfer != 0 ? limits_.max_transfer : std::max<std::size_t>(to.size(), 1);
  for (std::size_t done = 0; done < to.size();) {
    const std::size_t length = std::min(most, to.size() - done);
    DOPPEL_CO_TRY(judge(IoType::kRead, offset + done, length));
    DOPPEL_CO_TRY(co_await child().read(offset + done, to.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> BlkdebugNode::write_aligned(std::uint64_t offset, IoView from) {
  const std::size_t most = limits_.max_transfer != 0 ? limits_.max_transfer : std::max<std::size_t>(from.size(), 1);
  for (std::size_t done = 0; done < from.size();) {
    const std::size_t length = std::min(most, from.size() - done);
    DOPPEL_CO_TRY(judge(IoType::kWrite, offset + done, length));
    DOPPEL_CO_TRY(co_await child().write(offset + done, from.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> BlkdebugNode::read(std::uint64_t offset, IoView to) {
  const std::uint64_t align = limits_.align;
  if (align == 0 || (is_aligned(offset, align) && is_aligned(to.size(), align)))
    co_return co_await read_aligned(offset, to);
  const std::uint64_t begin = align_down(offset, align);
  std::vector<std::byte> bytes(align_up(offset + to.size(), align) - begin);
  const std::span<std::byte> all(bytes);
  DOPPEL_CO_TRY(co_await read_aligned(begin, all));
  to.copy_from(bytes.data() + (offset - begin));
  co_return Result<>{};
}

Task<Result<>> BlkdebugNode::write(std::uint64_t offset, IoView from) {
  const std::uint64_t align = limits_.align;
  if (align == 0) co_return co_await write_aligned(offset, from);
  if (is_aligned(offset, align) && is_aligned(from.size(), align)) {
    const auto guard = co_await blocks_.lock_shared();
    co_return co_await write_aligned(offset, from);
  }
  const auto guard = co_await blocks_.lock();
  co_return co_await widen_write(offset, from);
}

Task<Result<>> BlkdebugNode::widen_write(std::uint64_t offset, IoView from) {
  const std::uint64_t begin = align_down(offset, limits_.align);
  std::vector<std::byte> bytes(align_up(offset + from.size(), limits_.align) - begin);
  const std::span<std::byte> all(bytes);
  debug_event("pwritev_rmw_head");
  DOPPEL_CO_TRY(co_await read_aligned(begin, all));
  from.copy_to(bytes.data() + (offset - begin));
  co_return co_await write_aligned(begin, all);
}

/// The aligned middle in pieces of what is allowed; what lies around it, as bytes.
Task<Result<>> BlkdebugNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  const std::uint64_t unit = std::max(limits_.opt_write_zero, std::max<std::uint64_t>(limits_.align, 1));
  const std::uint64_t end = offset + length;
  const std::uint64_t most = limits_.max_write_zero != 0 ? align_up(limits_.max_write_zero, unit) : kGiB;
  while (offset < end) {
    const bool whole = is_aligned(offset, unit) && end - offset >= unit;
    const std::uint64_t to_border = align_down(offset, unit) + unit - offset;
    const std::uint64_t piece =
        whole ? std::min(most, align_down(end - offset, unit)) : std::min(to_border, end - offset);
    if (whole) {
      DOPPEL_CO_TRY(judge(IoType::kWriteZeroes, offset, piece));
      DOPPEL_CO_TRY(co_await child().write_zeroes(offset, piece, unmap));
    } else {
      const std::vector<std::byte> zeroes(piece);
      const std::span<const std::byte> all(zeroes);
      DOPPEL_CO_TRY(co_await write(offset, all));
    }
    offset += piece;
  }
  co_return Result<>{};
}

Task<Result<>> BlkdebugNode::discard(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t unit = std::max(limits_.opt_discard, std::max<std::uint64_t>(limits_.align, 1));
  const std::uint64_t end = align_down(offset + length, unit);
  const std::uint64_t most = limits_.max_discard != 0 ? align_up(limits_.max_discard, unit) : kGiB;
  for (std::uint64_t at = align_up(offset, unit); at < end;) {
    const std::uint64_t piece = std::min(most, end - at);
    DOPPEL_CO_TRY(judge(IoType::kDiscard, at, piece));
    DOPPEL_CO_TRY(co_await child().discard(at, piece));
    at += piece;
  }
  co_return Result<>{};
}

Task<Result<>> BlkdebugNode::flush() {
  DOPPEL_CO_TRY(judge(IoType::kFlush, 0, 0));
  co_return co_await child().flush();
}

Task<Result<BlockStatus>> BlkdebugNode::block_status(std::uint64_t offset, std::uint64_t length) {
  const auto judged = judge(IoType::kBlockStatus, offset, length);
  if (!judged) co_return std::unexpected(judged.error());
  co_return co_await child().block_status(offset, length);
}

}  // namespace doppel::block
