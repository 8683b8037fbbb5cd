// KvmVm's interrupt controllers, lines, routes and saved chips.
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "accel/kvm/ioctl.h"
#include "accel/kvm/vm.h"

namespace doppel::accel::kvm {

namespace {

/// What save_irqchip() hands out: this header, then the chips' kernel structures, which are a stable interface.
struct SavedHeader {
  static constexpr std::uint32_t kMagic = 0x314d564b;  // "KVM1"
  std::uint32_t magic = kMagic;
  std::uint8_t mode = 0;
  std::uint8_t has_pit = 0;
  std::uint16_t reserved = 0;
  std::uint64_t clock_ns = 0;
};

// Of the two 8259As and the I/O APIC; the PIT comes behind them.
constexpr std::array kChips = {KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, KVM_IRQCHIP_IOAPIC};

template <class T>
void append(std::vector<std::byte>& bytes, const T& value) {
  const auto raw = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

template <class T>
bool take(std::span<const std::byte>& bytes, T& value) {
  if (bytes.size() < sizeof value) return false;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return true;
}

kvm_irq_routing_entry to_kvm(const IrqRoute& route) {
  kvm_irq_routing_entry entry{};
  entry.gsi = route.gsi;
  if (route.target == IrqRoute::Target::kMsi) {
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<std::uint32_t>(route.msi.address);
    entry.u.msi.address_hi = static_cast<std::uint32_t>(route.msi.address >> 32);
    entry.u.msi.data = route.msi.data;
    return entry;
  }
  entry.type = KVM_IRQ_ROUTING_IRQCHIP;
  entry.u.irqchip.pin = route.pin;
  switch (route.target) {
    case IrqRoute::Target::kPicMaster: entry.u.irqchip.irqchip = KVM_IRQCHIP_PIC_MASTER; break;
    case IrqRoute::Target::kPicSlave: entry.u.irqchip.irqchip = KVM_IRQCHIP_PIC_SLAVE; break;
    case IrqRoute::Target::kIoapic:
    case IrqRoute::Target::kMsi: entry.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC; break;
  }
  return entry;
}

}  // namespace

Result<> KvmVm::create_irqchip(IrqchipMode mode, unsigned ioapic_pins) {
  const std::scoped_lock lock(mutex_);
  if (has_vcpus_) return fail(ErrorKind::kInvalidArgument, "interrupt controllers come before the first vCPU");
  switch (mode) {
    case IrqchipMode::kKernel:
      DOPPEL_TRY(command(fd_.get(), KVM_CREATE_IRQCHIP, 0, "cannot create KVM's interrupt controllers"));
      break;
    case IrqchipMode::kSplit:
      if (!info_.capabilities.split_irqchip)
        return fail(ErrorKind::kUnsupported, "this kernel's KVM has no split interrupt controller");
      DOPPEL_TRY(enable(KVM_CAP_SPLIT_IRQCHIP, ioapic_pins));
      break;
    case IrqchipMode::kOff: break;
  }
  shared_.irqchip = mode;
  return {};
}

Result<> KvmVm::create_pit() {
  const std::scoped_lock lock(mutex_);
  if (shared_.irqchip != IrqchipMode::kKernel)
    return fail(ErrorKind::kInvalidArgument, "KVM's PIT needs KVM's interrupt controllers");
  kvm_pit_config config{};
  config.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61's gate and output bits belong to the PIT
  DOPPEL_TRY(command(fd_.get(), KVM_CREATE_PIT2, &config, "cannot create KVM's interval timer"));
  has_pit_ = true;
  return {};
}

Result<std::vector<std::byte>> KvmVm::save_irqchip() {
  const std::scoped_lock lock(mutex_);
  DOPPEL_ASSIGN(const std::uint64_t clock_ns, get_clock());
  const IrqchipMode mode = shared_.irqchip;
  std::vector<std::byte> saved;
  append(saved, SavedHeader{.mode = static_cast<std::uint8_t>(mode), .has_pit = has_pit_, .clock_ns = clock_ns});
  if (mode != IrqchipMode::kKernel) return saved;
  for (const int chip_id : kChips) {
    kvm_irqchip chip{};
    chip.chip_id = static_cast<std::uint32_t>(chip_id);
    DOPPEL_TRY(command(fd_.get(), KVM_GET_IRQCHIP, &chip, "KVM_GET_IRQCHIP"));
    append(saved, chip);
  }
  if (!has_pit_) return saved;
  kvm_pit_state2 pit{};
  DOPPEL_TRY(command(fd_.get(), KVM_GET_PIT2, &pit, "KVM_GET_PIT2"));
  append(saved, pit);
  return saved;
}

Result<> KvmVm::load_irqchip(std::span<const std::byte> saved) {
  const std::scoped_lock lock(mutex_);
  SavedHeader header;
  if (!take(saved, header) || header.magic != SavedHeader::kMagic)
    return fail(ErrorKind::kCorrupt, "the saved interrupt controllers are not KVM's");
  const IrqchipMode mode = shared_.irqchip;
  const bool has_chips = mode == IrqchipMode::kKernel;
  if (header.mode != static_cast<std::uint8_t>(mode) || (header.has_pit != 0) != has_pit_)
    return fail(ErrorKind::kInvalidArgument,
                "the saved machine has other interrupt controllers or timers in the kernel");
  std::array<kvm_irqchip, kChips.size()> chips{};
  kvm_pit_state2 pit{};
  bool complete = true;
  for (std::size_t i = 0; has_chips && i < chips.size(); ++i)
    complete = complete && take(saved, chips[i]) && chips[i].chip_id == static_cast<std::uint32_t>(kChips[i]);
  if (has_pit_) complete = complete && take(saved, pit);
  if (!complete || !saved.empty()) return fail(ErrorKind::kCorrupt, "the saved interrupt controllers are damaged");

  DOPPEL_TRY(set_clock(header.clock_ns));
  if (has_chips)
    for (kvm_irqchip& chip : chips) DOPPEL_TRY(command(fd_.get(), KVM_SET_IRQCHIP, &chip, "KVM_SET_IRQCHIP"));
  if (has_pit_) DOPPEL_TRY(command(fd_.get(), KVM_SET_PIT2, &pit, "KVM_SET_PIT2"));
  return {};
}

Result<> KvmVm::set_irq_line(std::uint32_t gsi, bool level) {
  kvm_irq_level request{};
  request.irq = gsi;
  request.level = level ? 1 : 0;
  return command(fd_.get(), KVM_IRQ_LINE, &request, "KVM_IRQ_LINE");
}

Result<> KvmVm::set_irq_routing(std::span<const IrqRoute> routes) {
  // A header, then as many entries: built in an array of words for its alignment.
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  static_assert(sizeof(kvm_irq_routing) % kWord == 0 && sizeof(kvm_irq_routing_entry) % kWord == 0);
  std::vector<std::uint64_t> buffer((sizeof(kvm_irq_routing) + routes.size() * sizeof(kvm_irq_routing_entry)) / kWord);
  auto* table = reinterpret_cast<kvm_irq_routing*>(buffer.data());
  table->nr = static_cast<std::uint32_t>(routes.size());
  for (std::size_t i = 0; i < routes.size(); ++i) table->entries[i] = to_kvm(routes[i]);
  return command(fd_.get(), KVM_SET_GSI_ROUTING, table, "KVM refuses the interrupt routes");
}

Result<> KvmVm::signal_msi(const MsiMessage& message) {
  kvm_msi request{};
  request.address_lo = static_cast<std::uint32_t>(message.address);
  request.address_hi = static_cast<std::uint32_t>(message.address >> 32);
  request.data = message.data;
  // 0 means that the guest has the interrupt blocked: no failure of ours.
  return command(fd_.get(), KVM_SIGNAL_MSI, &request, "KVM_SIGNAL_MSI");
}

Result<> KvmVm::attach_irqfd(std::uint32_t gsi, const event::EventFd& event, const event::EventFd* resample) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(event.fd());
  request.gsi = gsi;
  if (resample != nullptr) {
    if (!info_.irqfd_resample) return fail(ErrorKind::kUnsupported, "this kernel's irqfds cannot be level-triggered");
    request.flags = KVM_IRQFD_FLAG_RESAMPLE;
    request.resamplefd = static_cast<std::uint32_t>(resample->fd());
  }
  return command(fd_.get(), KVM_IRQFD, &request, fmt::format("irqfd for interrupt {}", gsi));
}

Result<> KvmVm::detach_irqfd(std::uint32_t gsi, const event::EventFd& event) {
  kvm_irqfd request{};
  request.fd = static_cast<std::uint32_t>(event.fd());
  request.gsi = gsi;
  request.flags = KVM_IRQFD_FLAG_DEASSIGN;
  return command(fd_.get(), KVM_IRQFD, &request, fmt::format("irqfd for interrupt {}", gsi));
}

}  // namespace doppel::accel::kvm
