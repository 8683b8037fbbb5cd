#include "accel/kvm/vm.h"

#include <fmt/format.h>

#include <algorithm>

#include "accel/kvm/ioctl.h"
#include "accel/kvm/msr_filter.h"
#include "base/bits.h"

namespace doppel::accel::kvm {

namespace {

// Where VMX without unrestricted-guest support keeps a page table and a TSS of its own: guest-physical addresses below
// the firmware's 16 MiB and above the I/O APIC's and HPET's registers.
constexpr std::uint64_t kIdentityMapAddress = 0xfeffc000;
constexpr std::uint64_t kTssAddress = kIdentityMapAddress + 0x1000;

/// KVM_CLEAR_DIRTY_LOG holds the kernel's MMU lock: 1 GiB of guest memory at a time. A multiple of 64 pages.
constexpr std::uint64_t kPagesPerClear = kGiB / memory::kPageSize;

constexpr std::size_t words_for(std::uint64_t pages) {
  return static_cast<std::size_t>((pages + 63) / 64);
}

std::string describe(const MemorySlot& slot) {
  return fmt::format("memory slot {} ({:#x}-{:#x})", slot.slot, slot.address.value, slot.address.value + slot.size - 1);
}

}  // namespace

Result<std::unique_ptr<KvmVm>> KvmVm::create(const SystemInfo& info, UniqueFd fd) {
  std::unique_ptr<KvmVm> vm(new KvmVm(info, std::move(fd)));
  DOPPEL_TRY(vm->prepare());
  return vm;
}

Result<> KvmVm::enable(std::uint32_t capability, std::uint64_t argument) {
  kvm_enable_cap request{};
  request.cap = capability;
  request.args[0] = argument;
  return command(fd_.get(), KVM_ENABLE_CAP, &request, fmt::format("cannot enable KVM capability {}", capability));
}

Result<> KvmVm::prepare() {
  // Only VMX has a use for the two addresses; others may not know the calls.
  std::uint64_t identity_map = kIdentityMapAddress;
  retry_ioctl(fd_.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  retry_ioctl(fd_.get(), KVM_SET_TSS_ADDR, static_cast<unsigned long>(kTssAddress));

  if (info_.exception_payload) DOPPEL_TRY(enable(KVM_CAP_EXCEPTION_PAYLOAD, 1));
  if (info_.emulation_failure_exits) DOPPEL_TRY(enable(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1));
  // Else the kernel rewrites the other vendor's hypercall instruction in guest memory; real processors raise #UD.
  if ((info_.quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN) != 0)
    DOPPEL_TRY(enable(KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN));
  // Reading the log then does not hold the MMU lock; clear_dirty_log() does, a piece at a time.
  if ((info_.manual_dirty_log & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0)
    DOPPEL_TRY(enable(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE));
  if (info_.xsave2) {
    DOPPEL_ASSIGN(const int size, checked_ioctl(fd_.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2, "KVM_CHECK_EXTENSION"));
    shared_.xsave_size = std::max<std::size_t>(shared_.xsave_size, static_cast<std::size_t>(size));
  }
  return {};
}

Result<> KvmVm::set_memory_slot(const MemorySlot& slot) {
  const auto host = reinterpret_cast<std::uintptr_t>(slot.host);
  if (!is_aligned(slot.address.value, memory::kPageSize) || !is_aligned(slot.size, memory::kPageSize) ||
      !is_aligned(std::uint64_t{host}, memory::kPageSize))
    return fail(ErrorKind::kInvalidArgument, "{} is not made of whole pages", describe(slot));
  if (has(slot.flags, SlotFlags::kReadOnly) && !info_.capabilities.read_only_memory)
    return fail(ErrorKind::kUnsupported, "this kernel's KVM has no read-only memory");
  kvm_userspace_memory_region region{};
  region.slot = slot.slot;
  region.flags = static_cast<std::uint32_t>((has(slot.flags, SlotFlags::kLogDirty) ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
                                            (has(slot.flags, SlotFlags::kReadOnly) ? KVM_MEM_READONLY : 0));
  region.guest_phys_addr = slot.address.value;
  region.memory_size = slot.size;
  region.userspace_addr = host;
  const std::scoped_lock lock(mutex_);
  DOPPEL_TRY(command(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region, describe(slot)));
  if (slot.size == 0)
    slot_pages_.erase(slot.slot);
  else
    slot_pages_[slot.slot] = slot.size / memory::kPageSize;
  return {};
}

Result<std::vector<std::uint64_t>> KvmVm::take_dirty_log(unsigned slot) {
  const std::scoped_lock lock(mutex_);
  const auto found = slot_pages_.find(slot);
  if (found == slot_pages_.end()) return fail(ErrorKind::kNotFound, "there is no memory slot {}", slot);
  std::vector<std::uint64_t> bitmap(words_for(found->second));
  kvm_dirty_log request{};
  request.slot = slot;
  request.dirty_bitmap = bitmap.data();
  DOPPEL_TRY(command(fd_.get(), KVM_GET_DIRTY_LOG, &request, fmt::format("dirty log of memory slot {}", slot)));
  if ((info_.manual_dirty_log & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE) != 0)
    DOPPEL_TRY(clear_dirty_log(slot, bitmap, found->second));
  return bitmap;
}

/// Clears what BITMAP has. A page written after BITMAP was fetched and before this is as good as reported: its content
/// is read afterwards.
Result<> KvmVm::clear_dirty_log(unsigned slot, std::span<std::uint64_t> bitmap, std::uint64_t pages) {
  for (std::uint64_t first = 0; first < pages; first += kPagesPerClear) {
    const std::uint64_t count = std::min(kPagesPerClear, pages - first);
    const auto words = bitmap.subspan(static_cast<std::size_t>(first / 64), words_for(count));
    if (std::ranges::all_of(words, [](std::uint64_t word) { return word == 0; })) continue;
    kvm_clear_dirty_log request{};
    request.slot = slot;
    request.first_page = first;
    request.num_pages = static_cast<std::uint32_t>(count);
    request.dirty_bitmap = words.data();
    DOPPEL_TRY(command(fd_.get(), KVM_CLEAR_DIRTY_LOG, &request, fmt::format("dirty log of memory slot {}", slot)));
  }
  return {};
}

Result<std::unique_ptr<Vcpu>> KvmVm::create_vcpu(unsigned id) {
  const std::scoped_lock lock(mutex_);
  DOPPEL_ASSIGN(const int fd, checked_ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id),
                                            fmt::format("cannot create vCPU {}", id)));
  UniqueFd owned(fd);
  DOPPEL_TRY(map_coalesced_ring(fd));
  has_vcpus_ = true;
  return KvmVcpu::create(shared_, id, std::move(owned));
}

/// The ring is the VM's, but only a vCPU's descriptor maps it.
Result<> KvmVm::map_coalesced_ring(int vcpu_fd) {
  if (ring_pages_.mapped() || info_.coalesced_ring_page == 0) return {};
  DOPPEL_ASSIGN(ring_pages_,
                MappedPages::map(vcpu_fd, memory::kPageSize, info_.coalesced_ring_page * memory::kPageSize));
  owned_ring_ = std::make_unique<CoalescedRing>(ring_pages_.as<kvm_coalesced_mmio_ring>());
  ring_.store(owned_ring_.get(), std::memory_order_release);
  return {};
}

Result<> KvmVm::ioeventfd(const IoEventSpec& spec, const event::EventFd& event, std::uint32_t flags) {
  if (spec.size == 0 && !info_.any_length_ioeventfd)
    return fail(ErrorKind::kUnsupported, "this kernel's ioeventfds need a size");
  kvm_ioeventfd request{};
  request.addr = spec.address.value;
  request.len = spec.size;
  request.fd = event.fd();
  request.flags = flags;
  if (spec.is_port) request.flags |= KVM_IOEVENTFD_FLAG_PIO;
  if (spec.value) {
    request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
    request.datamatch = *spec.value;
  }
  return command(fd_.get(), KVM_IOEVENTFD, &request, fmt::format("doorbell at {:#x}", spec.address.value));
}

Result<> KvmVm::attach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) {
  return ioeventfd(spec, event, 0);
}

Result<> KvmVm::detach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) {
  return ioeventfd(spec, event, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

Result<> KvmVm::coalesced_zone(unsigned long request, memory::GuestPhysAddr address, std::uint64_t size, bool is_port) {
  if (info_.coalesced_ring_page == 0 || (is_port && !info_.coalesced_ports))
    return fail(ErrorKind::kUnsupported, "this kernel's KVM cannot gather {} writes", is_port ? "port" : "memory");
  kvm_coalesced_mmio_zone zone{};
  zone.addr = address.value;
  zone.size = static_cast<std::uint32_t>(size);
  zone.pio = is_port ? 1 : 0;
  return command(fd_.get(), request, &zone, fmt::format("gathering writes at {:#x}", address.value));
}

Result<> KvmVm::coalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) {
  return coalesced_zone(KVM_REGISTER_COALESCED_MMIO, address, size, is_port);
}

Result<> KvmVm::uncoalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) {
  return coalesced_zone(KVM_UNREGISTER_COALESCED_MMIO, address, size, is_port);
}

void KvmVm::drain_coalesced(const CoalescedWrite& write) {
  if (CoalescedRing* ring = ring_.load(std::memory_order_acquire); ring != nullptr) ring->drain(write);
}

Result<> KvmVm::exit_on_msrs(std::span<const std::uint32_t> indexes, bool unknown) {
  std::uint64_t reasons = 0;
  if (!indexes.empty()) reasons |= KVM_MSR_EXIT_REASON_FILTER;
  if (unknown) reasons |= KVM_MSR_EXIT_REASON_UNKNOWN;
  if (!info_.capabilities.msr_exits || (!indexes.empty() && !info_.capabilities.msr_filter))
    return fail(ErrorKind::kUnsupported, "this kernel's KVM has no MSR exits");
  DOPPEL_TRY(enable(KVM_CAP_X86_USER_SPACE_MSR, reasons));
  if (!info_.capabilities.msr_filter) return {};
  DOPPEL_ASSIGN(MsrFilter filter, MsrFilter::create(indexes));
  kvm_msr_filter argument = filter.argument();
  return command(fd_.get(), KVM_X86_SET_MSR_FILTER, &argument, "KVM_X86_SET_MSR_FILTER");
}

Result<std::uint64_t> KvmVm::get_clock() {
  kvm_clock_data clock{};
  DOPPEL_TRY(command(fd_.get(), KVM_GET_CLOCK, &clock, "KVM_GET_CLOCK"));
  return clock.clock;
}

Result<> KvmVm::set_clock(std::uint64_t ns) {
  kvm_clock_data clock{};
  clock.clock = ns;
  return command(fd_.get(), KVM_SET_CLOCK, &clock, "KVM_SET_CLOCK");
}

void KvmVm::set_fallback(InstructionFallback* fallback) {
  shared_.fallback.store(fallback, std::memory_order_release);
}

}  // namespace doppel::accel::kvm
