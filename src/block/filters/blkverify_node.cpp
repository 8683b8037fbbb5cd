#include "block/filters/blkverify_node.h"

#include <algorithm>

namespace doppel::block {

std::unexpected<Error> BlkverifyNode::differ(std::string text) {
  if (!failed_) {
    failed_.emplace(ErrorKind::kCorrupt, "blkverify: " + std::move(text));
    if (mismatch_) mismatch_(*failed_);
  }
  return std::unexpected(*failed_);
}

/// Both must succeed or both fail.
Result<> BlkverifyNode::judge(std::string_view what, std::uint64_t offset, Result<> test, Result<> raw) {
  if (failed_) return std::unexpected(*failed_);
  if (test.has_value() == raw.has_value()) return test;
  const Error& error = test ? raw.error() : test.error();
  return differ(fmt::format("{} at offset {} fails in the {} image alone: {}", what, offset, test ? "raw" : "test",
                            error.describe()));
}

Task<Result<>> BlkverifyNode::read(std::uint64_t offset, IoView to) {
  if (failed_) co_return std::unexpected(*failed_);
  std::vector<std::byte> right(to.size());
  const std::span<std::byte> all(right);
  auto test = co_await child().read(offset, to);
  auto raw = co_await raw_->read(offset, all);
  DOPPEL_CO_TRY(judge("a read", offset, test, raw));
  if (!test) co_return test;
  std::size_t at = 0;
  std::optional<std::size_t> wrong;
  to.for_each([&](const std::byte* data, std::size_t size) {
    const auto [mine, other] = std::mismatch(data, data + size, right.data() + at);
    if (mine != data + size && !wrong) wrong = at + static_cast<std::size_t>(mine - data);
    at += size;
  });
  if (wrong) co_return differ(fmt::format("the contents differ at offset {}", offset + *wrong));
  co_return test;
}

Task<Result<>> BlkverifyNode::write(std::uint64_t offset, IoView from) {
  if (failed_) co_return std::unexpected(*failed_);
  auto test = co_await child().write(offset, from);
  auto raw = co_await raw_->write(offset, from);
  co_return judge("a write", offset, test, raw);
}

Task<Result<>> BlkverifyNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  if (failed_) co_return std::unexpected(*failed_);
  auto test = co_await child().write_zeroes(offset, length, unmap);
  auto raw = co_await raw_->write_zeroes(offset, length, unmap);
  co_return judge("writing zeroes", offset, test, raw);
}

Task<Result<>> BlkverifyNode::flush() {
  DOPPEL_CO_TRY(co_await child().flush());
  co_return co_await raw_->flush();
}

Task<Result<>> BlkverifyNode::resize(std::uint64_t size, Preallocation preallocation) {
  auto test = co_await child().resize(size, preallocation);
  auto raw = co_await raw_->resize(size, preallocation);
  co_return judge("resizing", size, test, raw);
}

Task<Result<>> BlkverifyNode::close() {
  const auto test = co_await child().close();
  const auto raw = co_await raw_->close();
  co_return test ? raw : test;
}

void BlkverifyNode::hurry() {
  child().hurry();
  raw_->hurry();
}

}  // namespace doppel::block
