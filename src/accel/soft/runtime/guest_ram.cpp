#include "accel/soft/runtime/guest_ram.h"

#include <sys/mman.h>

#include <new>

#include "memory/dirty_bitmap.h"

namespace doppel::accel::soft {

namespace {

PageState* map_states(std::uint64_t pages) {
  void* mapped = ::mmap(nullptr, pages * sizeof(PageState), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  return static_cast<PageState*>(mapped);  // all zero is their initial value
}

bool overlap(const MemorySlot& a, const MemorySlot& b) {
  return a.address < b.address + b.size && b.address < a.address + a.size;
}

}  // namespace

RamSlot::RamSlot(const MemorySlot& slot) : slot_(slot), pages_(map_states(slot.size >> 12U)) {
  set_logs(has(slot.flags, SlotFlags::kLogDirty));
  start_host_writes();
}

RamSlot::~RamSlot() {
  ::munmap(pages_, page_count() * sizeof(PageState));
}

void RamSlot::adopt(const MemorySlot& slot) {
  set_logs(has(slot.flags, SlotFlags::kLogDirty));
  const bool same_bitmap = slot.dirty == slot_.dirty;
  slot_ = slot;
  if (!same_bitmap) start_host_writes();
}

void RamSlot::start_host_writes() {
  host_writes_ = nullptr;
  if (slot_.dirty == nullptr) return;
  slot_.dirty->start(memory::DirtyClient::kCode);
  host_writes_ = &slot_.dirty->word_of(memory::DirtyClient::kCode, 0);
}

void RamSlot::set_logs(bool on) {
  if (on && !logs())
    for (std::uint64_t i = 0; i < page_count(); ++i)
      if (pages_[i].dirty.load(std::memory_order_relaxed)) pages_[i].dirty.store(false, std::memory_order_relaxed);
  logs_.store(on, std::memory_order_release);
}

bool RamSlot::take_host_write(std::uint64_t gpa) const {
  if (slot_.dirty == nullptr) return false;
  if (!slot_.dirty->test(memory::DirtyClient::kCode, bitmap_page(gpa))) return false;
  // Before the bit is cleared: another processor that finds it clear must see the version moved. And after: what was
  // decoded in between may have missed a write whose mark was cleared here.
  page(gpa).version.fetch_add(1, std::memory_order_acq_rel);
  (void)slot_.dirty->take(memory::DirtyClient::kCode, bitmap_page(gpa), 1);
  page(gpa).version.fetch_add(1, std::memory_order_acq_rel);
  return true;
}

bool RamSlot::note_store(std::uint64_t gpa) const {
  PageState& state = page(gpa);
  state.dirty.store(true, std::memory_order_release);
  if (!state.holds_code.load(std::memory_order_acquire)) return false;
  const bool is_data =
      state.stores_since_decoded.fetch_add(1, std::memory_order_relaxed) + 1 >= PageState::kStoresToData;
  // In this order: who reads the new version and then HOLDS_CODE finds it cleared, and sets it again (see mark_code()).
  if (is_data) state.holds_code.store(false, std::memory_order_release);
  state.version.fetch_add(1, std::memory_order_acq_rel);
  return true;
}

bool RamSlot::stores_need_no_note(std::uint64_t gpa) const {
  const PageState& state = page(gpa);
  return !state.holds_code.load(std::memory_order_acquire) && (!logs() || state.dirty.load(std::memory_order_acquire));
}

std::vector<std::uint64_t> RamSlot::take_dirty() const {
  std::vector<std::uint64_t> words((page_count() + 63) / 64);
  for (std::uint64_t i = 0; i < page_count(); ++i)
    if (pages_[i].dirty.load(std::memory_order_relaxed) && pages_[i].dirty.exchange(false, std::memory_order_acq_rel))
      words[i / 64] |= std::uint64_t{1} << (i % 64);
  return words;
}

Result<> GuestRam::set(const MemorySlot& slot) {
  RamSlot* old = by_number(slot.slot);
  if (slot.size == 0) {
    if (old == nullptr) return fail(ErrorKind::kInvalidArgument, "memory slot {} is empty already", slot.slot);
    by_address_.erase(old->slot().address.value);
    ++layout_;
    refresh();
    return {};
  }
  if ((slot.address.value | slot.size | reinterpret_cast<std::uintptr_t>(slot.host)) % memory::kPageSize != 0)
    return fail(ErrorKind::kInvalidArgument, "memory slot {} is not made of whole pages", slot.slot);
  if (slot.address.value + slot.size < slot.address.value)
    return fail(ErrorKind::kInvalidArgument, "memory slot {} runs past the end of the address space", slot.slot);
  if (old != nullptr && old->slot().size != slot.size)
    return fail(ErrorKind::kInvalidArgument, "memory slot {} cannot change its size", slot.slot);
  if (old != nullptr && old->read_only() != has(slot.flags, SlotFlags::kReadOnly))
    return fail(ErrorKind::kInvalidArgument, "memory slot {} cannot change its read-only flag", slot.slot);
  if (old != nullptr && old->slot().host != slot.host)
    return fail(ErrorKind::kInvalidArgument, "memory slot {} cannot change its host memory", slot.slot);
  for (const auto& [address, other] : by_address_)
    if (other.get() != old && overlap(other->slot(), slot))
      return fail(ErrorKind::kAlreadyExists, "memory slots {} and {} overlap", other->slot().slot, slot.slot);
  if (old != nullptr && old->slot().address == slot.address) {
    if (old->slot().dirty != slot.dirty || old->slot().dirty_offset != slot.dirty_offset) ++layout_;
    old->adopt(slot);
    refresh();
    return {};
  }
  if (old != nullptr) by_address_.erase(old->slot().address.value);
  by_address_.emplace(slot.address.value, std::make_unique<RamSlot>(slot));
  ++layout_;
  refresh();
  return {};
}

RamSlot* GuestRam::by_number(unsigned slot) const {
  for (const auto& [address, candidate] : by_address_)
    if (candidate->slot().slot == slot) return candidate.get();
  return nullptr;
}

std::uint64_t GuestRam::host_writes() const {
  std::uint64_t sum = 0;
  for (const auto& [address, slot] : by_address_)
    if (slot->slot().dirty != nullptr) sum += slot->slot().dirty->first_marks(memory::DirtyClient::kCode);
  return sum;
}

RamSlot* GuestRam::find_slow(std::uint64_t gpa) const {
  auto next = by_address_.upper_bound(gpa);
  if (next == by_address_.begin()) return nullptr;
  RamSlot* candidate = std::prev(next)->second.get();
  return candidate->contains(gpa) ? candidate : nullptr;
}

void GuestRam::refresh() {
  largest_ = nullptr;
  all_marked_ = true;
  for (const auto& [address, slot] : by_address_) {
    if (largest_ == nullptr || slot->slot().size > largest_->slot().size) largest_ = slot.get();
    all_marked_ = all_marked_ && slot->host_writes_are_marked();
  }
}

}  // namespace doppel::accel::soft
