// The format `vdi`, VirtualBox's: dynamic and static images, without snapshots.
#pragma once

#include <memory>

#include "block/check.h"
#include "block/sparse/sparse_node.h"
#include "block/vdi/header.h"

namespace doppel::block::vdi {

class Image final : public SparseNode, public Checkable {
 public:
  static Task<Result<std::unique_ptr<Image>>> open(Context& context, NodePtr file);

  [[nodiscard]] NodeInfo info() const override;
  /// Cannot repair.
  Task<Result<CheckResult>> check(Repair repair) override;

 private:
  Image(Context& context, NodePtr file, const Header& header);

  Task<Result<BlockEntry>> entry(std::uint64_t block) override;
  Task<Result<std::uint64_t>> new_place() override;
  Task<Result<>> enter(std::uint64_t block, std::uint64_t host) override;
  [[nodiscard]] std::uint64_t entry_offset(std::uint64_t block) const { return header_.map_offset + block * 4; }

  Header header_;
  std::uint32_t next_ = 0;  // behind the last place in use
};

struct CreateOptions {
  std::uint64_t size = 0;
  bool is_static = false;
};

Result<> check_options(const CreateOptions& options);
/// Writes an empty image into FILE, whose old contents are lost.
Task<Result<>> create(Node& file, const CreateOptions& options);

}  // namespace doppel::block::vdi
