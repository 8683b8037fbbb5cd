// The format `raw`: the file's bytes are the disk's, or a part of the file's are.
#pragma once

#include <optional>

#include "block/node.h"

namespace doppel::block {

struct RawOptions {
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> size{};  // unset: to the end of the file
  bool probed = false;                  // nobody said that this is raw: see RawNode
};

/// The disk is the file rounded up to sectors of 512 bytes. A probed raw image refuses writes that would make its
/// beginning look like another format: otherwise a guest could write itself a qcow2 header that names any file of the
/// host as its backing file, and read that after the next start.
class RawNode final : public Node {
 public:
  static Result<NodePtr> create(NodePtr file, RawOptions options);

  [[nodiscard]] std::uint64_t size() const override;
  [[nodiscard]] bool read_only() const override { return file_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<bool> splice(std::uint64_t offset, std::size_t length, int pipe) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override { return file_->flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override { return file_->close(); }
  void hurry() override { file_->hurry(); }
  [[nodiscard]] NodeInfo info() const override;

 private:
  RawNode(NodePtr file, RawOptions options) : file_(std::move(file)), options_(options) {}

  [[nodiscard]] bool windowed() const { return options_.offset != 0 || options_.size.has_value(); }
  [[nodiscard]] Result<> check_range(std::uint64_t offset, std::uint64_t length) const;
  Task<Result<>> write_head(std::uint64_t offset, IoView from);

  NodePtr file_;
  RawOptions options_;
  Mutex head_;  // held while the first bytes of a probed image are judged and written
};

}  // namespace doppel::block
