// The format `qed`: two levels of tables like qcow2's, a backing file, and no refcounts.
#pragma once

#include <memory>

#include "block/check.h"
#include "block/qed/header.h"
#include "block/sparse/sparse_node.h"

namespace doppel::block::qed {

/// An image that was not closed is checked when it opens for writing, and only used if it is sound. This
/// implementation need not mark images so: its tables reach the disk in order.
class Image final : public SparseNode, public Checkable {
 public:
  static Task<Result<std::unique_ptr<Image>>> open(Context& context, NodePtr file);

  void set_backing(NodePtr backing) {
    backing_ = std::move(backing);
    show_through(backing_.get(), 0);
  }
  [[nodiscard]] Node* backing() const override { return backing_.get(); }
  [[nodiscard]] const Header& header() const { return header_; }

  /// Grows only.
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;
  [[nodiscard]] NodeInfo info() const override;
  /// Cannot repair.
  Task<Result<CheckResult>> check(Repair repair) override;

 private:
  Image(Context& context, NodePtr file, Header header);

  Task<Result<BlockEntry>> entry(std::uint64_t block) override;
  Task<Result<std::uint64_t>> new_place() override;
  Task<Result<>> enter(std::uint64_t block, std::uint64_t host) override;
  Task<Result<>> begin_writing() override;
  Task<Result<std::uint64_t>> append(std::uint64_t bytes);
  [[nodiscard]] bool is_place(std::uint64_t offset, std::uint64_t bytes) const;
  Task<Result<>> check_table(std::uint64_t l2, std::uint64_t first_block, CheckResult& result,
                             std::vector<std::uint64_t>& places);

  Header header_;
  NodePtr backing_;
};

struct CreateOptions {
  std::uint64_t size = 0;
  std::uint64_t cluster_size = 65536;
  std::uint64_t table_size = 4;  // in clusters
  std::string backing_file{};
  bool backing_is_raw = false;
};

Result<> check_options(const CreateOptions& options);
/// Writes an empty image into FILE, whose old contents are lost.
Task<Result<>> create(Node& file, const CreateOptions& options);

}  // namespace doppel::block::qed
