// The persistent dirty bitmaps of an image that is open: what they record, and how they are changed and stored.
//
// A bitmap whose contents on disk may be behind is marked as in use there, durably, before anything happens that it
// would have to record; who finds the mark after a crash knows that nothing can be told from it ("inconsistent").
// While it stands, data and table may be overwritten in place. Storing writes, in this order: bits and tables at new
// places and refcounts; tables in place; the directory, at a new place if more changed than flags. Flags are changed
// in place, each within one sector.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "block/node.h"
#include "block/qcow2/bitmap_bits.h"
#include "block/qcow2/bitmap_directory.h"
#include "block/qcow2/refcounts.h"

namespace doppel::block::qcow2 {

/// What others see of a bitmap.
struct BitmapInfo {
  std::string name;
  std::uint64_t granularity = 0;  // bytes that a bit stands for, a power of two
  bool enabled = false;           // records what is written
  bool in_use = false;            // marked so on disk
  bool inconsistent = false;      // found marked so: can only be removed
};

/// Whoever holds the image's metadata lock may call, and, for mark(), anybody on the loop's thread.
class Bitmaps {
 public:
  /// Of part of the disk, in bytes; [offset, offset + length) is dirty.
  using VisitRange = std::function<void(std::uint64_t offset, std::uint64_t length)>;
  /// Is it an error to overwrite LENGTH bytes at OFFSET of the file?
  using CheckPlace = std::function<Result<>(std::uint64_t offset, std::uint64_t length)>;

  /// HEADER's place of the directory follows when that moves.
  Bitmaps(Node& file, Header& header, Refcounts& refcounts, CheckPlace check_place);

  /// Everything HEADER announces.
  Task<Result<>> load();
  /// From now on mark() counts; before the first change of the image.
  Task<Result<>> begin_recording();
  void mark(std::uint64_t offset, std::uint64_t length);

  [[nodiscard]] bool empty() const { return bitmaps_.empty(); }
  [[nodiscard]] std::vector<BitmapInfo> list() const;

  Task<Result<>> add(const std::string& name, std::uint64_t granularity, bool enabled);
  Task<Result<>> remove(const std::string& name);
  Task<Result<>> clear(const std::string& name);
  Task<Result<>> set_enabled(const std::string& name, bool enabled);
  /// Sets the bits of [OFFSET, OFFSET + LENGTH) in one that need not be enabled.
  Result<> set_dirty(const std::string& name, std::uint64_t offset, std::uint64_t length);
  /// So that set_dirty() may follow.
  Task<Result<>> begin_change(const std::string& name);
  /// Calls VISIT for all that is dirty, in order.
  Task<Result<>> visit(const std::string& name, const VisitRange& visit);

  /// Before the header's size changes, and after that.
  Task<Result<>> begin_resize();
  void end_resize();
  /// Takes out of the list those whose tables cannot be read, and all if the directory cannot; gives their number. What
  /// they have is not given up: nobody knows what it is.
  Task<Result<std::uint64_t>> drop_broken();

  // Storing, in three steps; between them the refcounts and all else are made durable.
  [[nodiscard]] bool to_store() const;
  Task<Result<>> write_new();
  Task<Result<>> write_tables();
  /// Durable on return. FREED: clusters with one user less from now on.
  Task<Result<>> write_directory(std::vector<std::uint64_t>& freed);

 private:
  struct Bitmap {
    BitmapEntry entry;           // as on disk, if it is there; else as it will be
    std::uint64_t flags_at = 0;  // offset of the flags in the file; 0: it is not in the directory on disk
    bool inconsistent = false;
    bool changed = false;                         // to be stored
    bool emptied = false;                         // what the file has of it no longer counts
    std::uint64_t kept_bits = ~std::uint64_t{0};  // nor does what is behind these, after the disk changed its size
    bool table_known = false;
    std::vector<std::uint64_t> table{};
    std::uint64_t disk_table_entries = 0;  // of the table at entry.table_offset; 0: there is none yet
    BitmapBits added{};
  };

  Result<Bitmap*> find(const std::string& name);
  Result<Bitmap*> find_usable(const std::string& name);
  Result<> check_memory() const;
  [[nodiscard]] std::uint64_t bits(const Bitmap& bitmap) const {
    return bitmap_bits(header_.size, bitmap.entry.granularity_bits);
  }
  Task<Result<>> know_table(Bitmap& bitmap);
  Task<Result<>> touch(Bitmap& bitmap);
  Task<Result<>> write_flags(Bitmap& bitmap, std::uint32_t flags);
  Task<Result<>> write_bits(Bitmap& bitmap);
  Task<Result<>> write_chunk(Bitmap& bitmap, std::uint64_t index);
  Task<Result<>> read_chunk(const Bitmap& bitmap, std::uint64_t index, std::vector<std::byte>& chunk) const;
  void keep_bits(Bitmap& bitmap) const { bitmap.kept_bits = std::min(bitmap.kept_bits, bits(bitmap)); }
  void free_table(const Bitmap& bitmap);
  void free_clusters(std::uint64_t offset, std::uint64_t clusters);

  Node& file_;
  Header& header_;
  const Layout layout_;
  Refcounts& refcounts_;
  const CheckPlace check_place_;
  std::vector<Bitmap> bitmaps_;
  bool directory_changed_ = false;  // in more than flags
  std::uint64_t new_directory_ = 0;
  std::vector<std::byte> directory_bytes_;
  std::vector<std::uint64_t> freed_;
};

}  // namespace doppel::block::qcow2
