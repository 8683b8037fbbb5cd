#include "block/nbd/nbd_node.h"

#include <algorithm>

#include "base/bits.h"
#include "block/aligned_buffer.h"

namespace doppel::block::nbd {
namespace {

constexpr std::size_t kPiece = 2 << 20;         // of what is cut anyway: keeps the server busy while bytes travel
constexpr std::uint64_t kMostZeroes = 1 << 30;  // lengths have 32 bits
constexpr std::size_t kZeroBytes = 256 << 10;

/// VIEW's bytes if they are in one piece of memory.
std::optional<std::span<std::byte>> one_piece(IoView view) {
  std::optional<std::span<std::byte>> piece;
  bool more = false;
  view.for_each([&](std::byte* data, std::size_t size) {
    more = more || piece.has_value();
    piece = std::span(data, size);
  });
  if (more) return std::nullopt;
  return piece;
}

}  // namespace

Task<Result<NodePtr>> NbdNode::open(Context& context, std::string name, FileOptions options) {
  DOPPEL_CO_ASSIGN(const Location location, parse_location(name));
  const std::function<Result<std::shared_ptr<Connection>>()> connect = [&] {
    return Connection::connect(context, location, name);
  };
  DOPPEL_CO_ASSIGN(std::shared_ptr<Connection> connection, co_await in_worker(context.workers(), connect));
  if (options.writable && connection->facts().read_only)
    co_return fail(ErrorKind::kPermissionDenied, "cannot open '{}' for writing: the export is read-only", name);
  connection->start();
  co_return NodePtr(new NbdNode(std::move(connection), std::move(name), options));
}

NbdNode::~NbdNode() {
  connection_->stop();
}

Task<Result<>> NbdNode::close() {
  connection_->stop();
  co_return Result<>{};
}

bool NbdNode::aligned(std::uint64_t offset, std::uint64_t length) const {
  return is_aligned(offset, facts().least_block) && is_aligned(length, facts().least_block);
}

Result<> NbdNode::check_end(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kNoSpace, "'{}' has {} bytes and does not grow", name_, size());
}

Result<> NbdNode::result_of(int error, std::string_view what, std::uint64_t offset) const {
  if (error == 0) return {};
  return std::unexpected(Error::from_errno(error, fmt::format("cannot {} '{}' at offset {}", what, name_, offset)));
}

Task<Result<>> NbdNode::read(std::uint64_t offset, IoView to) {
  const auto inside =
      static_cast<std::size_t>(offset < size() ? std::min<std::uint64_t>(to.size(), size() - offset) : 0);
  to.slice(inside, to.size() - inside).clear();
  for (std::size_t done = 0; done < inside;) {
    const std::uint64_t begin = align_down(offset + done, facts().least_block);
    const auto skip = static_cast<std::size_t>(offset + done - begin);
    const std::size_t most = std::max<std::uint64_t>(std::min<std::uint64_t>(kPiece, facts().most_payload), skip + 1);
    const std::size_t length = std::min(inside - done, most - skip);
    const std::size_t whole = align_up(skip + length, facts().least_block);
    const auto direct = one_piece(to.slice(done, length));
    if (direct && skip == 0 && whole == length) {
      const int error = co_await connection_->read(begin, *direct);
      DOPPEL_CO_TRY(result_of(error, "read", begin));
    } else {
      std::vector<std::byte> bounce(whole);
      const int error = co_await connection_->read(begin, bounce);
      DOPPEL_CO_TRY(result_of(error, "read", begin));
      to.slice(done, length).copy_from(bounce.data() + skip);
    }
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> NbdNode::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_end(offset, from.size()));
  if (facts().least_block == 1) co_return co_await write_blocks(offset, from);
  if (aligned(offset, from.size())) {
    const auto guard = co_await blocks_.lock_shared();
    co_return co_await write_blocks(offset, from);
  }
  const auto guard = co_await blocks_.lock();
  co_return co_await write_unaligned(offset, from);
}

Task<Result<>> NbdNode::write_blocks(std::uint64_t offset, IoView from) {
  const std::size_t most = std::min<std::uint64_t>(align_up(kPiece, facts().least_block), facts().most_payload);
  for (std::size_t done = 0; done < from.size();) {
    const std::size_t length = std::min(from.size() - done, most);
    const IoView part = from.slice(done, length);
    const auto direct = one_piece(part);
    std::vector<std::byte> bounce;
    if (!direct) {
      bounce.resize(length);
      part.copy_to(bounce.data());
    }
    const std::span<const std::byte> bytes = direct ? *direct : std::span<const std::byte>(bounce);
    const int error = co_await connection_->write(offset + done, bytes);
    DOPPEL_CO_TRY(result_of(error, "write", offset + done));
    done += length;
  }
  co_return Result<>{};
}

/// Whole blocks around FROM are read, changed and written.
Task<Result<>> NbdNode::write_unaligned(std::uint64_t offset, IoView from) {
  const std::size_t most =
      std::max<std::uint64_t>(std::min<std::uint64_t>(kPiece, facts().most_payload), facts().least_block);
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t begin = align_down(offset + done, facts().least_block);
    const auto skip = static_cast<std::size_t>(offset + done - begin);
    const std::size_t length = std::min(from.size() - done, most - skip);
    std::vector<std::byte> bytes(align_up(skip + length, facts().least_block));
    const std::span<std::byte> all(bytes);
    const int read_error = co_await connection_->read(begin, all);
    DOPPEL_CO_TRY(result_of(read_error, "read", begin));
    from.slice(done, length).copy_to(bytes.data() + skip);
    const std::span<const std::byte> changed(bytes);
    const int error = co_await connection_->write(begin, changed);
    DOPPEL_CO_TRY(result_of(error, "write", begin));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> NbdNode::write_zero_bytes(std::uint64_t offset, std::uint64_t length) {
  const std::vector<std::byte> zeroes(std::min<std::uint64_t>(length, kZeroBytes));
  while (length > 0) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeroes.size()));
    const std::span<const std::byte> bytes = std::span(zeroes).first(part);
    DOPPEL_CO_TRY(co_await write(offset, bytes));
    offset += part;
    length -= part;
  }
  co_return Result<>{};
}

Task<Result<>> NbdNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_end(offset, length));
  const std::uint64_t begin = align_up(offset, facts().least_block);
  const std::uint64_t end = align_down(offset + length, facts().least_block);
  if (!facts().can_zero || begin >= end) co_return co_await write_zero_bytes(offset, length);
  DOPPEL_CO_TRY(co_await write_zero_bytes(offset, begin - offset));
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t part = std::min(end - at, kMostZeroes);
    const auto guard = co_await blocks_.lock_shared();
    const int error = co_await connection_->zero(at, part, unmap == Unmap::kMayUnmap);
    DOPPEL_CO_TRY(result_of(error, "write zeroes to", at));
    at += part;
  }
  co_return co_await write_zero_bytes(end, offset + length - end);
}

Task<Result<>> NbdNode::discard(std::uint64_t offset, std::uint64_t length) {
  if (!facts().can_trim || offset >= size()) co_return Result<>{};
  const std::uint64_t end = align_down(offset + std::min(length, size() - offset), facts().least_block);
  for (std::uint64_t at = align_up(offset, facts().least_block); at < end;) {
    const std::uint64_t part = std::min(end - at, kMostZeroes);
    const int error = co_await connection_->trim(at, part);
    DOPPEL_CO_TRY(result_of(error, "discard in", at));
    at += part;
  }
  co_return Result<>{};
}

Task<Result<>> NbdNode::flush() {
  if (options_.skip_flush || !facts().can_flush) co_return Result<>{};
  const int error = co_await connection_->flush();
  if (error != 0) co_return std::unexpected(Error::from_errno(error, fmt::format("cannot flush '{}'", name_)));
  co_return Result<>{};
}

Task<Result<BlockStatus>> NbdNode::block_status(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size()) co_return BlockStatus{.bytes = length, .allocated = true, .zero = true};
  length = std::min(length, size() - offset);
  BlockStatus status{.bytes = length, .allocated = true, .data = true, .offset = offset};
  if (!facts().knows_allocation) co_return status;
  const std::uint64_t begin = align_down(offset, facts().least_block);
  const std::uint64_t asked = std::min(align_up(offset + length, facts().least_block) - begin, kMostZeroes);
  Extent found;
  const int error = co_await connection_->extent(begin, asked, found);
  DOPPEL_CO_TRY(result_of(error, "ask what is in", begin));
  const std::uint64_t skip = offset - begin;
  if (found.length <= skip) co_return status;  // a server that tells nothing
  status.bytes = std::min(length, found.length - skip);
  status.zero = (found.flags & LIBNBD_STATE_ZERO) != 0;
  status.data = (found.flags & LIBNBD_STATE_HOLE) == 0;
  co_return status;
}

Task<Result<>> NbdNode::resize(std::uint64_t size, Preallocation /*preallocation*/) {
  if (size == facts().size) co_return Result<>{};
  co_return fail(ErrorKind::kUnsupported, "'{}' cannot be resized: NBD has no way to say so", name_);
}

NodeInfo NbdNode::info() const {
  return {.format = "nbd", .filename = name_, .virtual_size = size(), .disk_size_known = false};
}

}  // namespace doppel::block::nbd
