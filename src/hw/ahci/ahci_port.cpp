#include "hw/ahci/ahci_port.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace command = ahci::command;
namespace interrupt = ahci::interrupt;
namespace sata = ahci::sata;
namespace status = ata::status;
using ahci::PortRegister;

namespace {

constexpr std::uint16_t kNoDrive = 0x7f;
constexpr std::uint32_t kNoSignature = 0xffff'ffff;
constexpr std::uint64_t kListAlignment = 1024;
constexpr std::uint64_t kReceivedAlignment = 256;
constexpr std::uint64_t kTableAlignment = 128;

// Flags of a frame.
constexpr std::uint8_t kInterruptFlag = 0x40;
constexpr std::uint8_t kToHostFlag = 0x20;

}  // namespace

AhciPort::AhciPort(DiskQueue& queue, Dma dma, std::function<void()> changed, Logger log)
    : queue_(queue), dma_(std::move(dma)), changed_(std::move(changed)), log_(std::move(log)) {
  power_on();
}

Result<> AhciPort::add_disk(block::Disk& disk, AtaDriveConfig config) {
  if (has_drive()) return fail(ErrorKind::kAlreadyExists, "there is a drive at that port already");
  auto drive = std::make_unique<AtaDrive>(*this, disk, std::move(config));
  ncq_ = std::make_unique<AtaNcq>(*this, *drive);
  drive_ = std::move(drive);
  power_on();
  return {};
}

Result<> AhciPort::add_cdrom(block::Disk* medium, AtapiDriveConfig config) {
  if (has_drive()) return fail(ErrorKind::kAlreadyExists, "there is a drive at that port already");
  drive_ = std::make_unique<AtapiDrive>(*this, medium, std::move(config));
  power_on();
  return {};
}

// ---- Registers

/// While requests of commands that were dropped are still with the disk, the drive is busy.
std::uint16_t AhciPort::task_file() const {
  const bool drive_busy = drive_ && !executing_ && (drive_->status() & status::kBusy) != 0;
  const bool draining = drive_busy || (ncq_ && ncq_->draining());
  return static_cast<std::uint16_t>(task_file_ | (draining ? status::kBusy : 0U));
}

std::uint32_t AhciPort::read(std::uint32_t offset) const {
  switch (static_cast<PortRegister>(offset)) {
    case PortRegister::kListLow: return static_cast<std::uint32_t>(list_);
    case PortRegister::kListHigh: return static_cast<std::uint32_t>(list_ >> 32U);
    case PortRegister::kReceivedLow: return static_cast<std::uint32_t>(received_);
    case PortRegister::kReceivedHigh: return static_cast<std::uint32_t>(received_ >> 32U);
    case PortRegister::kInterruptStatus: return interrupts_;
    case PortRegister::kInterruptEnable: return enabled_;
    case PortRegister::kCommand:
      return command_ | command::kSpinUp | command::kPowerOn | (started() ? command::kListRunning : 0) |
             ((command_ & command::kReceive) != 0 ? command::kReceiveRunning : 0) |
             (executing_ || halted_ ? last_slot_ << command::kSlotShift : 0);
    case PortRegister::kTaskFile: return task_file();
    case PortRegister::kSignature: return signature_;
    case PortRegister::kSataStatus: return sata_status_;
    case PortRegister::kSataControl: return sata_control_;
    case PortRegister::kSataActive: return sata_active_;
    case PortRegister::kIssue: return issued_;
    case PortRegister::kSataError: return 0;
  }
  return 0;
}

void AhciPort::write(std::uint32_t offset, std::uint32_t value) {
  switch (static_cast<PortRegister>(offset)) {
    case PortRegister::kListLow: list_ = align_down(with_bits(list_, 31, 0, value), kListAlignment); break;
    case PortRegister::kListHigh: list_ = with_bits(list_, 63, 32, value); break;
    case PortRegister::kReceivedLow:
      received_ = align_down(with_bits(received_, 31, 0, value), kReceivedAlignment);
      break;
    case PortRegister::kReceivedHigh: received_ = with_bits(received_, 63, 32, value); break;
    case PortRegister::kInterruptStatus: interrupts_ &= ~value; break;
    case PortRegister::kInterruptEnable: enabled_ = value & interrupt::kAll; break;
    case PortRegister::kCommand: write_command(value); break;
    case PortRegister::kSataControl: write_sata_control(value); break;
    case PortRegister::kSataActive:
      if (started()) sata_active_ |= value;
      break;
    case PortRegister::kIssue:
      if (started()) issued_ |= value;
      break;
    default: return;
  }
  settle();
  changed_();
}

void AhciPort::write_command(std::uint32_t value) {
  const bool was_started = started();
  command_ = value & command::kWritable;
  if (was_started && !started()) stop();
  if ((value & command::kListOverride) != 0 && !started() && drive_) {
    // The drive may go on by itself; here it is told not to.
    drive_->reset();
    set_task_file(static_cast<std::uint8_t>(task_file_ & ~(status::kBusy | status::kDataRequest)),
                  static_cast<std::uint8_t>(task_file_ >> 8U));
  }
}

/// ST falls: nothing is issued any more. A command in progress is left where it is; the drive looks busy until it is
/// reset.
void AhciPort::stop() {
  issued_ = 0;
  sata_active_ = 0;
  last_slot_ = ahci::kSlots - 1;  // so that the first is next
  halted_ = false;
  if (ncq_) ncq_->cancel();
  if (std::exchange(executing_, false)) {
    drive_->reset();
    set_task_file(static_cast<std::uint8_t>(task_file_ | status::kBusy), 0);
  }
}

/// DET goes from 1 to 0: COMRESET (section 10.4.2).
void AhciPort::write_sata_control(std::uint32_t value) {
  const std::uint32_t before = std::exchange(sata_control_, value) & sata::kDetection;
  const std::uint32_t now = value & sata::kDetection;
  if (now == sata::kDisable) sata_status_ = drive_ ? sata::kOffline : sata::kNothing;
  if (now == sata::kReset && before != now) {
    sata_status_ = sata::kNothing;
    task_file_ = kNoDrive;
  }
  if (now == 0 && before != 0) reset_drive(true);
}

void AhciPort::reset_drive(bool hard) {
  if (!drive_) return;
  executing_ = false;
  if (ncq_) ncq_->cancel();
  issued_ = 0;
  sata_active_ = 0;
  soft_reset_ = false;
  sata_status_ = sata::kPresent;
  if (hard)
    drive_->power_on();
  else
    drive_->reset();
  take_signature();
}

void AhciPort::take_signature() {
  const TaskFile& task = drive_->task();
  signature_ = std::uint32_t{task.now[4]} << 24U | std::uint32_t{task.now[3]} << 16U |
               std::uint32_t{task.now[2]} << 8U | task.now[1];
  set_task_file(task.status, task.error);
}

void AhciPort::reset() {
  interrupts_ = 0;
  enabled_ = 0;
  command_ = 0;
  sata_control_ = 0;
  sata_active_ = issued_ = 0;
  last_slot_ = ahci::kSlots - 1;  // so that the first is next
  executing_ = halted_ = soft_reset_ = false;
  last_phase_ = IdePhase::kIdle;
  sata_status_ = sata::kNothing;
  task_file_ = kNoDrive;
  signature_ = kNoSignature;
  reset_drive(true);
}

void AhciPort::power_on() {
  list_ = received_ = 0;
  cursors_.fill({});
  reset();
}

// ---- Commands

void AhciPort::submit(DiskQueue::Begin begin, DiskQueue::Handler done) {
  queue_.add(std::move(begin), [this, done = std::move(done)](const Result<>& result) {
    if (!result && !std::exchange(error_told_, true))
      log_.warn("a disk fails, and the guest is told: {}; further failures are not noted", result.error().describe());
    done(result);
    settle();
    changed_();
  });
}

void AhciPort::submit_queued(DiskQueue::Begin begin, DiskQueue::Handler done) {
  submit(std::move(begin), std::move(done));
}

/// What follows from what has just happened. Each round takes a bit from PxCI.
void AhciPort::settle() {
  run_command();
  while (may_issue()) {
    const std::optional<unsigned> slot = next_slot();
    if (!slot) return;
    issue(*slot);
    run_command();
  }
}

bool AhciPort::may_issue() const {
  constexpr unsigned kNotReady = status::kBusy | status::kDataRequest;
  return started() && drive_ && !executing_ && !halted_ && sata_status_ == sata::kPresent &&
         (task_file() & kNotReady) == 0;
}

/// In turn, from the one behind the last.
std::optional<unsigned> AhciPort::next_slot() const {
  if (issued_ == 0) return std::nullopt;
  const unsigned from = (last_slot_ + 1) % ahci::kSlots;
  const auto distance = static_cast<unsigned>(std::countr_zero(std::rotr(issued_, static_cast<int>(from))));
  return (from + distance) % ahci::kSlots;
}

void AhciPort::issue(unsigned slot) {
  const auto read = [&]() -> Result<ahci::CommandTable> {
    DOPPEL_ASSIGN(const auto memory, dma_());
    DOPPEL_ASSIGN(const auto header, memory.read<ahci::CommandHeader>({list_ + slot * sizeof(ahci::CommandHeader)}));
    cursors_[slot] = {.table = align_down<std::uint64_t>(header.table, kTableAlignment),
                      .descriptors = header.descriptors};
    return memory.read<ahci::CommandTable>({cursors_[slot].table});
  };
  last_slot_ = slot;
  const auto table = read();
  if (!table) return halt(table.error());
  constexpr std::uint8_t kIsCommand = 0x80;
  const std::span frame(table->fis);
  if (frame[0] != ahci::kRegisterToDevice) {
    log_.guest_error("a command begins with a frame of the kind {:#x}", frame[0]);
    issued_ = with_bit(issued_, slot, false);
  } else if ((frame[1] & kIsCommand) == 0) {
    issued_ = with_bit(issued_, slot, false);
    control_frame(frame);
  } else {
    begin_command(slot, frame);
  }
}

/// Device control: SRST, on and off again (section 10.4.1).
void AhciPort::control_frame(std::span<const std::uint8_t> frame) {
  const bool wanted = (frame[15] & ata::control::kSoftReset) != 0;
  if (!std::exchange(soft_reset_, wanted) || wanted) return;
  const std::uint32_t others = issued_;
  reset_drive(false);
  issued_ = others;
  send_register(0);
}

void AhciPort::begin_command(unsigned slot, std::span<const std::uint8_t> frame) {
  const std::uint8_t opcode = frame[2];
  const TaskFile::Parameters now{frame[3], frame[12], frame[4], frame[5], frame[6]};
  const TaskFile::Parameters before{frame[11], frame[13], frame[8], frame[9], frame[10]};
  if (ncq_ && AtaNcq::is_queued(opcode)) {
    issued_ = with_bit(issued_, slot, false);
    cursors_[now[1] >> 3U] = cursors_[slot];
    return ncq_->begin(opcode, TaskFile{.now = now, .before = before, .device = frame[7]});
  }
  if (ncq_ && ncq_->active()) ncq_->cancel();  // the drive gives up what was queued (ATA8-ACS section 4.14)
  executing_ = true;
  last_phase_ = IdePhase::kIdle;
  set_task_file(status::kBusy, 0);
  drive_->set_task(now, before, frame[7]);
  if (opcode == ata::command::kExecuteDiagnostic)
    drive_->diagnose();
  else
    drive_->write_command(opcode);
}

/// As far as it gets without the disk.
void AhciPort::run_command() {
  if (!executing_ || halted_) return;
  while (!drive_->data_window().empty())
    if (const auto moved = move_window(); !moved) return halt(moved.error());
  drive_->acknowledge_interrupt();
  if ((drive_->status() & status::kBusy) == 0) finish_command();
}

Result<> AhciPort::move_window() {
  const std::span<std::byte> window = drive_->data_window();
  const std::uint8_t before = drive_->status();
  const bool packet = drive_->kind() == IdeKind::kCdrom && drive_->phase() == IdePhase::kPioOut;
  const IdePhase phase = drive_->phase();
  const bool to_memory = phase == IdePhase::kPioIn || phase == IdePhase::kDmaIn;
  if (packet) {
    DOPPEL_ASSIGN(const auto memory, dma_());
    const auto at = cursors_[last_slot_].table + sizeof(ahci::CommandTable::fis);
    DOPPEL_TRY(memory.read({at}, window));
  } else {
    DOPPEL_TRY(move(cursors_[last_slot_], window, to_memory));
  }
  // The first block that is written is not announced by an interrupt, nor is a packet.
  const bool first = std::exchange(last_phase_, phase) == IdePhase::kIdle;
  const std::size_t size = window.size();
  drive_->dma_moved(size);
  if (phase == IdePhase::kPioIn || phase == IdePhase::kPioOut)
    send_pio_setup(before, size, to_memory, to_memory || (!packet && !first));
  return {};
}

/// A disk's PIO data has told all there is to tell, unless it went wrong.
void AhciPort::finish_command() {
  executing_ = false;
  issued_ = with_bit(issued_, last_slot_, false);
  // Where there is no memory the guest has only itself to blame: it has put its list there.
  if (const auto memory = dma_())
    std::ignore = memory->write({list_ + last_slot_ * sizeof(ahci::CommandHeader) + ahci::kHeaderBytes},
                                Le32(cursors_[last_slot_].moved));
  const std::uint8_t now = drive_->status();
  const bool failed = (now & status::kError) != 0;
  if (last_phase_ != IdePhase::kPioIn || drive_->kind() != IdeKind::kDisk || failed)
    return send_register(kInterruptFlag);
  set_task_file(now, drive_->task().error);
}

// ---- Queued commands

bool AhciPort::move_queued(unsigned tag, std::span<std::byte> bytes, bool to_memory) {
  const auto moved = move(cursors_.at(tag), bytes, to_memory);
  if (!moved) halt(moved.error());
  return moved.has_value();
}

void AhciPort::queued_done(unsigned tag) {
  send_device_bits(1U << tag, 0);
}

void AhciPort::queued_failed(unsigned /*tag*/, std::uint8_t error) {
  send_device_bits(0, error);
  halted_ = true;
}

// ---- Data

Result<> AhciPort::next_descriptor(AhciCursor& cursor, const memory::DmaSpace& memory) {
  if (cursor.next >= cursor.descriptors)
    return fail(ErrorKind::kNoSpace, "a command has more data than its {} descriptors", cursor.descriptors);
  constexpr std::uint32_t kInterrupts = 31;
  const std::uint64_t at = cursor.table + ahci::kDescriptors + std::uint64_t{cursor.next} * sizeof(ahci::Descriptor);
  DOPPEL_ASSIGN(const auto descriptor, memory.read<ahci::Descriptor>({at}));
  ++cursor.next;
  cursor.address = descriptor.address & ~std::uint64_t{1};
  cursor.rest = bits<std::uint32_t>(descriptor.size, 21, 0) + 1;
  cursor.interrupts = test_bit<std::uint32_t>(descriptor.size, kInterrupts);
  return {};
}

Result<> AhciPort::move(AhciCursor& cursor, std::span<std::byte> bytes, bool to_memory) {
  DOPPEL_ASSIGN(const auto memory, dma_());
  while (!bytes.empty()) {
    if (cursor.rest == 0) DOPPEL_TRY(next_descriptor(cursor, memory));
    const auto part = bytes.first(std::min<std::size_t>(bytes.size(), cursor.rest));
    if (to_memory)
      DOPPEL_TRY(memory.write({cursor.address}, part));
    else
      DOPPEL_TRY(memory.read({cursor.address}, part));
    bytes = bytes.subspan(part.size());
    cursor.address += part.size();
    cursor.rest -= static_cast<std::uint32_t>(part.size());
    cursor.moved += static_cast<std::uint32_t>(part.size());
    if (cursor.rest == 0 && cursor.interrupts) raise(interrupt::kDescriptor);
  }
  return {};
}

void AhciPort::halt(const Error& error) {
  log_.guest_error("the port stops: {}", error.describe());
  halted_ = true;
  raise(error.kind() == ErrorKind::kNoSpace ? interrupt::kOverflow : interrupt::kHostBusError);
}

// ---- Frames: Serial ATA 3.0, section 10.3

void AhciPort::raise(std::uint32_t bits) {
  interrupts_ |= bits;
}

void AhciPort::set_task_file(std::uint8_t status, std::uint8_t error) {
  task_file_ = static_cast<std::uint16_t>(status | error << 8U);
}

void AhciPort::receive(std::uint64_t offset, std::span<const std::byte> frame) {
  if ((command_ & command::kReceive) == 0) return;
  const auto memory = dma_();
  if (!memory || !memory->write({received_ + offset}, frame)) raise(interrupt::kHostBusError);
}

namespace {

/// A frame that carries the task file.
std::array<std::uint8_t, 20> task_frame(std::uint8_t kind, std::uint8_t flags, const TaskFile& task,
                                        std::uint8_t status) {
  return {kind,
          flags,
          status,
          task.error,
          task.now[2],
          task.now[3],
          task.now[4],
          task.device,
          task.before[2],
          task.before[3],
          task.before[4],
          0,
          task.now[1],
          task.before[1],
          0,
          0,
          0,
          0,
          0,
          0};
}

}  // namespace

/// FLAGS: kInterruptFlag, or 0.
void AhciPort::send_register(std::uint8_t flags) {
  const std::uint8_t now = drive_->status();
  const auto frame = task_frame(ahci::kRegisterToHost, flags, drive_->task(), now);
  receive(ahci::kReceivedRegister, std::as_bytes(std::span(frame)));
  set_task_file(now, drive_->task().error);
  if (flags == kInterruptFlag) raise(interrupt::kRegister);
  if ((now & status::kError) == 0) return;
  raise(interrupt::kTaskFileError);
  issued_ = with_bit(issued_, last_slot_, true);  // the guest looks there for what failed
  halted_ = true;
}

/// STATUS_BEFORE asked for the data; what the drive says now is how it ends.
void AhciPort::send_pio_setup(std::uint8_t status_before, std::size_t size, bool to_memory, bool interrupts) {
  const auto flags = static_cast<std::uint8_t>((to_memory ? kToHostFlag : 0U) | (interrupts ? kInterruptFlag : 0U));
  auto frame = task_frame(ahci::kPioSetup, flags, drive_->task(), status_before);
  frame[15] = drive_->status();
  frame[16] = static_cast<std::uint8_t>(size);
  frame[17] = static_cast<std::uint8_t>(size >> 8U);
  receive(ahci::kReceivedPioSetup, std::as_bytes(std::span(frame)));
  if (interrupts) raise(interrupt::kPioSetup);
}

void AhciPort::send_device_bits(std::uint32_t done, std::uint8_t error) {
  constexpr std::uint8_t kStatusBits = 0x77;  // BSY and DRQ are not this frame's
  constexpr std::uint8_t kGood = status::kReady | status::kSeekComplete;
  const auto now = static_cast<std::uint8_t>(kGood | (error != 0 ? status::kError : 0U));
  std::array<std::byte, 8> frame{std::byte{ahci::kSetDeviceBits}, std::byte{kInterruptFlag},
                                 static_cast<std::byte>(now & kStatusBits), std::byte{error}};
  store_le(frame.data() + 4, done);
  receive(ahci::kReceivedDeviceBits, frame);
  sata_active_ &= ~done;
  set_task_file(now, error);
  raise(interrupt::kDeviceBits);
  if (error != 0) raise(interrupt::kTaskFileError);
}

// ---- Saving

AhciPortState AhciPort::save() const {
  AhciPortState saved{.list = list_,
                      .received = received_,
                      .interrupts = interrupts_,
                      .enabled = enabled_,
                      .command = command_,
                      .task_file = task_file_,
                      .signature = signature_,
                      .sata_status = sata_status_,
                      .sata_control = sata_control_,
                      .sata_active = sata_active_,
                      .issued = issued_,
                      .last_slot = static_cast<std::uint8_t>(last_slot_),
                      .executing = executing_,
                      .halted = halted_,
                      .soft_reset = soft_reset_,
                      .last_phase = last_phase_,
                      .cursors = {cursors_.begin(), cursors_.end()}};
  if (drive_) saved.drive = drive_->save();
  if (!ncq_) return saved;
  saved.queued = ncq_->save();
  saved.queued_error = static_cast<const AtaDrive&>(*drive_).queued_error();
  return saved;
}

Result<> AhciPort::load(const AhciPortState& saved) {
  const bool has_one = saved.drive.kind != IdeKind::kNone;
  if (has_one != has_drive()) return fail(ErrorKind::kCorrupt, "the saved state has other drives than this machine");
  if (saved.cursors.size() != ahci::kSlots || saved.last_slot >= ahci::kSlots || saved.last_phase > IdePhase::kDmaOut ||
      (saved.executing && !drive_) || (!saved.queued.empty() && !ncq_))
    return fail(ErrorKind::kCorrupt, "the saved state of an AHCI port is damaged");
  if (drive_) DOPPEL_TRY(drive_->load(saved.drive));
  if (ncq_) {
    DOPPEL_TRY(ncq_->load(saved.queued));
    static_cast<AtaDrive&>(*drive_).note_queued_error(saved.queued_error);
  }
  list_ = align_down(saved.list, kListAlignment);
  received_ = align_down(saved.received, kReceivedAlignment);
  interrupts_ = saved.interrupts;
  enabled_ = saved.enabled & interrupt::kAll;
  command_ = saved.command & command::kWritable;
  task_file_ = saved.task_file;
  signature_ = saved.signature;
  sata_status_ = saved.sata_status;
  sata_control_ = saved.sata_control;
  sata_active_ = saved.sata_active;
  issued_ = saved.issued;
  last_slot_ = saved.last_slot;
  executing_ = saved.executing;
  halted_ = saved.halted;
  soft_reset_ = saved.soft_reset;
  last_phase_ = saved.last_phase;
  std::ranges::copy(saved.cursors, cursors_.begin());
  return {};
}

}  // namespace doppel::hw
