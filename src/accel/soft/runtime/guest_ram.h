// Guest-physical RAM as the software accelerator sees it: slots, their dirty logs, and which pages hold decoded code.
//
// A page "holds code" from the moment that a processor decodes from it until it was stored to many times. It has no
// writable TLB entry anywhere, so that every guest store to it takes the slow path and comes to note_store(); writes by
// the host come in through the slot's memory::DirtyBitmap (client kCode). Both move the page's version on, and that is
// what decoded blocks are checked against.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "accel/accelerator.h"
#include "base/error.h"

namespace doppel::accel::soft {

/// What a 4 KiB page is used for, beyond its bytes. Lives as long as its slot.
struct PageState {
  std::atomic<std::uint32_t> version{0};  // moves on with every write while the page holds code
  std::atomic<bool> holds_code{false};
  std::atomic<std::uint8_t> stores_since_decoded{0};  // while it holds code

  /// So many, and it is let go. Code that patches itself would have all TLBs searched each time, were it one.
  static constexpr std::uint8_t kStoresToData = 16;
  std::atomic<bool> dirty{false};  // since the log was last fetched
};

/// One slot with its pages' states.
class RamSlot {
 public:
  explicit RamSlot(const MemorySlot& slot);
  ~RamSlot();
  RamSlot(const RamSlot&) = delete;
  RamSlot& operator=(const RamSlot&) = delete;

  [[nodiscard]] const MemorySlot& slot() const { return slot_; }
  [[nodiscard]] bool read_only() const { return has(slot_.flags, SlotFlags::kReadOnly); }
  [[nodiscard]] bool logs() const { return logs_.load(std::memory_order_acquire); }
  /// SLOT is this slot with another dirty log or bitmap.
  void adopt(const MemorySlot& slot);
  [[nodiscard]] bool contains(std::uint64_t gpa) const { return gpa - slot_.address.value < slot_.size; }
  [[nodiscard]] PageState& page(std::uint64_t gpa) const { return pages_[(gpa - slot_.address.value) >> 12U]; }
  [[nodiscard]] std::byte* host(std::uint64_t gpa) const { return slot_.host + (gpa - slot_.address.value); }
  [[nodiscard]] std::uint64_t page_count() const { return slot_.size >> 12U; }

  /// False: the host writes here without telling (the slot came without a dirty bitmap).
  [[nodiscard]] bool host_writes_are_marked() const { return slot_.dirty != nullptr; }
  /// Has the host written to GPA's page since this last said so? Then the page's version has moved on.
  bool take_host_write(std::uint64_t gpa) const;
  /// Would it say so? False if the host tells nothing.
  [[nodiscard]] bool has_host_write(std::uint64_t gpa) const {
    if (host_writes_ == nullptr) return false;
    const std::uint64_t page = bitmap_page(gpa);
    return (host_writes_[page / 64].load(std::memory_order_acquire) >> (page % 64) & 1U) != 0;
  }

  /// A guest store reached GPA's page: for the dirty log, and for whoever decoded code there. True: it held code.
  bool note_store(std::uint64_t gpa) const;
  /// May stores to GPA's page go past note_store() from now on?
  [[nodiscard]] bool stores_need_no_note(std::uint64_t gpa) const;
  /// Fetches and clears the dirty log.
  [[nodiscard]] std::vector<std::uint64_t> take_dirty() const;

 private:
  void set_logs(bool on);
  [[nodiscard]] std::uint64_t bitmap_page(std::uint64_t gpa) const {
    return (slot_.dirty_offset + (gpa - slot_.address.value)) >> 12U;
  }

  void start_host_writes();

  MemorySlot slot_;
  const std::atomic<std::uint64_t>* host_writes_ = nullptr;  // the bitmap's words; null: none
  std::atomic<bool> logs_{false};
  PageState* pages_;  // anonymous memory: costs nothing until touched
};

/// All slots of a VM. Changes happen while the world is stopped (Rendezvous::exclusive()), so that readers on vCPU
/// threads need no lock.
class GuestRam {
 public:
  /// To KVM's rules: no overlap, whole pages, a size and a read-only flag that stay; size 0 removes.
  Result<> set(const MemorySlot& slot);
  /// The slot that backs GPA, or null.
  [[nodiscard]] RamSlot* find(std::uint64_t gpa) const {
    if (largest_ != nullptr && largest_->contains(gpa)) return largest_;
    return find_slow(gpa);
  }
  [[nodiscard]] RamSlot* by_number(unsigned slot) const;
  [[nodiscard]] bool host_writes_are_marked() const { return all_marked_; }
  /// Moves on with the host's first write to a page since it was decoded from. Others move it too.
  [[nodiscard]] std::uint64_t host_writes() const;
  /// Moves on with every slot that comes, goes, moves or gets another bitmap: RamSlots and marks found before may be
  /// gone, and page versions start anew.
  [[nodiscard]] std::uint64_t layout() const { return layout_; }

 private:
  [[nodiscard]] RamSlot* find_slow(std::uint64_t gpa) const;
  void refresh();

  std::map<std::uint64_t, std::unique_ptr<RamSlot>> by_address_;
  RamSlot* largest_ = nullptr;  // the largest slot
  bool all_marked_ = true;
  std::uint64_t layout_ = 0;
};

}  // namespace doppel::accel::soft
