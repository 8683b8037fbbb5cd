// What a node's read-only=, discard= and detect-zeroes= say, whatever its driver is.
#pragma once

#include "block/filters/filter_node.h"

namespace doppel::block {

enum class DetectZeroes : std::uint8_t { kOff, kOn, kUnmap };

struct AccessRules {
  bool read_only = false;
  bool unmap = true;  // false: discards end here, and zeroes keep their space
  DetectZeroes detect_zeroes = DetectZeroes::kOff;

  [[nodiscard]] bool change_nothing() const { return !read_only && unmap && detect_zeroes == DetectZeroes::kOff; }
};

class AccessNode final : public FilterNode {
 public:
  AccessNode(NodePtr child, AccessRules rules) : FilterNode(std::move(child)), rules_(rules) {}

  [[nodiscard]] bool read_only() const override { return rules_.read_only || child().read_only(); }
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;

 private:
  const AccessRules rules_;
};

/// Are all bytes of VIEW zero?
bool is_zero(IoView view);

}  // namespace doppel::block
