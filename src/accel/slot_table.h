// From an address space to a VM: RAM and ROM become memory slots, doorbells become ioeventfds.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <vector>

#include "accel/accelerator.h"
#include "memory/address_space.h"

namespace doppel::accel {

/// A listener of the guest's memory or of its I/O ports. Changes are collected and carried out at commit(), removals
/// first; a range that comes back as it was keeps its slot. What cannot be a slot (pages shared by two regions, ROM
/// where the accelerator has no read-only memory) leaves the guest as MmioExit and is served by the address space.
///
/// The listener's members are called under the topology's mutex; the dirty log's may be called from any thread. Must be
/// removed from the address space before it or the VM dies.
class SlotTable final : public memory::AddressSpaceListener {
 public:
  enum class Space : std::uint8_t { kMemory, kPorts };
  struct Options {
    Space space = Space::kMemory;
    Capabilities capabilities = {};
    std::uint64_t largest_slot = std::uint64_t{4} << 40;  // bytes, whole pages; larger ranges become several slots
  };
  using FailureHandler = std::function<void(const Error&)>;

  /// ON_FAILURE hears of memory that the guest should have and does not; it is called on the thread that made the
  /// change.
  SlotTable(Vm& vm, const Options& options, FailureHandler on_failure);

  void range_removed(const memory::FlatRange& range) override;
  void range_added(const memory::FlatRange& range) override;
  void io_event_removed(const memory::IoEvent& event) override;
  void io_event_added(const memory::IoEvent& event) override;
  void commit() override;

  /// Logs writes to the blocks whose dirty bitmap has a client now, and to no others. After a client starts or stops.
  Result<> update_dirty_logging();
  /// Moves the accelerator's dirty bits into the blocks' bitmaps, for every client that logs there: of all blocks, or
  /// of BLOCK alone.
  Result<> sync_dirty_log(const memory::RamBlock* block = nullptr);

  [[nodiscard]] std::size_t slots_in_use() const;

 private:
  /// A piece of RAM as the VM sees it, in whole pages.
  struct Piece {
    memory::GuestPhysAddr start;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
    bool read_only = false;
    std::shared_ptr<memory::RamBlock> block;
    std::uint64_t block_offset = 0;
    bool operator==(const Piece&) const = default;
  };
  struct Slot {
    unsigned number = 0;
    bool logging = false;
    Piece piece;
  };

  [[nodiscard]] std::vector<Piece> pieces_of(const memory::FlatRange& range) const;
  Result<> add(const Piece& piece);
  Result<> remove(const Piece& piece);
  Result<> apply(const Slot& slot);
  Result<> fetch_log(const Slot& slot);
  void report(const Result<>& result, const Piece& piece) const;

  Vm& vm_;
  const Options options_;
  const FailureHandler on_failure_;

  std::vector<Piece> removed_;  // since the last commit
  std::vector<Piece> added_;
  std::vector<memory::IoEvent> attached_;

  mutable std::mutex mutex_;  // guards what follows
  std::vector<Slot> slots_;   // by address
  std::set<unsigned> free_;   // numbers below next_ that came back
  unsigned next_ = 0;
};

}  // namespace doppel::accel
