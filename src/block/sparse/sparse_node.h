// What the formats have in common whose disk is cut into blocks of one size, each somewhere in the file or nowhere:
// VDI, VHD, VHDX, QED and VMDK's sparse extents. A format adds how its tables are read and changed.
//
// How an image stays whole in a power cut: a block's data is written before its table entry, and entries stay in memory
// until a flush, which makes data durable first, then tables, then what points to them. At worst blocks are lost that
// no flush had promised, and space leaks.
#pragma once

#include <cstdint>

#include "block/context.h"
#include "block/node.h"
#include "block/sparse/page_cache.h"

namespace doppel::block {

enum class BlockKind : std::uint8_t { kUnallocated, kZero, kData, kCompressed };

/// What a format's tables say of a block.
struct BlockEntry {
  BlockKind kind = BlockKind::kUnallocated;
  std::uint64_t host = 0;  // of kData and kCompressed: where in the file
  std::uint64_t run = 1;   // so many blocks from this one on are alike; of kData and kCompressed always 1
};

struct SparseGeometry {
  std::uint64_t size = 0;         // of the disk, in bytes
  std::uint64_t block_size = 0;   // in bytes, not 0
  bool may_have_backing = false;  // false: what is unallocated is zeroes that this image decides on
  bool preallocated = false;      // block_status() asks the file what reads as zeroes
};

/// Two locks, taken in this order:
/// * gate_: requests share it from looking up to the end of their I/O; who gives a block its place holds it alone.
/// * tables_lock_: the tables in memory.
class SparseNode : public Node {
 public:
  [[nodiscard]] std::uint64_t size() const override { return geometry_.size; }
  [[nodiscard]] bool read_only() const override { return file_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  /// Refused, unless a format can.
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;

  /// What shows through where nothing is allocated, from OFFSET of it on; not owned.
  void show_through(Node* backing, std::uint64_t offset) {
    shown_ = backing;
    shown_offset_ = offset;
  }
  [[nodiscard]] Node& file() const { return *file_; }

 protected:
  SparseNode(Context& context, NodePtr file, SparseGeometry geometry);

  /// With tables_lock_ held. BLOCK lies within the disk.
  virtual Task<Result<BlockEntry>> entry(std::uint64_t block) = 0;
  /// A place for a block's data that reads as zeroes and that nothing names. With gate_ held alone.
  virtual Task<Result<std::uint64_t>> new_place() = 0;
  /// From now on BLOCK is at HOST. With gate_ alone and tables_lock_.
  virtual Task<Result<>> enter(std::uint64_t block, std::uint64_t host) = 0;
  /// Unpacks part of the block whose packed bytes are at HOST.
  virtual Task<Result<>> read_packed(std::uint64_t host, std::uint64_t in_block, IoView to);
  /// Before the first change of an image that was opened: what a format wants done then, or why it cannot be changed.
  virtual Task<Result<>> begin_writing();
  /// Behind everything else, after writing.
  virtual Task<Result<>> end_writing();

  [[nodiscard]] const SparseGeometry& geometry() const { return geometry_; }
  void set_size(std::uint64_t size) { geometry_.size = size; }
  [[nodiscard]] PageCache& tables() { return tables_; }
  [[nodiscard]] Context& context() const { return context_; }
  [[nodiscard]] std::uint64_t blocks() const;
  [[nodiscard]] Result<> check_range(std::uint64_t offset, std::uint64_t length) const;
  /// Runs begin_writing() if nobody has.
  Task<Result<>> prepare_writing();
  /// Gives a block that has none a place, holding DATA at OFFSET of the disk, within one block.
  Task<Result<>> allocate(std::uint64_t offset, IoView data, BlockKind old);

  Mutex gate_;
  Mutex tables_lock_;

 private:
  struct Mapped {
    BlockKind kind = BlockKind::kUnallocated;
    std::uint64_t length = 0;
    std::uint64_t host = 0;  // of kData: of the first byte; of kCompressed: of the packed block
  };

  Task<Result<Mapped>> map(std::uint64_t offset, std::uint64_t length);
  Task<Result<>> read_mapped(const Mapped& mapped, std::uint64_t offset, IoView to);
  Task<Result<>> read_through(std::uint64_t offset, IoView to);
  [[nodiscard]] bool shows_through(std::uint64_t offset) const;
  Task<Result<std::uint64_t>> write_step(std::uint64_t offset, IoView from);
  Task<Result<std::uint64_t>> zero_step(std::uint64_t offset, std::uint64_t length, Unmap unmap);
  Task<Result<>> copy_through(std::uint64_t begin, std::uint64_t end, std::uint64_t host);

  Context& context_;
  NodePtr file_;
  SparseGeometry geometry_;
  PageCache tables_;
  Node* shown_ = nullptr;
  std::uint64_t shown_offset_ = 0;
  bool writing_ = false;
};

}  // namespace doppel::block
