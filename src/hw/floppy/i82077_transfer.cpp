// The execution phase: commands that go through sectors, one after another (data sheet, section 5.1).
#include <algorithm>
#include <utility>

#include "hw/floppy/i82077.h"

namespace doppel::hw {

namespace {

constexpr std::uint8_t kMultiTrack = 0x80;
constexpr std::uint8_t kSkip = 0x20;
constexpr std::uint8_t kEnableCount = 0x80;  // EC, in VERIFY's second byte

// Parameters, by their place behind the opcode.
constexpr unsigned kCylinder = 2;
constexpr unsigned kHead = 3;
constexpr unsigned kSector = 4;
constexpr unsigned kSizeCode = 5;
constexpr unsigned kEndSector = 6;
constexpr unsigned kDataLength = 8;  // DTL; SC for VERIFY, STP for scans

constexpr unsigned kFormatSizeCode = 2;
constexpr unsigned kFormatSectors = 3;
constexpr unsigned kFormatFiller = 5;

}  // namespace

/// Does the head see sectors: is there a medium, and one written at this data rate?
bool I82077::finds_marks() {
  return drive().disk != nullptr && drive().format.rate == now_.rate;
}

/// Where the sector is that has this address on the track under the head; nowhere if there is none.
std::optional<std::uint64_t> I82077::offset_on_disk(std::uint8_t cylinder, std::uint8_t head, std::uint8_t sector) {
  const FloppyFormat& format = drive().format;
  if (drive().disk == nullptr || cylinder != now_.drives[unit()].track || cylinder >= format.tracks ||
      head >= format.heads || sector == 0 || sector > format.sectors)
    return std::nullopt;
  const std::uint64_t number = (std::uint64_t{cylinder} * format.heads + head) * format.sectors + sector - 1U;
  const std::uint64_t offset = number * fdc::kSectorSize;
  if (offset + fdc::kSectorSize > drive().disk->size()) return std::nullopt;
  return offset;
}

bool I82077::to_host() const {
  const FdcKind kind = now_.transfer.kind;
  return kind == FdcKind::kRead || kind == FdcKind::kReadDeleted || kind == FdcKind::kReadTrack;
}

bool I82077::wants_dma() const {
  return now_.phase == FdcPhase::kExecution && now_.transfer.turn == FdcTurn::kHost && uses_dma() &&
         (now_.output & fdc::output::kDmaGate) != 0;
}

void I82077::begin_transfer(FdcKind kind) {
  const auto& command = now_.command;
  FdcTransferState& transfer = now_.transfer;
  cancel();
  transfer = {.kind = kind, .opcode = command[0]};
  transfer.cylinder = command[kCylinder];
  transfer.head = command[kHead];
  transfer.sector = kind == FdcKind::kReadTrack ? std::uint8_t{1} : command[kSector];
  transfer.end_sector = command[kEndSector];
  now_.last_sector = command[kEndSector];
  if (kind == FdcKind::kVerify && (command[1] & kEnableCount) != 0) transfer.left = command[kDataLength];
  if (!finds_marks()) return fail(fdc::st1::kMissingMark, 0);
  if (kind == FdcKind::kWrite && drive().disk->read_only()) return fail(fdc::st1::kNotWritable, 0);
  if ((now_.configure & fdc::kConfigureImplied) != 0) move_head(unit(), transfer.cylinder);
  if (command[kSizeCode] != fdc::kSizeCode512 || transfer.head != head()) return fail(fdc::st1::kNoData, 0);
  // Nothing is marked as deleted: read_deleted skips every sector, or stops behind the first.
  if (kind == FdcKind::kReadDeleted && (command[0] & kSkip) != 0) return fail(fdc::st1::kNoData, 0);
  now_.phase = FdcPhase::kExecution;
  begin_sector();
}

void I82077::format_track() {
  const auto& command = now_.command;
  FdcTransferState& transfer = now_.transfer;
  cancel();
  transfer = {.kind = FdcKind::kFormat, .opcode = command[0]};
  transfer.cylinder = now_.drives[unit()].track;
  transfer.head = head();
  transfer.left = command[kFormatSectors];
  now_.last_sector = command[kFormatSectors];
  if (!finds_marks()) return fail(fdc::st1::kMissingMark, 0);
  if (drive().disk->read_only()) return fail(fdc::st1::kNotWritable, 0);
  if (command[kFormatSizeCode] != fdc::kSizeCode512) return fail(fdc::st1::kNoData, 0);
  if (transfer.left == 0) return finish(0, 0);
  now_.phase = FdcPhase::kExecution;
  offer_to_host(fdc::kIdSize);
}

/// On to the sector that the transfer is at.
void I82077::begin_sector() {
  FdcTransferState& transfer = now_.transfer;
  if (!offset_on_disk(transfer.cylinder, transfer.head, transfer.sector)) {
    const bool elsewhere = transfer.cylinder != now_.drives[unit()].track;
    return fail(fdc::st1::kNoData, elsewhere ? fdc::st2::kWrongCylinder : 0);
  }
  if (transfer.kind == FdcKind::kWrite) return offer_to_host(fdc::kSectorSize);
  transfer.turn = FdcTurn::kDiskReads;
  request_disk();
}

void I82077::offer_to_host(std::size_t size) {
  FdcTransferState& transfer = now_.transfer;
  transfer.turn = FdcTurn::kHost;
  transfer.buffer.resize(size);
  transfer.position = 0;
  if (!uses_dma()) set_interrupt(true);
}

void I82077::request_disk() {
  sector_ = std::make_shared<std::vector<std::byte>>(fdc::kSectorSize);
  now_.transfer.position = 0;
  disk_wanted_ = true;
}

void I82077::disk_answered(const Result<>& result) {
  FdcTransferState& transfer = now_.transfer;
  if (!result) return fail(fdc::st1::kDataError, fdc::st2::kDataError);
  if (transfer.turn == FdcTurn::kDiskWrites || transfer.kind == FdcKind::kVerify) return sector_done();
  std::vector<std::uint8_t>& bytes = transfer.kind == FdcKind::kScan ? transfer.expected : transfer.buffer;
  bytes.resize(fdc::kSectorSize);
  std::ranges::transform(*sector_, bytes.begin(), std::to_integer<std::uint8_t>);
  offer_to_host(fdc::kSectorSize);
}

/// BYTES went to the host or came from it; with terminal count it wants no more.
void I82077::host_moved(std::size_t bytes, bool terminal_count) {
  FdcTransferState& transfer = now_.transfer;
  transfer.position = static_cast<std::uint16_t>(transfer.position + bytes);
  transfer.terminal_count = terminal_count;
  const bool full = transfer.position == transfer.buffer.size();
  if (!full && !terminal_count) return;
  if (!full) std::fill(transfer.buffer.begin() + transfer.position, transfer.buffer.end(), std::uint8_t{0});
  host_is_done();
}

void I82077::host_is_done() {
  FdcTransferState& transfer = now_.transfer;
  switch (transfer.kind) {
    case FdcKind::kFormat: return format_sector();
    case FdcKind::kScan: compare_scan(); return;
    case FdcKind::kWrite: {
      const std::vector<std::uint8_t> bytes = std::exchange(transfer.buffer, {});
      transfer.turn = FdcTurn::kDiskWrites;
      request_disk();
      std::ranges::transform(bytes, sector_->begin(), [](std::uint8_t byte) { return std::byte{byte}; });
      return;
    }
    default: sector_done();
  }
}

/// The host gave a sector's address; the sector is filled. Its place is where the address says, as later commands look
/// for it there.
void I82077::format_sector() {
  FdcTransferState& transfer = now_.transfer;
  const std::vector<std::uint8_t> id = std::exchange(transfer.buffer, {});
  transfer.sector = id[2];
  if (id[3] != fdc::kSizeCode512 || id[1] != transfer.head || !offset_on_disk(id[0], transfer.head, transfer.sector))
    return fail(fdc::st1::kNoData, 0);
  transfer.turn = FdcTurn::kDiskWrites;
  request_disk();
  std::ranges::fill(*sector_, std::byte{now_.command[kFormatFiller]});
}

/// Section 5.1.7: FFh from either side fits everything.
void I82077::compare_scan() {
  constexpr std::uint8_t kLow = 0x19;
  constexpr std::uint8_t kHigh = 0x1d;
  constexpr std::uint8_t kAny = 0xff;
  FdcTransferState& transfer = now_.transfer;
  const std::uint8_t wanted = transfer.opcode & 0x1fU;
  transfer.equal = true;
  transfer.hit = true;
  for (std::size_t i = 0; i < transfer.position; ++i) {
    const std::uint8_t disk = transfer.expected[i];
    const std::uint8_t host = transfer.buffer[i];
    if (disk == host || disk == kAny || host == kAny) continue;
    transfer.equal = false;
    transfer.hit = (wanted == kLow && disk < host) || (wanted == kHigh && disk > host);
    break;
  }
  if (transfer.hit) return finish(0, transfer.equal ? fdc::st2::kScanHit : 0);
  sector_done();
}

/// The address of the next sector, as the results have it at the end, too (table 5-6); false at the end of the
/// cylinder.
bool I82077::advance() {
  FdcTransferState& transfer = now_.transfer;
  const bool scans = transfer.kind == FdcKind::kScan;
  const unsigned step = scans ? std::max<unsigned>(now_.command[kDataLength], 1) : 1;
  if (transfer.sector + step <= transfer.end_sector) {
    transfer.sector = static_cast<std::uint8_t>(transfer.sector + step);
    return true;
  }
  transfer.sector = 1;
  const bool both_sides = (transfer.opcode & kMultiTrack) != 0 && transfer.kind != FdcKind::kReadTrack;
  const bool goes_on = both_sides && transfer.head == 0;
  if (both_sides) transfer.head ^= 1U;
  if (!goes_on) ++transfer.cylinder;
  return goes_on;
}

void I82077::sector_done() {
  FdcTransferState& transfer = now_.transfer;
  if (transfer.kind == FdcKind::kFormat) {
    if (--transfer.left == 0 || transfer.terminal_count) return finish(0, 0);
    return offer_to_host(fdc::kIdSize);
  }
  const bool counted = transfer.kind == FdcKind::kVerify && transfer.left != 0;
  const bool more = advance();
  transfer.buffer.clear();
  if (transfer.kind == FdcKind::kReadDeleted) return finish(0, fdc::st2::kControlMark);
  if (counted && --transfer.left == 0) return finish(0, 0);
  if (transfer.kind == FdcKind::kScan && (transfer.terminal_count || !more))
    return finish(0, fdc::st2::kScanNotSatisfied);
  if (transfer.terminal_count || (transfer.kind == FdcKind::kVerify && !more && !counted)) return finish(0, 0);
  if (!more) return end_transfer(fdc::st0::kAbnormal, fdc::st1::kEndOfCylinder, 0);
  begin_sector();
}

void I82077::finish(std::uint8_t status1, std::uint8_t status2) {
  end_transfer(0, status1, status2);
}

void I82077::fail(std::uint8_t status1, std::uint8_t status2) {
  end_transfer(fdc::st0::kAbnormal, status1, status2);
}

void I82077::end_transfer(std::uint8_t status0, std::uint8_t status1, std::uint8_t status2) {
  const FdcTransferState done = std::exchange(now_.transfer, {});
  cancel();
  const auto first = static_cast<std::uint8_t>(status0 | (done.head != 0 ? fdc::st0::kHead : 0U) | unit());
  respond({first, status1, status2, done.cylinder, done.head, done.sector, fdc::kSizeCode512});
  set_interrupt(true);
}

/// What is under way for the present transfer will be of no interest.
void I82077::cancel() {
  ++ticket_;
  disk_wanted_ = false;
  now_.transfer = {};
}

}  // namespace doppel::hw
