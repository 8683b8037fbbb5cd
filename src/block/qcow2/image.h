// The format `qcow2`, versions 2 and 3: a disk that takes up what was written to it, over a backing node, with
// snapshots.
//
// How it stays whole in a power cut: tables are changed in memory and written in batches (commit()): what counts
// clusters and tables that nothing points to yet, a flush, then what points to them, a flush. Guest data is written
// before its entry changes, so that it is durable with the first of the two. Clusters that an entry no longer names are
// given up (refcounts, holes) only behind the second. So what is durable never names what is not, and at worst clusters
// leak.
//
// With lazy refcounts the batch leaves the counts out: before the first one that does, the header says that they may be
// wrong, and whoever finds it saying so counts again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/compressed_target.h"
#include "block/context.h"
#include "block/crypto/crypt_node.h"
#include "block/node.h"
#include "block/qcow2/bitmaps.h"
#include "block/qcow2/check.h"
#include "block/qcow2/header.h"
#include "block/qcow2/mapping.h"
#include "block/qcow2/range_lock.h"
#include "block/qcow2/refcounts.h"
#include "block/qcow2/snapshot_table.h"

namespace doppel::block::qcow2 {

/// What an image is opened for: to repair it, it is left as it is found.
enum class Purpose : std::uint8_t { kUse, kRepair };

struct OpenParameters {
  Purpose purpose = Purpose::kUse;
  std::optional<SecretBytes> key{};      // of an encrypted image
  std::optional<bool> lazy_refcounts{};  // unset: as the image says
  bool metadata_only = false;            // without its key, the data of an encrypted image cannot be read
};

/// Three locks, taken in this order:
/// * gate_: requests share it from looking up to the end of their I/O; who moves or gives up clusters holds it alone.
/// * ranges_: guest clusters that are being given a new place.
/// * metadata_: the tables in memory. Never held during the I/O of guest data.
class Image final : public Node, public Checkable, public CompressedTarget, public PasswordHolder {
 public:
  /// DATA, the external data file, where the header asks for one. The backing node, if the header names one, is given
  /// by set_backing() before the first request. An image marked corrupt opens for reading alone; a dirty one is
  /// repaired when it opens for writing.
  static Task<Result<std::unique_ptr<Image>>> open(Context& context, NodePtr file, NodePtr data,
                                                   OpenParameters parameters = {});

  void set_backing(NodePtr backing) { backing_ = std::move(backing); }
  [[nodiscard]] Node* backing() const override { return backing_.get(); }
  [[nodiscard]] const Header& header() const { return header_; }
  [[nodiscard]] Node& file() { return *file_; }

  [[nodiscard]] std::uint64_t size() const override { return header_.size; }
  [[nodiscard]] bool read_only() const override { return file_->read_only(); }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<bool> splice(std::uint64_t offset, std::size_t length, int pipe) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override;
  void hurry() override;
  [[nodiscard]] NodeInfo info() const override;

  /// Stored as it is if it does not become smaller.
  Task<Result<Packed>> pack(IoView from) override;
  Task<Result<>> write_packed(std::uint64_t offset, IoView from, Packed packed) override;
  /// Allocates [OFFSET, OFFSET + LENGTH), which nobody has written yet, and with kFalloc and kFull also its space.
  Task<Result<>> preallocate(std::uint64_t offset, std::uint64_t length, Preallocation how);
  /// Frees all that this image has allocated, so that the backing node shows through; snapshots keep theirs.
  Task<Result<>> make_empty();
  /// Version 3 from now on, if it is 2; for who closes the image behind that.
  Task<Result<>> upgrade();
  /// What programs that have lazy refcounts may do with the image.
  Task<Result<>> set_lazy_refcounts(bool lazy);
  Task<Result<>> change_passwords(const std::optional<SecretBytes>& password, const LuksChange& change) override;
  /// Rewrites the header's name of the backing file; what is allocated stays.
  Task<Result<>> change_backing(const std::string& file, const std::string& format);

  /// Shows the disk as it was; for images that are open for reading alone.
  Task<Result<>> view_snapshot(const std::string& wanted);
  Task<Result<>> create_snapshot(const std::string& name);
  /// By id or name.
  Task<Result<>> apply_snapshot(const std::string& wanted);
  Task<Result<>> delete_snapshot(const std::string& wanted);

  Task<Result<CheckResult>> check(Repair repair) override;

  [[nodiscard]] std::vector<BitmapInfo> bitmaps() const { return bitmaps_.list(); }
  // What they change is stored by close().
  Task<Result<>> add_bitmap(const std::string& name, std::uint64_t granularity, bool enabled);
  Task<Result<>> remove_bitmap(const std::string& name);
  Task<Result<>> clear_bitmap(const std::string& name);
  Task<Result<>> enable_bitmap(const std::string& name, bool enabled);
  /// All that bitmap SOURCE of FROM, which may be this image, has as dirty becomes so in bitmap TARGET.
  Task<Result<>> merge_bitmap(const std::string& target, Image& from, const std::string& source);
  /// Calls VISIT for each range that bitmap NAME has as dirty, in order.
  Task<Result<>> visit_bitmap(const std::string& name, const Bitmaps::VisitRange& visit);

 private:
  /// Guest bytes that are all of one kind and stand in a row.
  struct Extent {
    Kind kind = Kind::kUnallocated;
    std::uint64_t length = 0;
    std::uint64_t host = 0;  // of kData, and of kZero that keeps its place
    bool has_host = false;
    bool in_place = false;  // of kData: may be overwritten
    CompressedPlace compressed{};
  };
  /// A place for guest clusters in a row, until it is entered into their L2 table.
  struct Allocation {
    std::uint64_t guest = 0;  // of the first cluster
    std::uint64_t host = 0;
    std::uint64_t clusters = 0;
    std::uint64_t length = 0;     // how much of the request it is for
    std::uint64_t copy_unit = 0;  // what is not written is copied up to multiples of this
    bool reuses_host = false;     // one cluster that has this place already
    bool zero = false;            // the place and what it replaces both read as zeroes: nothing to copy
  };
  using Visit = std::function<Task<Result<>>(std::uint64_t cluster)>;
  /// What becomes of a cluster's entry; nothing: it stays.
  using Replace = std::function<std::optional<Entry>(const Entry& old)>;

  Image(Context& context, NodePtr file, NodePtr data, Header header, const OpenParameters& parameters);

  /// Where guest data is, as the guest means it.
  [[nodiscard]] Node& data() const { return crypt_ ? *crypt_ : data_ ? *data_ : *file_; }
  Task<Result<LuksHeader>> read_luks_header();
  Task<Result<>> unlock(const OpenParameters& parameters);
  [[nodiscard]] Result<> check_range(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] bool over_tables(std::uint64_t host, std::uint64_t length) const;
  [[nodiscard]] bool unwritable_place(std::uint64_t host, std::uint64_t length) const;
  [[nodiscard]] Result<> check_old_place(std::uint64_t host, std::uint64_t length) const;

  Task<Result<Extent>> look_up(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Extent extent_at(const Entry& entry, std::uint64_t offset) const;
  [[nodiscard]] static bool continues(const Extent& first, const Extent& next);
  Task<Result<>> read_extent(const Extent& extent, std::uint64_t offset, IoView to);
  Task<Result<>> read_backing(std::uint64_t offset, IoView to);
  Task<Result<>> read_compressed(const CompressedPlace& place, std::uint64_t in_cluster, IoView to);
  Task<Result<>> read_any(std::uint64_t offset, IoView to);

  // Of what no bitmap is to know: new bytes of the disk.
  Task<Result<>> write_unrecorded(std::uint64_t offset, IoView from);
  Task<Result<>> zero_unrecorded(std::uint64_t offset, std::uint64_t length, Unmap unmap);
  Task<Result<>> write_any(std::uint64_t offset, IoView from);
  Task<Result<std::uint64_t>> write_elsewhere(std::uint64_t offset, IoView from);
  Task<Result<Allocation>> allocate_for(std::uint64_t offset, std::uint64_t length);
  Result<Allocation> reuse_host(const Table& table, std::uint64_t offset, std::uint64_t length) const;
  Task<Result<Allocation>> allocate_new(const Table& table, std::uint64_t offset, std::uint64_t length);
  Task<Result<>> fill(const Allocation& place, std::uint64_t offset, IoView from);
  Task<Result<>> enter(const Allocation& place, std::uint64_t offset, std::uint64_t length);
  void retire(const Entry& entry);
  void retire_clusters(std::uint64_t host, std::uint64_t clusters);

  Task<Result<>> write_zero_bytes(std::uint64_t offset, std::uint64_t length);
  Task<Result<>> replace_entries(std::uint64_t offset, std::uint64_t length, const Replace& replace);
  [[nodiscard]] std::optional<Entry> zeroed(const Entry& old, Unmap unmap) const;
  [[nodiscard]] std::optional<Entry> discarded(const Entry& old) const;
  Task<Result<std::uint64_t>> allocate_compressed(std::uint64_t length);

  /// Whether refcounts may be put off where the image has them lazy.
  enum class Counts : std::uint8_t { kNow, kMayWait };

  Task<Result<>> commit(Counts counts = Counts::kNow);
  Task<Result<>> write_tables(Counts counts);
  Task<Result<>> flush_files();
  Task<Result<>> mark_dirty();
  Task<Result<>> finish();
  [[nodiscard]] Counts possible(Counts counts) const;
  [[nodiscard]] bool to_commit(Counts counts) const;
  Task<Result<>> give_up_retired();
  Task<Result<>> settle();

  Task<Result<>> begin_use();
  Task<Result<>> store_bitmaps();
  Task<Result<>> drop_broken_bitmaps();
  [[nodiscard]] Result<> check_bitmap_place(std::uint64_t offset, std::uint64_t length) const;

  Task<Result<>> map_all(std::uint64_t offset, std::uint64_t length);
  Task<Result<>> write_zero_data(std::uint64_t offset, std::uint64_t length);
  Task<Result<>> grow_l1(std::uint64_t entries);
  Task<Result<>> shrink(std::uint64_t size);
  Task<Result<>> add_references(const std::vector<std::uint64_t>& l1);
  Task<Result<>> drop_references(const std::vector<std::uint64_t>& l1);
  Task<Result<>> visit_references(const std::vector<std::uint64_t>& l1, const Visit& visit);
  Task<Result<>> set_copied_flags();
  Task<Result<>> set_copied_flags_of(Table& table);
  Task<Result<std::uint64_t>> write_l1_copy(const std::vector<std::uint64_t>& l1);
  Task<Result<>> replace_snapshot_table(std::vector<Snapshot> snapshots);
  [[nodiscard]] Result<std::size_t> find_snapshot(const std::string& wanted) const;

  Context& context_;
  NodePtr file_;
  NodePtr data_;
  NodePtr backing_;
  std::unique_ptr<CryptNode> crypt_;  // over the data, of an encrypted image
  FormatDetails luks_details_;
  Header header_;
  const Layout layout_;
  Refcounts refcounts_;
  Mapping mapping_;
  Bitmaps bitmaps_;
  const Purpose purpose_;
  const bool lazy_;            // refcounts are put off
  bool marked_dirty_ = false;  // by us, until all is closed
  std::vector<Snapshot> snapshots_;
  std::uint64_t snapshot_table_bytes_ = 0;

  Mutex gate_;
  RangeLock ranges_;
  Mutex metadata_;

  std::vector<std::uint64_t> retired_;   // clusters with one user less, once what is dirty is on disk
  std::vector<std::uint64_t> given_up_;  // and those whose time has come
  std::uint64_t compressed_end_ = 0;     // where the last compressed cluster ends, if there is room behind it
  std::uint64_t cached_place_ = 0;       // the compressed cluster that cached_ has the contents of
  std::vector<std::byte> cached_;
};

}  // namespace doppel::block::qcow2
