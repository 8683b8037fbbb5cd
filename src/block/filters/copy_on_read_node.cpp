#include "block/filters/copy_on_read_node.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::block {

namespace {

constexpr std::uint64_t kLeastUnit = 4 * kKiB;
constexpr std::uint64_t kMostAtOnce = 2 * kMiB;

}  // namespace

CopyOnReadNode::CopyOnReadNode(NodePtr child)
    : FilterNode(std::move(child)), unit_(std::max(this->child().info().cluster_size, kLeastUnit)) {}

/// How many bytes at OFFSET are alike, and whether the image has them itself or a backing file decides.
Task<Result<std::uint64_t>> CopyOnReadNode::run_in_image(std::uint64_t offset, std::uint64_t length, bool& in_image) {
  DOPPEL_CO_ASSIGN(const BlockStatus status, co_await child().block_status(offset, length));
  in_image = status.allocated || status.zero;
  co_return std::min(status.bytes, length);
}

Task<Result<>> CopyOnReadNode::read(std::uint64_t offset, IoView to) {
  if (child().backing() == nullptr) co_return co_await child().read(offset, to);
  const std::uint64_t end = std::min(offset + to.size(), size());
  for (std::uint64_t at = offset; at < end;) {
    bool in_image = false;
    DOPPEL_CO_ASSIGN(const std::uint64_t run, co_await run_in_image(at, end - at, in_image));
    if (!in_image) DOPPEL_CO_TRY(co_await copy(at, run));
    at += run;
  }
  co_return co_await child().read(offset, to);
}

Task<Result<>> CopyOnReadNode::copy(std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await writes_.lock();
  const std::uint64_t begin = align_down(offset, unit_);
  const std::uint64_t end = std::min(align_up(offset + length, unit_), size());
  for (std::uint64_t at = begin; at < end;) {
    bool in_image = false;  // asked anew: somebody may have written meanwhile
    DOPPEL_CO_ASSIGN(std::uint64_t run, co_await run_in_image(at, std::min(end - at, kMostAtOnce), in_image));
    if (!in_image) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(run));
      const std::span<std::byte> all(bytes);
      DOPPEL_CO_TRY(co_await child().read(at, all));
      DOPPEL_CO_TRY(co_await child().write(at, all));
    }
    at += run;
  }
  co_return Result<>{};
}

Task<Result<>> CopyOnReadNode::write(std::uint64_t offset, IoView from) {
  const auto guard = co_await writes_.lock_shared();
  co_return co_await child().write(offset, from);
}

Task<Result<>> CopyOnReadNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  const auto guard = co_await writes_.lock_shared();
  co_return co_await child().write_zeroes(offset, length, unmap);
}

Task<Result<>> CopyOnReadNode::discard(std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await writes_.lock_shared();
  co_return co_await child().discard(offset, length);
}

Task<Result<>> CopyOnReadNode::resize(std::uint64_t size, Preallocation preallocation) {
  const auto guard = co_await writes_.lock();
  co_return co_await child().resize(size, preallocation);
}

}  // namespace doppel::block
