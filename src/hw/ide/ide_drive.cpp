#include "hw/ide/ide_drive.h"

#include <algorithm>

#include "base/endian.h"

namespace doppel::hw {

namespace status = ata::status;
using Kind = IdeDiskRequest::Kind;

namespace {

/// Bytes that a 48-bit DATA SET MANAGEMENT entry can name.
constexpr std::uint64_t kLongestDiscard = 0xffffULL * ata::kSectorSize;

void begin_on(block::Disk& disk, const IdeDiskRequest& request, block::Buffers buffers, block::Done done) {
  switch (request.kind) {
    case Kind::kNone: break;
    case Kind::kRead: return disk.read(request.offset, std::move(buffers), std::move(done));
    case Kind::kWrite: return disk.write(request.offset, std::move(buffers), std::move(done));
    case Kind::kFlush: return disk.flush(std::move(done));
    case Kind::kDiscard: return disk.discard(request.offset, request.length, std::move(done));
  }
}

}  // namespace

std::uint8_t IdeDrive::read_register(ata::Register reg, bool high_order) const {
  switch (reg) {
    case ata::Register::kData: return 0xff;
    case ata::Register::kError: return high_order ? task_.before[0] : task_.error;
    case ata::Register::kDevice: return task_.device | ata::device::kObsolete;
    case ata::Register::kStatus: return status();
    default: return task_.parameter(reg, high_order);
  }
}

void IdeDrive::write_register(ata::Register reg, std::uint8_t value) {
  if (busy() || phase_ != IdePhase::kIdle) return;
  if (reg == ata::Register::kDevice)
    task_.device = value;
  else
    task_.write(reg, value);
}

void IdeDrive::set_task(const TaskFile::Parameters& now, const TaskFile::Parameters& before, std::uint8_t device) {
  if (busy() || phase_ != IdePhase::kIdle) return;
  task_.now = now;
  task_.before = before;
  task_.device = device;
}

void IdeDrive::write_command(std::uint8_t command) {
  // A packet device takes DEVICE RESET at any time (ATA/ATAPI-7 volume 1, section 6.12).
  const bool resets = command == ata::command::kDeviceReset && kind() == IdeKind::kCdrom;
  if ((busy() || phase_ != IdePhase::kIdle) && !resets) return;
  command_ = command;
  interrupt_ = false;
  task_.error = 0;
  task_.status = status::kReady | status::kSeekComplete;
  execute(command);
}

std::uint32_t IdeDrive::read_data(unsigned size) {
  if (phase_ != IdePhase::kPioIn) return 0xffffffff;
  const std::size_t taken = std::min<std::size_t>(size, limit_ - position_);
  const auto value = static_cast<std::uint32_t>(load_le_sized(buffer_->data() + position_, taken));
  moved(taken);
  return value;
}

void IdeDrive::write_data(unsigned size, std::uint32_t value) {
  if (phase_ != IdePhase::kPioOut) return;
  const std::size_t taken = std::min<std::size_t>(size, limit_ - position_);
  store_le_sized(buffer_->data() + position_, taken, value);
  moved(taken);
}

std::span<std::byte> IdeDrive::dma_window() {
  if (phase_ != IdePhase::kDmaIn && phase_ != IdePhase::kDmaOut) return {};
  return data_window();
}

std::span<std::byte> IdeDrive::data_window() {
  if (phase_ == IdePhase::kIdle) return {};
  return std::span(*buffer_).subspan(position_, limit_ - position_);
}

void IdeDrive::moved(std::size_t size) {
  position_ += size;
  if (position_ < limit_) return;
  phase_ = IdePhase::kIdle;
  task_.status = static_cast<std::uint8_t>(task_.status & ~status::kDataRequest);
  block_moved();
}

void IdeDrive::offer(IdePhase phase, std::size_t begin, std::size_t end) {
  phase_ = phase;
  position_ = begin;
  limit_ = end;
  task_.status = status::kReady | status::kSeekComplete | status::kDataRequest;
}

void IdeDrive::offer_bytes(IdePhase phase, std::span<const std::byte> bytes) {
  buffer_->assign(bytes.begin(), bytes.end());
  offer(phase, 0, bytes.size());
}

void IdeDrive::complete() {
  phase_ = IdePhase::kIdle;
  task_.status = status::kReady | status::kSeekComplete;
  raise_interrupt();
}

void IdeDrive::fail(std::uint8_t error) {
  complete();
  task_.status |= status::kError;
  task_.error = error;
}

void IdeDrive::request(Kind kind, std::uint64_t offset, std::uint64_t length) {
  request_ = {.kind = kind, .offset = offset, .length = length};
  if (!in_flight_) begin_request();
}

void IdeDrive::begin_request() {
  in_flight_ = true;
  auto begin = [disk = disk_, request = request_, buffer = buffer_](block::Done done) {
    const std::size_t length =
        request.kind == Kind::kRead || request.kind == Kind::kWrite ? static_cast<std::size_t>(request.length) : 0;
    begin_on(*disk, request, {{.iov_base = buffer->data(), .iov_len = length}},
             [buffer, done = std::move(done)](Result<> result) { done(std::move(result)); });
  };
  host_.submit(std::move(begin), [this, ticket = ticket_](const Result<>& result) { answered(ticket, result); });
}

void IdeDrive::answered(std::uint64_t ticket, const Result<>& result) {
  in_flight_ = false;
  if (ticket == ticket_)
    request_done(std::exchange(request_, {}), result);
  else if (request_.kind != Kind::kNone)
    begin_request();
}

void IdeDrive::cancel() {
  ++ticket_;
  request_ = {};
  phase_ = IdePhase::kIdle;
}

void IdeDrive::put_signature() {
  task_.now = {0, 1, 1, 0, 0};
  task_.before = {};
  task_.set_lba_mid_high(signature());
  task_.device = 0;
  task_.error = ata::error::kDiagnosticsPassed;
  task_.status = status_after_reset();
}

void IdeDrive::reset() {
  cancel();
  interrupt_ = false;
  put_signature();
}

void IdeDrive::power_on() {
  reset();
  command_ = 0;
  reset_settings();
}

void IdeDrive::diagnose() {
  if (busy() || phase_ != IdePhase::kIdle) return;
  command_ = ata::command::kExecuteDiagnostic;
  put_signature();
  interrupt_ = true;
}

bool IdeDrive::set_transfer_mode(std::uint8_t mode) {
  constexpr unsigned kPioWithFlowControl = 1;
  constexpr unsigned kMultiwordDma = 4;
  constexpr unsigned kUltraDma = 8;
  const unsigned number = mode & 7U;
  switch (mode >> 3U) {
    case 0:
      if (number > 1) return false;  // PIO, with or without IORDY
      break;
    case kPioWithFlowControl:
      if (number > 4) return false;
      break;
    case kMultiwordDma:
      if (number > 2) return false;
      break;
    case kUltraDma:
      if (number > 5) return false;
      break;
    default: return false;
  }
  transfer_mode_ = mode;
  return true;
}

IdeDriveState IdeDrive::save() const {
  IdeDriveState saved;
  saved.kind = kind();
  saved.task = task_;
  saved.command = command_;
  saved.interrupt = interrupt_;
  saved.phase = phase_;
  saved.transfer_mode = transfer_mode_;
  saved.request = request_;
  if (phase_ != IdePhase::kIdle) {
    saved.position = position_;
    saved.limit = limit_;
  }
  // What lies in the buffer matters only while it is on its way.
  if (saved.in_progress()) {
    saved.buffer.resize(buffer_->size());
    // A disk may be filling the buffer right now; after loading it is asked again.
    if (request_.kind != Kind::kRead)
      std::ranges::transform(*buffer_, saved.buffer.begin(), std::to_integer<std::uint8_t>);
  }
  save_own(saved);
  return saved;
}

Result<> IdeDrive::check(const IdeDriveState& saved) const {
  const IdeDiskRequest& request = saved.request;
  const bool moves = request.kind == Kind::kRead || request.kind == Kind::kWrite;
  const std::uint64_t most = moves ? saved.buffer.size() : kLongestDiscard;
  const std::uint64_t size = disk_ != nullptr ? disk_->size() : 0;
  const bool fits = request.offset <= size && request.length <= size - request.offset && request.length <= most &&
                    (request.offset | request.length) % ata::kSectorSize == 0;
  const bool active = saved.phase != IdePhase::kIdle;
  const bool good = saved.kind == kind() && saved.phase <= IdePhase::kDmaOut && request.kind <= Kind::kDiscard &&
                    saved.buffer.size() <= kChunkSize && saved.limit <= saved.buffer.size() &&
                    saved.position <= saved.limit && (!active || saved.position < saved.limit) &&
                    (request.kind == Kind::kNone || (disk_ != nullptr && fits && !active));
  if (!good) return doppel::fail(ErrorKind::kCorrupt, "the saved state of an IDE drive is damaged or another drive's");
  return {};
}

Result<> IdeDrive::load(const IdeDriveState& saved) {
  DOPPEL_TRY(check(saved));
  DOPPEL_TRY(load_own(saved));
  cancel();
  task_ = saved.task;
  command_ = saved.command;
  transfer_mode_ = saved.transfer_mode;
  interrupt_ = saved.interrupt;
  phase_ = saved.phase;
  position_ = static_cast<std::size_t>(saved.position);
  limit_ = static_cast<std::size_t>(saved.limit);
  // A new buffer: a request that the load overtook may still use the old one.
  buffer_ = std::make_shared<std::vector<std::byte>>(saved.buffer.size());
  std::ranges::transform(saved.buffer, buffer_->begin(), [](std::uint8_t byte) { return std::byte{byte}; });
  if (saved.request.kind != Kind::kNone) request(saved.request.kind, saved.request.offset, saved.request.length);
  return {};
}

}  // namespace doppel::hw
