// The region tree: what the machine's buses look like, before priorities and overlaps are resolved.
//
// Regions are made by a Topology, which all address spaces of a machine share. Changing a region (adding a child,
// moving, enabling, resizing) rebuilds the flat views of every AddressSpace of that topology; inside a Transaction the
// rebuilding waits for the outermost end. Changes may come from any thread: the topology's mutex orders them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memory/address.h"
#include "memory/io_handler.h"
#include "memory/ram_block.h"

namespace doppel::memory {

class AddressSpace;
class Region;
class Topology;

enum class RegionKind : std::uint8_t {
  kContainer,  // only its children answer
  kRam,        // reads and writes go to a RamBlock
  kRom,        // reads come from a RamBlock, writes are dropped
  kRomDevice,  // reads come from a RamBlock, writes go to a handler (pflash in array mode)
  kIo,         // both go to a handler
  kAlias,      // a window into another region
};

using RegionPtr = std::shared_ptr<Region>;

class Region {
 public:
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] RegionKind kind() const { return kind_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }  // in its parent
  [[nodiscard]] bool enabled() const { return enabled_; }
  [[nodiscard]] const std::shared_ptr<RamBlock>& ram() const { return ram_; }
  [[nodiscard]] std::uint64_t ram_offset() const { return ram_offset_; }
  [[nodiscard]] IoHandler* handler() const { return handler_; }
  [[nodiscard]] const IoSizes& io_sizes() const { return io_sizes_; }

  /// Puts CHILD at OFFSET of this container. Where children overlap the higher priority wins, among equals the later.
  /// A child has one parent at a time: it leaves the one it had.
  void add(const RegionPtr& child, std::uint64_t offset, int priority = 0);
  void remove(const RegionPtr& child);

  void set_enabled(bool enabled);
  void set_offset(std::uint64_t offset);
  /// A region of RAM never grows beyond its block.
  void set_size(std::uint64_t size);
  /// Any RAM region may be made read-only and back, as PAM registers do: writes are then dropped.
  void set_read_only(bool read_only);
  /// kRomDevice: false sends reads to the handler too, as a flash chip in command mode wants.
  void set_rom_readable(bool readable);
  /// kAlias: what of the target shows at offset 0.
  void set_alias_offset(std::uint64_t target_offset);

 private:
  friend class Topology;
  friend class AddressSpace;
  friend class Flattener;
  Region(Topology& topology, RegionKind kind, std::string name, std::uint64_t size);
  void take_out(const RegionPtr& child);
  template <class T>
  void change(T& field, T value);

  Topology& topology_;
  const RegionKind kind_;
  const std::string name_;
  std::uint64_t size_;
  std::uint64_t offset_ = 0;
  int priority_ = 0;
  bool enabled_ = true;
  bool read_only_ = false;
  bool rom_readable_ = true;
  Region* parent_ = nullptr;
  std::vector<RegionPtr> children_;  // by falling priority, later first among equals
  std::shared_ptr<RamBlock> ram_;
  std::uint64_t ram_offset_ = 0;
  IoHandler* handler_ = nullptr;
  IoSizes io_sizes_;
  RegionPtr alias_target_;
  std::uint64_t alias_offset_ = 0;
};

/// Makes regions and knows every address space that shows them. Outlives both.
class Topology {
 public:
  Topology() = default;
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;

  /// A SIZE of 0 stands for 2^64 bytes in a container. RAM and ROM are cut to what BLOCK holds.
  [[nodiscard]] RegionPtr container(std::string name, std::uint64_t size);
  [[nodiscard]] RegionPtr ram(std::string name, std::shared_ptr<RamBlock> block, std::uint64_t block_offset,
                              std::uint64_t size);
  [[nodiscard]] RegionPtr rom(std::string name, std::shared_ptr<RamBlock> block, std::uint64_t block_offset,
                              std::uint64_t size);
  [[nodiscard]] RegionPtr rom_device(std::string name, std::shared_ptr<RamBlock> block, IoHandler& handler);
  /// HANDLER must outlive the region's use in any address space.
  [[nodiscard]] RegionPtr io(std::string name, std::uint64_t size, IoHandler& handler, IoSizes sizes = {});
  /// An alias that leads back to itself shows nothing there.
  [[nodiscard]] RegionPtr alias(std::string name, RegionPtr target, std::uint64_t target_offset, std::uint64_t size);

 private:
  friend class Region;
  friend class AddressSpace;
  friend class Transaction;

  [[nodiscard]] RegionPtr make_ram(RegionKind kind, std::string name, std::shared_ptr<RamBlock> block,
                                   std::uint64_t block_offset, std::uint64_t size);
  void begin();
  void end();

  std::recursive_mutex mutex_;  // guards the tree and spaces_; listeners run under it
  std::vector<AddressSpace*> spaces_;
  unsigned depth_ = 0;
  bool changed_ = false;
};

/// Groups changes: views are rebuilt once, at the end of the outermost one.
class Transaction {
 public:
  explicit Transaction(Topology& topology) : topology_(topology) { topology_.begin(); }
  ~Transaction() { topology_.end(); }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

 private:
  Topology& topology_;
};

}  // namespace doppel::memory
