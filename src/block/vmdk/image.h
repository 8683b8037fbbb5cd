// The format `vmdk`, VMware's: a disk of one or more extents, and a descriptor that names them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/check.h"
#include "block/compressed_target.h"
#include "block/context.h"
#include "block/node.h"
#include "block/vmdk/descriptor.h"
#include "block/vmdk/sparse_extent.h"

namespace doppel::block::vmdk {

/// Opens an extent's file by the name that the descriptor gives it.
using OpenFile = std::function<Result<NodePtr>(const std::string& name, Access access)>;

class Image final : public Node, public Checkable, public CompressedTarget {
 public:
  /// FILE: a sparse extent that holds its descriptor, or the descriptor.
  static Task<Result<std::unique_ptr<Image>>> open(Context& context, NodePtr file, OpenFile open_file);

  /// Before the first request. Fails if BACKING is not, or no longer, what this image was made upon.
  Result<> set_backing(NodePtr backing);
  [[nodiscard]] Node* backing() const override { return backing_.get(); }
  [[nodiscard]] const Descriptor& descriptor() const { return descriptor_; }

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override;
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  /// Refused.
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;
  [[nodiscard]] NodeInfo info() const override;

  Task<Result<Packed>> pack(IoView from) override;
  Task<Result<>> write_packed(std::uint64_t offset, IoView from, Packed packed) override;
  [[nodiscard]] bool compressed_only() const override;
  /// Cannot repair.
  Task<Result<CheckResult>> check(Repair repair) override;

 private:
  struct Extent {
    NodePtr node{};
    SparseExtent* sparse = nullptr;  // NODE, where it is one
    std::string type{};              // as the descriptor has it; of a single file: empty
    std::uint64_t begin = 0;         // on the disk
    std::uint64_t size = 0;
  };
  /// A part of a request that lies in one extent.
  struct Part {
    Extent* extent;
    std::uint64_t offset;  // in the extent
    std::uint64_t length;
  };

  explicit Image(Context& context) : context_(context) {}

  Task<Result<>> open_single(NodePtr file);
  Task<Result<>> open_extents(NodePtr file, const OpenFile& open_file);
  Task<Result<Extent>> open_extent(const ExtentLine& line, const OpenFile& open_file);
  Result<> add(Extent extent);
  [[nodiscard]] Result<> check_range(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] Part part_at(std::uint64_t offset, std::uint64_t length);
  Task<Result<>> prepare_writing();
  [[nodiscard]] NodeInfo bottom_info() const;

  Context& context_;
  NodePtr descriptor_file_;  // null: it is in the only extent
  std::uint64_t descriptor_offset_ = 0;
  Descriptor descriptor_;
  std::vector<Extent> extents_;
  std::uint64_t size_ = 0;
  NodePtr backing_;
  Mutex first_write_;
  bool writing_ = false;
};

}  // namespace doppel::block::vmdk
