// The format `vhdx`, Hyper-V's: dynamic and fixed images without a parent.
#pragma once

#include <memory>

#include "block/check.h"
#include "block/sparse/sparse_node.h"
#include "block/vhdx/header.h"
#include "block/vhdx/log.h"

namespace doppel::block::vhdx {

/// Opened for reading, an image with something in its log is seen as it will be once that is written; opened for
/// writing, it is written first. Changes of this implementation do not go through the log: single entries of the block
/// table change, each within a sector, behind the data that they name.
class Image final : public SparseNode, public Checkable {
 public:
  static Task<Result<std::unique_ptr<Image>>> open(Context& context, NodePtr file);

  [[nodiscard]] NodeInfo info() const override;
  /// Repairs nothing but the log, which opening for writing has replayed.
  Task<Result<CheckResult>> check(Repair repair) override;

 private:
  Image(Context& context, NodePtr file, const Header& header, const Metadata& metadata, bool replayed);

  Task<Result<BlockEntry>> entry(std::uint64_t block) override;
  Task<Result<std::uint64_t>> new_place() override;
  Task<Result<>> enter(std::uint64_t block, std::uint64_t host) override;
  Task<Result<>> begin_writing() override;
  [[nodiscard]] std::uint64_t entry_offset(std::uint64_t block) const {
    return metadata_.bat.offset + metadata_.bat_index(block) * 8;
  }

  Header header_;
  const Metadata metadata_;
  bool replayed_;
};

struct CreateOptions {
  std::uint64_t size = 0;
  std::uint64_t log_size = kMiB;
  std::uint64_t block_size = 0;  // 0: by the disk's size
  bool fixed = false;
  bool zero_state = true;  // blocks without data are marked as zeroes, not as absent
};

Result<> check_options(const CreateOptions& options);
/// Writes an empty image into FILE, whose old contents are lost.
Task<Result<>> create(Node& file, const CreateOptions& options);

}  // namespace doppel::block::vhdx
