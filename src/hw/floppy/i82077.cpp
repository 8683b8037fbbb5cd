#include "hw/floppy/i82077.h"

#include <algorithm>
#include <utility>

namespace doppel::hw {

using fdc::Register;

I82077::I82077(IrqPin irq, I8237& dma, Logger log) : dma_(dma), log_(std::move(log)), irq_(*this, irq) {
  dma_.register_channel(kDmaChannel, [this] { run_dma(); });
}

I82077::~I82077() {
  dma_.register_channel(kDmaChannel, {});
}

void I82077::add_drive(unsigned unit, block::Disk* disk) {
  const DeviceGuard guard(*this);
  Drive& drive = drives_.at(unit);
  drive = {.present = true, .disk = disk};
  if (disk != nullptr) drive.format = floppy_format(disk->size() / fdc::kSectorSize);
}

FloppyDrive I82077::drive_type(unsigned unit) const {
  const Drive& drive = drives_.at(unit);
  if (!drive.present) return FloppyDrive::kNone;
  return drive.disk != nullptr ? drive.format.drive : FloppyDrive::k2880K;  // the one that takes every 3.5 inch medium
}

void I82077::reset() {
  {
    const DeviceGuard guard(*this);
    cancel();
    now_ = {};
    now_.output = fdc::output::kNotReset | fdc::output::kDmaGate;
    for (FdcDriveState& drive : now_.drives) drive.changed = true;
    update_irq();
  }
  settle();
}

// ---- Registers

std::uint64_t I82077::Window::read(std::uint64_t offset, unsigned /*size*/) {
  const auto reg = static_cast<Register>(first_ + offset);
  std::uint8_t value = 0;
  {
    const DeviceGuard guard(chip_);
    value = chip_.read_register(reg);
  }
  if (reg == Register::kFifo) chip_.settle();
  return value;
}

void I82077::Window::write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) {
  {
    const DeviceGuard guard(chip_);
    chip_.write_register(static_cast<Register>(first_ + offset), static_cast<std::uint8_t>(value));
  }
  chip_.settle();
}

std::uint8_t I82077::read_register(Register reg) {
  switch (reg) {
    case Register::kDigitalOutput: return now_.output;
    case Register::kTapeDrive: return now_.tape_drive;
    case Register::kMainStatus: return main_status();
    case Register::kFifo: return read_fifo();
    case Register::kDigitalInput: {
      const unsigned unit = now_.output & fdc::output::kDriveMask;
      const bool motor = (now_.output & fdc::output::kMotor0 << unit) != 0;
      return motor && drives_[unit].present && now_.drives[unit].changed ? fdc::kDiskChange : 0;
    }
  }
  return 0xff;
}

void I82077::write_register(Register reg, std::uint8_t value) {
  switch (reg) {
    case Register::kDigitalOutput: return write_output(value);
    case Register::kTapeDrive: now_.tape_drive = value & 3U; break;
    case Register::kMainStatus:  // DSR, when written
      now_.rate = value & fdc::kDataRateMask;
      if ((value & fdc::kDataRateReset) == 0) break;
      soft_reset();
      if ((now_.output & fdc::output::kNotReset) != 0) leave_reset();
      break;
    case Register::kFifo: return write_fifo(value);
    case Register::kDigitalInput: now_.rate = value & fdc::kDataRateMask; break;  // CCR, when written
  }
}

std::uint8_t I82077::main_status() const {
  using namespace fdc::main_status;  // NOLINT: register names
  if ((now_.output & fdc::output::kNotReset) == 0) return 0;
  switch (now_.phase) {
    case FdcPhase::kCommand: return now_.command.empty() ? kRequest : kRequest | kBusy;
    case FdcPhase::kResult: return kRequest | kToHost | kBusy;
    case FdcPhase::kExecution: break;
  }
  if (uses_dma()) return kBusy;
  if (now_.transfer.turn != FdcTurn::kHost) return kBusy | kNonDma;
  return kBusy | kNonDma | kRequest | (to_host() ? kToHost : 0);
}

void I82077::write_output(std::uint8_t value) {
  const std::uint8_t before = std::exchange(now_.output, value);
  const bool was_up = (before & fdc::output::kNotReset) != 0;
  const bool is_up = (value & fdc::output::kNotReset) != 0;
  if (was_up && !is_up) soft_reset();
  if (!was_up && is_up) leave_reset();
  update_irq();
}

/// Section 3.2 and 6.2: what LOCK guards stays as CONFIGURE set it.
void I82077::soft_reset() {
  cancel();
  now_.phase = FdcPhase::kCommand;
  now_.command.clear();
  now_.result.clear();
  now_.perpendicular &= 0x3c;  // the drives' bits stay, GAP and WGATE go
  if (!now_.lock) {
    now_.configure = I82077State::fdc_default_configure();
    now_.precompensation = 0;
  }
  for (FdcDriveState& drive : now_.drives) drive.seek_done = false;
  now_.reset_senses = 0;
  set_interrupt(false);
}

/// The chip polls its drives and finds each of them changed (section 6.1, polling).
void I82077::leave_reset() {
  if ((now_.configure & fdc::kConfigureNoPoll) != 0) return;
  now_.reset_senses = I82077State::kDrives;
  set_interrupt(true);
}

void I82077::set_interrupt(bool level) {
  now_.interrupt = level;
  update_irq();
}

void I82077::update_irq() {
  irq_.set(now_.interrupt && (now_.output & fdc::output::kDmaGate) != 0);
}

// ---- The FIFO

std::uint8_t I82077::read_fifo() {
  if (now_.phase == FdcPhase::kResult && !now_.result.empty()) {
    const std::uint8_t value = now_.result.front();
    now_.result.erase(now_.result.begin());
    set_interrupt(false);
    if (now_.result.empty()) {
      now_.phase = FdcPhase::kCommand;
      now_.command.clear();
    }
    return value;
  }
  FdcTransferState& transfer = now_.transfer;
  if (now_.phase != FdcPhase::kExecution || uses_dma() || transfer.turn != FdcTurn::kHost || !to_host()) return 0;
  const std::uint8_t value = transfer.buffer[transfer.position];
  set_interrupt(false);
  host_moved(1, false);
  return value;
}

void I82077::write_fifo(std::uint8_t value) {
  if ((now_.output & fdc::output::kNotReset) == 0) return;
  FdcTransferState& transfer = now_.transfer;
  if (now_.phase == FdcPhase::kExecution) {
    if (uses_dma() || transfer.turn != FdcTurn::kHost || to_host()) return;
    transfer.buffer[transfer.position] = value;
    set_interrupt(false);
    return host_moved(1, false);
  }
  if (now_.phase != FdcPhase::kCommand) return;
  now_.command.push_back(value);
  execute();
}

void I82077::respond(std::vector<std::uint8_t> result) {
  now_.result = std::move(result);
  now_.phase = FdcPhase::kResult;
}

// ---- What happens with the lock let go

void I82077::settle() {
  begin_disk_request();
  run_dma();
}

void I82077::begin_disk_request() {
  block::Disk* disk = nullptr;
  std::uint64_t offset = 0;
  bool writes = false;
  Sector sector;
  std::uint64_t ticket = 0;
  {
    const DeviceGuard guard(*this);
    if (!disk_wanted_ || disk_busy_) return;
    const FdcTransferState& transfer = now_.transfer;
    const auto place = offset_on_disk(transfer.cylinder, transfer.head, transfer.sector);
    disk_wanted_ = false;
    if (!place) return fail(fdc::st1::kNoData, 0);
    disk_busy_ = true;
    disk = drive().disk;
    offset = *place;
    writes = transfer.turn == FdcTurn::kDiskWrites;
    sector = sector_;
    ticket = ticket_;
  }
  auto done = [this, alive = std::weak_ptr(alive_), ticket, sector](const Result<>& result) {
    if (alive.expired()) return;
    {
      const DeviceGuard guard(*this);
      disk_busy_ = false;
      if (ticket == ticket_) disk_answered(result);
    }
    settle();
  };
  block::Buffers buffers{{.iov_base = sector->data(), .iov_len = sector->size()}};
  if (writes)
    disk->write(offset, std::move(buffers), std::move(done));
  else
    disk->read(offset, std::move(buffers), std::move(done));
}

void I82077::run_dma() {
  for (;;) {
    bool wanted = false;
    {
      const DeviceGuard guard(*this);
      dma_again_ = dma_busy_;
      if (dma_busy_) return;  // whoever moves data now comes by here again
      wanted = wants_dma();
      dma_busy_ = true;
    }
    dma_.set_request(kDmaChannel, wanted);
    const bool moved = wanted && move_by_dma();
    {
      const DeviceGuard guard(*this);
      dma_busy_ = false;
      if (!moved && !dma_again_ && wanted == wants_dma()) return;
    }
    begin_disk_request();
  }
}

/// One piece of data; whether anything came of it.
bool I82077::move_by_dma() {
  if (!dma_.ready(kDmaChannel)) return false;
  std::vector<std::byte> piece;
  bool reads = false;
  std::uint64_t ticket = 0;
  {
    const DeviceGuard guard(*this);
    if (!wants_dma()) return false;
    const FdcTransferState& transfer = now_.transfer;
    piece.resize(transfer.buffer.size() - transfer.position);
    std::transform(transfer.buffer.begin() + transfer.position, transfer.buffer.end(), piece.begin(),
                   [](std::uint8_t byte) { return std::byte{byte}; });
    reads = to_host();
    ticket = ticket_;
  }
  const auto moved = reads ? dma_.to_memory(kDmaChannel, piece) : dma_.from_memory(kDmaChannel, piece);
  const DeviceGuard guard(*this);
  if (ticket != ticket_) return true;
  if (!moved) {
    log_.guest_error("no DMA: {}", moved.error().describe());
    fail(fdc::st1::kOverrun, 0);
    return true;
  }
  if (!reads)
    std::transform(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(moved->bytes),
                   now_.transfer.buffer.begin() + now_.transfer.position, std::to_integer<std::uint8_t>);
  if (moved->bytes == 0 && !moved->terminal_count) return false;
  host_moved(moved->bytes, moved->terminal_count);
  return true;
}

// ---- Saving

void I82077::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  I82077State saved = now_;
  // The disk may be filling the sector right now; after loading it is asked again.
  if (saved.transfer.turn == FdcTurn::kDiskWrites)
    std::ranges::transform(*sector_, std::back_inserter(saved.transfer.buffer), std::to_integer<std::uint8_t>);
  state::save(writer, std::move(saved));
}

Result<> I82077::check(const I82077State& saved) {
  const FdcTransferState& transfer = saved.transfer;
  const bool executes = saved.phase == FdcPhase::kExecution;
  constexpr std::size_t kFormatCommand = 6;  // bytes; the others that go through sectors have nine
  const std::size_t unit_size = transfer.kind == FdcKind::kFormat ? fdc::kIdSize : fdc::kSectorSize;
  std::size_t wanted = 0;
  if (transfer.turn == FdcTurn::kHost) wanted = unit_size;
  if (transfer.turn == FdcTurn::kDiskWrites) wanted = fdc::kSectorSize;
  const bool good = saved.phase <= FdcPhase::kResult && saved.command.size() <= 9 && saved.result.size() <= 10 &&
                    saved.rate <= 3 && saved.reset_senses <= I82077State::kDrives && transfer.kind <= FdcKind::kScan &&
                    transfer.turn <= FdcTurn::kDiskWrites && executes == (transfer.turn != FdcTurn::kNobody) &&
                    (!executes || (moves_sectors(saved.command) &&
                                   (transfer.kind == FdcKind::kFormat) == (saved.command.size() == kFormatCommand))) &&
                    transfer.buffer.size() == wanted &&
                    (transfer.turn == FdcTurn::kHost ? transfer.position < wanted : transfer.position == 0) &&
                    (transfer.kind != FdcKind::kScan || transfer.turn != FdcTurn::kHost ||
                     transfer.expected.size() == fdc::kSectorSize) &&
                    transfer.expected.size() <= fdc::kSectorSize &&
                    (saved.phase == FdcPhase::kResult) == !saved.result.empty() &&
                    (saved.phase != FdcPhase::kCommand || is_incomplete(saved.command));
  if (!good) return doppel::fail(ErrorKind::kCorrupt, "the saved state of the floppy controller is damaged");
  return {};
}

Result<> I82077::load(state::Reader& reader) {
  DOPPEL_ASSIGN(I82077State saved, state::load<I82077State>(reader));
  DOPPEL_TRY(check(saved));
  {
    const DeviceGuard guard(*this);
    cancel();
    now_ = std::move(saved);
    FdcTransferState& transfer = now_.transfer;
    if (now_.phase == FdcPhase::kExecution && drive().disk == nullptr) {
      fail(fdc::st1::kMissingMark, 0);
    } else if (transfer.turn == FdcTurn::kDiskReads || transfer.turn == FdcTurn::kDiskWrites) {
      const auto bytes = std::exchange(transfer.buffer, {});
      request_disk();
      std::ranges::transform(bytes, sector_->begin(), [](std::uint8_t byte) { return std::byte{byte}; });
    }
    update_irq();
  }
  settle();
  return {};
}

}  // namespace doppel::hw
