// The filter `copy-on-read`: what is read from a backing file is kept in the image on top of it.
#pragma once

#include "block/filters/filter_node.h"

namespace doppel::block {

/// Whole clusters are copied, one run at a time and with no write under way, so that none is overtaken by older bytes.
class CopyOnReadNode final : public FilterNode {
 public:
  explicit CopyOnReadNode(NodePtr child);

  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  [[nodiscard]] NodeInfo info() const override { return info_as("copy-on-read"); }

 private:
  Task<Result<std::uint64_t>> run_in_image(std::uint64_t offset, std::uint64_t length, bool& in_image);
  Task<Result<>> copy(std::uint64_t offset, std::uint64_t length);

  const std::uint64_t unit_;
  Mutex writes_;  // writers share it, a copy holds it alone
};

}  // namespace doppel::block
