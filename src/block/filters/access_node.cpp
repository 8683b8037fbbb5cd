#include "block/filters/access_node.h"

#include <cstring>

namespace doppel::block {

namespace {

std::unexpected<Error> refused() {
  return fail(ErrorKind::kPermissionDenied, "the node is read-only");
}

}  // namespace

bool is_zero(IoView view) {
  bool zero = true;
  view.for_each([&](const std::byte* data, std::size_t size) {
    // Equal to itself one byte further on: all bytes are the first one.
    zero = zero && data[0] == std::byte{0} && std::memcmp(data, data + 1, size - 1) == 0;
  });
  return zero;
}

Task<Result<>> AccessNode::write(std::uint64_t offset, IoView from) {
  if (rules_.read_only) co_return refused();
  if (rules_.detect_zeroes == DetectZeroes::kOff || from.size() == 0 || !is_zero(from))
    co_return co_await child().write(offset, from);
  const bool unmap = rules_.detect_zeroes == DetectZeroes::kUnmap && rules_.unmap;
  co_return co_await child().write_zeroes(offset, from.size(), unmap ? Unmap::kMayUnmap : Unmap::kKeep);
}

Task<Result<>> AccessNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  if (rules_.read_only) co_return refused();
  co_return co_await child().write_zeroes(offset, length, rules_.unmap ? unmap : Unmap::kKeep);
}

Task<Result<>> AccessNode::discard(std::uint64_t offset, std::uint64_t length) {
  if (rules_.read_only) co_return refused();
  if (!rules_.unmap) co_return Result<>{};
  co_return co_await child().discard(offset, length);
}

Task<Result<>> AccessNode::flush() {
  if (rules_.read_only) co_return Result<>{};
  co_return co_await child().flush();
}

Task<Result<>> AccessNode::resize(std::uint64_t size, Preallocation preallocation) {
  if (rules_.read_only) co_return refused();
  co_return co_await child().resize(size, preallocation);
}

}  // namespace doppel::block
