#include "hw/ide/ide_channel.h"

#include <utility>

namespace doppel::hw {

using ata::Register;
namespace control = ata::control;

IdeChannel::IdeChannel(Device& owner, DiskQueue& queue, IrqPin irq, BusMaster::Dma dma, const Logger& log)
    : queue_(queue),
      log_(log),
      irq_(owner, irq),
      bus_master_(std::move(dma), log),
      command_block_([this](auto offset, auto size) { return read_command_block(offset, size); },
                     [this](auto offset, auto size, auto value) { write_command_block(offset, size, value); }),
      control_block_(
          [this](auto, auto) -> std::uint64_t {
            const DiskQueue::Guard guard(queue_);
            return status();
          },
          [this](auto, auto, auto value) {
            const DiskQueue::Guard guard(queue_);
            write_control(static_cast<std::uint8_t>(value));
            settle();
          }) {}

Result<> IdeChannel::add_disk(unsigned unit, block::Disk& disk, AtaDriveConfig config) {
  if (has_drive(unit)) return fail(ErrorKind::kAlreadyExists, "there is a drive in that place already");
  drives_.at(unit) = std::make_unique<AtaDrive>(*this, disk, std::move(config));
  return {};
}

Result<> IdeChannel::add_cdrom(unsigned unit, block::Disk* medium, AtapiDriveConfig config) {
  if (has_drive(unit)) return fail(ErrorKind::kAlreadyExists, "there is a drive in that place already");
  drives_.at(unit) = std::make_unique<AtapiDrive>(*this, medium, std::move(config));
  return {};
}

void IdeChannel::submit(DiskQueue::Begin begin, DiskQueue::Handler done) {
  queue_.add(std::move(begin), [this, done = std::move(done)](const Result<>& result) {
    if (!result && !std::exchange(error_told_, true))
      log_.warn("a disk fails, and the guest is told: {}; further failures are not noted", result.error().describe());
    done(result);
    settle();
  });
}

/// Where there is no drive nothing drives the bus, and pull-downs make zeroes of it: firmware need not wait for a drive
/// that would be busy for ever.
std::uint8_t IdeChannel::status() const {
  const IdeDrive* drive = selected();
  if (drive == nullptr) return 0;
  return in_reset() ? ata::status::kBusy : drive->status();
}

std::uint8_t IdeChannel::read_register(Register reg) {
  IdeDrive* drive = selected();
  if (drive == nullptr) return 0;
  if (reg != Register::kStatus) return drive->read_register(reg, (control_ & control::kHighOrderByte) != 0);
  drive->acknowledge_interrupt();
  return status();
}

std::uint64_t IdeChannel::read_command_block(std::uint64_t offset, unsigned size) {
  const DiskQueue::Guard guard(queue_);
  std::uint64_t value = 0;
  if (offset == 0) {
    if (IdeDrive* drive = selected()) value = drive->read_data(size);
  } else {
    for (unsigned i = 0; i < size && offset + i < kCommandPorts; ++i)
      value |= std::uint64_t{read_register(static_cast<Register>(offset + i))} << (8 * i);
  }
  settle();
  return value;
}

void IdeChannel::write_command_block(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DiskQueue::Guard guard(queue_);
  if (in_reset()) return;
  if (offset == 0) {
    if (IdeDrive* drive = selected()) drive->write_data(size, static_cast<std::uint32_t>(value));
  } else {
    for (unsigned i = 0; i < size && offset + i < kCommandPorts; ++i)
      write_register(static_cast<Register>(offset + i), static_cast<std::uint8_t>(value >> (8 * i)));
  }
  settle();
}

/// Both drives take in what is written to the registers; the selected one alone carries out a command, but for EXECUTE
/// DEVICE DIAGNOSTIC (ATA/ATAPI-7 volume 2, section 5.2).
void IdeChannel::write_register(Register reg, std::uint8_t value) {
  control_ = static_cast<std::uint8_t>(control_ & ~control::kHighOrderByte);
  if (reg == Register::kDevice) device_ = value;
  if (reg != Register::kCommand) {
    for (const auto& drive : drives_)
      if (drive) drive->write_register(reg, value);
    return;
  }
  if (value == ata::command::kExecuteDiagnostic) {
    device_ = 0;
    for (const auto& drive : drives_)
      if (drive) drive->diagnose();
  } else if (IdeDrive* drive = selected()) {
    drive->write_command(value);
  }
}

void IdeChannel::write_control(std::uint8_t value) {
  const bool resets = (value & control::kSoftReset) != 0 && !in_reset();
  control_ = value;
  if (!resets) return;
  device_ = 0;
  for (const auto& drive : drives_)
    if (drive) drive->reset();
}

void IdeChannel::write_bus_master(unsigned offset, std::uint8_t value) {
  bus_master_.write(offset, value);
  settle();
}

void IdeChannel::settle() {
  IdeDrive* drive = selected();
  if (drive != nullptr) bus_master_.run(*drive);
  const bool level = drive != nullptr && drive->interrupt() && (control_ & control::kNoInterrupt) == 0;
  if (level && !irq_.level()) bus_master_.interrupt_rose();
  irq_.set(level);
}

void IdeChannel::reset() {
  device_ = 0;
  control_ = 0;
  bus_master_.reset();
  for (const auto& drive : drives_)
    if (drive) drive->power_on();
  settle();
}

IdeChannelState IdeChannel::save() const {
  IdeChannelState saved{.device = device_, .control = control_, .bus_master = bus_master_.save()};
  for (unsigned unit = 0; unit < kDrives; ++unit)
    if (drives_[unit]) saved.drives[unit] = drives_[unit]->save();
  return saved;
}

Result<> IdeChannel::load(const IdeChannelState& saved) {
  for (unsigned unit = 0; unit < kDrives; ++unit) {
    const bool is_there = saved.drives[unit].kind != IdeKind::kNone;
    if (is_there != has_drive(unit))
      return fail(ErrorKind::kCorrupt, "the saved state has other IDE drives than this machine");
    if (is_there) DOPPEL_TRY(drives_[unit]->load(saved.drives[unit]));
  }
  device_ = saved.device;
  control_ = saved.control;
  bus_master_.load(saved.bus_master);
  // As it was: settle() alone would tell the guest of an interrupt for the second time.
  const IdeDrive* drive = selected();
  irq_.set(drive != nullptr && drive->interrupt() && (control_ & control::kNoInterrupt) == 0);
  settle();
  return {};
}

}  // namespace doppel::hw
