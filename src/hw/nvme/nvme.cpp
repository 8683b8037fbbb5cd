#include "hw/nvme/nvme.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "hw/pci/pci_bus.h"

namespace doppel::hw {

using nvme::Register;
namespace status = nvme::status;

namespace {

constexpr PciIdentity kIdentity = {
    .vendor_id = 0x1b36, .device_id = 0x0010, .revision = 0x02, .class_code = 0x010802, .interrupt_pin = 1};

constexpr std::uint32_t kMostQueuePairs = 2047;
constexpr std::uint8_t kMostDataShift = 11;
constexpr std::uint8_t kMostEventRequests = 15;

Result<> check(const NvmeConfig& config) {
  if (config.serial.empty())
    return fail(ErrorKind::kInvalidArgument, "an NVMe controller needs a serial number; write serial=TEXT");
  if (config.serial.size() > 20)
    return fail(ErrorKind::kInvalidArgument, "serial={}: a serial number has up to 20 characters", config.serial);
  if (config.max_ioqpairs == 0 || config.max_ioqpairs > kMostQueuePairs)
    return fail(ErrorKind::kOutOfRange, "max_ioqpairs={}: write a number from 1 to {}", config.max_ioqpairs,
                kMostQueuePairs);
  if (config.msix_qsize == 0 || config.msix_qsize > MsixCapability::kMaxVectors)
    return fail(ErrorKind::kOutOfRange, "msix_qsize={}: write a number from 1 to {}", config.msix_qsize,
                MsixCapability::kMaxVectors);
  if (config.mdts == 0 || config.mdts > kMostDataShift)
    return fail(ErrorKind::kOutOfRange, "mdts={}: write a number from 1 to {}", config.mdts, kMostDataShift);
  if (config.aerl > kMostEventRequests)
    return fail(ErrorKind::kOutOfRange, "aerl={}: write a number up to {}", config.aerl, kMostEventRequests);
  if (config.ioeventfd) return fail(ErrorKind::kUnsupported, "ioeventfd=on is not there; write ioeventfd=off");
  return {};
}

}  // namespace

Result<std::unique_ptr<Nvme>> Nvme::create(const PciServices& services, event::Clock& clock, NvmeConfig config) {
  DOPPEL_TRY(check(config));
  std::unique_ptr<Nvme> controller(new Nvme(services, clock, std::move(config)));
  DOPPEL_TRY(controller->build_bar());
  return controller;
}

Nvme::Nvme(const PciServices& services, event::Clock& clock, NvmeConfig config)
    : PciFunction(kIdentity, services),
      config_(std::move(config)),
      doorbell_timer_(clock.create_timer([this] { run_queues(); })),
      registers_([this](auto offset, auto size) { return read_register(offset, size); },
                 [this](auto offset, auto, auto value) {
                   const DiskQueue::Guard guard(disks_);
                   write_register(offset, value);
                 }),
      features_({.queue_pairs = config_.max_ioqpairs, .vectors = config_.msix_qsize}),
      events_(config_.aerl + 1U) {}

Nvme::~Nvme() {
  if (bus() != nullptr) bus()->detach(*this);
}

/// Registers and doorbells, and in pages of their own the interrupt vectors and their pending bits.
Result<> Nvme::build_bar() {
  constexpr std::uint32_t kPage = 4096;
  const std::uint32_t doorbells = 2 * (config_.max_ioqpairs + 1) * nvme::kDoorbellSize;
  const std::uint32_t table = align_up(nvme::kDoorbells + doorbells, kPage);
  const std::uint32_t pending = align_up(table + config_.msix_qsize * MsixCapability::kEntrySize, kPage);
  DOPPEL_TRY(add_msix({.vectors = config_.msix_qsize, .table_offset = table, .pba_offset = pending}));
  auto bar = topology().container("nvme", std::bit_ceil(pending + kPage));
  bar->add(topology().io("nvme-registers", table, registers_, {.min = 4, .max = 4}), 0);
  bar->add(msix()->table_region(), table);
  bar->add(msix()->pba_region(), pending);
  return add_bar(0, BarKind::kMemory64, std::move(bar));
}

Result<std::uint32_t> Nvme::add_namespace(NvmeNamespaceConfig config, block::Disk& disk) {
  if (config.nsid == 0) {
    config.nsid = 1;
    while (namespaces_.contains(config.nsid)) ++config.nsid;
  }
  if (namespaces_.contains(config.nsid))
    return fail(ErrorKind::kAlreadyExists, "nsid={}: this controller has a namespace with that number already",
                config.nsid);
  DOPPEL_ASSIGN(auto space, nvme::Namespace::create(config, disk));
  namespaces_.emplace(config.nsid, std::move(space));
  if (disk.has_write_cache()) features_.offer_write_cache();
  return config.nsid;
}

// ---- Registers

std::uint64_t Nvme::read_register(std::uint64_t offset, unsigned /*size*/) {
  const DeviceGuard guard(*this);
  switch (static_cast<Register>(offset)) {
    case Register::kCapabilitiesLow: return nvme::capabilities::kAll & low_mask(32);
    case Register::kCapabilitiesHigh: return nvme::capabilities::kAll >> 32U;
    case Register::kVersion: return nvme::kVersion14;
    case Register::kMaskSet:
    case Register::kMaskClear: return masked_;
    case Register::kConfiguration: return configuration_.value;
    case Register::kStatus: return status_;
    case Register::kAdminQueueSizes: return admin_sizes_;
    case Register::kAdminSubmissionLow: return admin_submission_ & low_mask(32);
    case Register::kAdminSubmissionHigh: return admin_submission_ >> 32U;
    case Register::kAdminCompletionLow: return admin_completion_ & low_mask(32);
    case Register::kAdminCompletionHigh: return admin_completion_ >> 32U;
  }
  return 0;
}

void Nvme::write_register(std::uint64_t offset, std::uint64_t value) {
  constexpr std::uint32_t kSizes = 0x0fff'0fff;
  const auto word = static_cast<std::uint32_t>(value);
  if (offset >= nvme::kDoorbells)
    return write_doorbell(static_cast<std::uint32_t>(offset - nvme::kDoorbells) / nvme::kDoorbellSize, word);
  const auto low = [&](std::uint64_t& address) { address = with_bits(address, 31, 0, word & ~0xfffU); };
  const auto high = [&](std::uint64_t& address) { address = with_bits(address, 63, 32, word); };
  switch (static_cast<Register>(offset)) {
    case Register::kMaskSet: masked_ |= word; return update_intx();
    case Register::kMaskClear: masked_ &= ~word; return update_intx();
    case Register::kConfiguration: return write_configuration(word & nvme::Configuration::kWritable);
    case Register::kAdminQueueSizes: admin_sizes_ = word & kSizes; return;
    case Register::kAdminSubmissionLow: return low(admin_submission_);
    case Register::kAdminSubmissionHigh: return high(admin_submission_);
    case Register::kAdminCompletionLow: return low(admin_completion_);
    case Register::kAdminCompletionHigh: return high(admin_completion_);
    default: return;
  }
}

void Nvme::write_configuration(std::uint32_t value) {
  const nvme::Configuration before = std::exchange(configuration_, {value});
  if (configuration_.shutdown() == 0)
    status_ &= ~status::kShutdown;
  else if (before.shutdown() == 0)
    begin_shutdown();
  if (before.enabled() && !configuration_.enabled()) drop_everything();
  // Ready again only when the disks have answered what was dropped.
  if (!before.enabled() && configuration_.enabled()) status_ &= ~(status::kReady | status::kFatal);
  settle();
}

// ---- Life: section 7.6

void Nvme::settle() {
  if (in_flight_ != 0) return;
  if (!configuration_.enabled())
    status_ &= ~(status::kReady | status::kFatal);
  else if ((status_ & (status::kReady | status::kFatal)) == 0)
    enable();
  if ((status_ & status::kShutdown) != status::kShutdownInProgress) return;
  if (!std::exchange(flushing_, true)) flush_for_shutdown();
  if (in_flight_ != 0) return;
  flushing_ = false;
  status_ = (status_ & ~status::kShutdown) | status::kShutdownComplete;
}

void Nvme::enable() {
  const unsigned shift = configuration_.page_shift();
  const std::uint32_t submissions = bits(admin_sizes_, 11, 0) + 1;
  const std::uint32_t completions = bits(admin_sizes_, 27, 16) + 1;
  const bool good = shift <= nvme::kLargestPageShift && configuration_.command_set() == 0 &&
                    configuration_.arbitration() == 0 && submissions >= 2 && completions >= 2 &&
                    ((admin_submission_ | admin_completion_) & low_mask(shift)) == 0;
  if (!good) {
    log().guest_error("the controller is enabled with CC={:#x}, AQA={:#x}, ASQ={:#x}, ACQ={:#x}", configuration_.value,
                      admin_sizes_, admin_submission_, admin_completion_);
    status_ |= status::kFatal;
    return;
  }
  submission_queues_[0] = {.ring = {.base = admin_submission_, .entries = submissions}};
  completion_queues_[0] = {.interrupts = true, .ring = {.base = admin_completion_, .entries = completions}};
  status_ |= status::kReady;
}

/// What a controller reset leaves nothing of: section 7.3.2. The admin queues' registers stay.
void Nvme::drop_everything() {
  requests_.clear();
  loaded_.clear();
  bytes_under_way_ = 0;
  deletions_ = 0;
  submission_queues_.clear();
  completion_queues_.clear();
  events_.reset();
  features_.reset();
  shadow_doorbells_ = shadow_events_ = 0;
  masked_ = 0;
  update_intx();
}

void Nvme::reset_chip() {
  drop_everything();
  controller_log_.reset();
  configuration_ = {};
  status_ = 0;
  admin_sizes_ = 0;
  admin_submission_ = admin_completion_ = 0;
  flushing_ = false;
  kicked_ = false;
  doorbell_timer_->cancel();
}

void Nvme::begin_shutdown() {
  status_ = (status_ & ~status::kShutdown) | status::kShutdownInProgress;
  flushing_ = false;
}

void Nvme::flush_for_shutdown() {
  for (auto& [unused, space] : namespaces_) {
    if (!space.disk().has_write_cache()) continue;
    ++in_flight_;
    disks_.add([disk = &space.disk()](block::Done done) { disk->flush(std::move(done)); },
               [this](const Result<>& result) {
                 if (!result)
                   log().warn("a disk cannot be flushed as the guest shuts down: {}", result.error().describe());
                 --in_flight_;
                 settle();
               });
  }
}

void Nvme::fatal(std::string_view what, const Error& error) {
  log().guest_error("{}: {}", what, error.describe());
  status_ |= status::kFatal;
}

}  // namespace doppel::hw
