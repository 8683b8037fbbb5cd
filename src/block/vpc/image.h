// The format `vpc` (VHD): fixed images, which are the disk with a footer behind it, and dynamic ones.
#pragma once

#include <memory>

#include "block/sparse/sparse_node.h"
#include "block/vpc/footer.h"

namespace doppel::block::vpc {

/// Either kind, by what the file's footer says.
Task<Result<NodePtr>> open(Context& context, NodePtr file);

/// The disk is the file's beginning.
class FixedImage final : public Node {
 public:
  FixedImage(NodePtr data, std::uint64_t size) : data_(std::move(data)), size_(size) {}

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return data_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override { return data_->read(offset, to); }
  Task<Result<>> write(std::uint64_t offset, IoView from) override { return data_->write(offset, from); }
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override {
    return data_->write_zeroes(offset, length, unmap);
  }
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override { return data_->discard(offset, length); }
  Task<Result<>> flush() override { return data_->flush(); }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override { return data_->close(); }
  [[nodiscard]] NodeInfo info() const override;

 private:
  NodePtr data_;  // a raw node over a part of the file
  const std::uint64_t size_;
};

/// A table says where each block is; before a block's data lies a bitmap of its sectors, which nobody goes by.
class DynamicImage final : public SparseNode {
 public:
  DynamicImage(Context& context, NodePtr file, const Header& header);

  [[nodiscard]] NodeInfo info() const override;

 private:
  Task<Result<BlockEntry>> entry(std::uint64_t block) override;
  Task<Result<std::uint64_t>> new_place() override;
  Task<Result<>> enter(std::uint64_t block, std::uint64_t host) override;
  Task<Result<>> begin_writing() override;
  [[nodiscard]] std::uint64_t entry_offset(std::uint64_t block) const { return header_.table_offset + block * 4; }
  [[nodiscard]] std::uint64_t bitmap_size() const;

  const Header header_;
  std::uint64_t end_ = 0;  // where the next block goes, and until then the footer is
};

struct CreateOptions {
  std::uint64_t size = 0;
  bool fixed = false;
  bool force_size = false;  // exactly this size, not rounded up to a geometry
};

Result<> check_options(const CreateOptions& options);
/// The size that the disk will have.
std::uint64_t rounded_size(const CreateOptions& options);
/// Writes an empty image into FILE, whose old contents are lost.
Task<Result<>> create(Node& file, const CreateOptions& options);

}  // namespace doppel::block::vpc
