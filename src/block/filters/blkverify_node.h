// The filter `blkverify`: two nodes that are to have the same contents, one under test, one known to be right.
#pragma once

#include <functional>

#include "block/filters/filter_node.h"

namespace doppel::block {

/// What is written goes to both; what is read is compared. From the first difference on every request fails, and
/// MISMATCH, if there is one, has been told of it once.
class BlkverifyNode final : public FilterNode {
 public:
  using Mismatch = std::function<void(const Error&)>;
  BlkverifyNode(NodePtr test, NodePtr raw, Mismatch mismatch)
      : FilterNode(std::move(test)), raw_(std::move(raw)), mismatch_(std::move(mismatch)) {}

  [[nodiscard]] bool read_only() const override { return child().read_only() || raw_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  /// What reads where something was discarded is anybody's guess: zeroes go there instead.
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override {
    return write_zeroes(offset, length, Unmap::kKeep);
  }
  Task<Result<>> flush() override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;
  void hurry() override;
  [[nodiscard]] NodeInfo info() const override { return info_as("blkverify"); }

 private:
  [[nodiscard]] Result<> judge(std::string_view what, std::uint64_t offset, Result<> test, Result<> raw);
  [[nodiscard]] std::unexpected<Error> differ(std::string text);

  NodePtr raw_;
  Mismatch mismatch_;
  std::optional<Error> failed_;
};

}  // namespace doppel::block
