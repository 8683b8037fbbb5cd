// One file of a VMDK disk that holds only what was written: grains under two levels of tables.
#pragma once

#include <memory>
#include <vector>

#include "block/check.h"
#include "block/compressed_target.h"
#include "block/sparse/sparse_node.h"
#include "block/vmdk/sparse_header.h"

namespace doppel::block::vmdk {

class SparseExtent final : public SparseNode {
 public:
  static Task<Result<std::unique_ptr<SparseExtent>>> open(Context& context, NodePtr file);

  [[nodiscard]] const SparseHeader& header() const { return header_; }
  [[nodiscard]] NodeInfo info() const override;

  /// Streams take nothing but compressed grains.
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  // As CompressedTarget has them: a whole grain, or what the last one has of it, where none is yet.
  Task<Result<CompressedTarget::Packed>> pack(IoView from);
  Task<Result<>> write_packed(std::uint64_t offset, const CompressedTarget::Packed& packed);
  /// Adds what is wrong to RESULT.
  Task<Result<>> check(CheckResult& result);

 private:
  SparseExtent(Context& context, NodePtr file, const SparseHeader& header);

  Task<Result<BlockEntry>> entry(std::uint64_t grain) override;
  Task<Result<std::uint64_t>> new_place() override;
  Task<Result<>> enter(std::uint64_t grain, std::uint64_t host) override;
  Task<Result<>> read_packed(std::uint64_t host, std::uint64_t in_grain, IoView to) override;
  Task<Result<>> begin_writing() override;
  Task<Result<>> enter_in(std::uint64_t directory, std::uint64_t grain, std::uint32_t sector);

  const SparseHeader header_;
  std::uint64_t cached_place_ = 0;  // of the compressed grain that cached_ has the contents of
  std::vector<std::byte> cached_;
};

}  // namespace doppel::block::vmdk
