// The floppy controller's commands but for those that go through sectors (data sheet, section 6).
#include <algorithm>
#include <utility>

#include "hw/floppy/i82077.h"

namespace doppel::hw {

struct I82077::Command {
  std::uint8_t opcode;
  std::uint8_t mask;  // the bits that tell it; the others are options
  std::uint8_t parameters;
  bool moves_sectors;
  void (I82077::*execute)();
};

/// Table 5-1. SCAN EQUAL, LOW OR EQUAL and HIGH OR EQUAL differ by their opcodes' bits 3 and 2.
const I82077::Command I82077::kCommands[] = {
    {0x06, 0x1f, 8, true, &I82077::read_data},
    {0x0c, 0x1f, 8, true, &I82077::read_deleted},
    {0x02, 0x9f, 8, true, &I82077::read_track},
    {0x05, 0x3f, 8, true, &I82077::write_data},
    {0x09, 0x3f, 8, true, &I82077::write_data},  // WRITE DELETED DATA
    {0x16, 0x1f, 8, true, &I82077::verify},
    {0x11, 0x1f, 8, true, &I82077::scan},
    {0x19, 0x1f, 8, true, &I82077::scan},
    {0x1d, 0x1f, 8, true, &I82077::scan},
    {0x0d, 0xbf, 5, true, &I82077::format_track},
    {0x0a, 0xbf, 1, false, &I82077::read_id},
    {0x07, 0xff, 1, false, &I82077::recalibrate},
    {0x0f, 0xff, 2, false, &I82077::seek},
    {0x8f, 0xbf, 2, false, &I82077::relative_seek},
    {0x08, 0xff, 0, false, &I82077::sense_interrupt},
    {0x04, 0xff, 1, false, &I82077::sense_drive},
    {0x03, 0xff, 2, false, &I82077::specify},
    {0x13, 0xff, 3, false, &I82077::configure},
    {0x10, 0xff, 0, false, &I82077::version},
    {0x0e, 0xff, 0, false, &I82077::dump_registers},
    {0x12, 0xff, 1, false, &I82077::set_perpendicular},
    {0x14, 0x7f, 0, false, &I82077::set_lock},
};

const I82077::Command* I82077::find_command(std::uint8_t opcode) {
  const auto* const found =
      std::ranges::find_if(kCommands, [&](const Command& row) { return (opcode & row.mask) == row.opcode; });
  return found == std::end(kCommands) ? nullptr : found;
}

bool I82077::moves_sectors(std::span<const std::uint8_t> command) {
  const Command* const row = command.empty() ? nullptr : find_command(command.front());
  return row != nullptr && row->moves_sectors && command.size() == row->parameters + 1U;
}

bool I82077::is_incomplete(std::span<const std::uint8_t> command) {
  const Command* const row = command.empty() ? nullptr : find_command(command.front());
  return command.empty() || (row != nullptr && command.size() <= row->parameters);
}

/// Carries the command out once all its parameters are there.
void I82077::execute() {
  const Command* const row = find_command(now_.command.front());
  if (row == nullptr) {
    log_.guest_error("command {:#04x} is none of this chip's", now_.command.front());
    return respond({fdc::st0::kInvalid});
  }
  if (now_.command.size() <= row->parameters) return;
  (this->*row->execute)();
  if (now_.phase == FdcPhase::kCommand) now_.command.clear();
}

void I82077::read_id() {
  FdcDriveState& state = now_.drives[unit()];
  if (!finds_marks() || state.track >= drive().format.tracks || head() >= drive().format.heads)
    return fail(fdc::st1::kMissingMark, 0);
  now_.transfer = {};
  now_.transfer.cylinder = state.track;
  now_.transfer.head = head();
  if (state.next_id > drive().format.sectors || state.next_id == 0) state.next_id = 1;
  now_.transfer.sector = state.next_id++;
  finish(0, 0);
}

/// Steps tell the drive that somebody has noticed the new medium.
void I82077::move_head(unsigned unit, unsigned track) {
  FdcDriveState& state = now_.drives[unit];
  if (drives_[unit].disk != nullptr) state.changed = false;
  state.track = static_cast<std::uint8_t>(std::min(track, 255U));
}

void I82077::note_seek(unsigned unit, std::uint8_t status) {
  now_.drives[unit].seek_done = true;
  now_.drives[unit].seek_status = static_cast<std::uint8_t>(fdc::st0::kSeekEnd | status | unit);
  set_interrupt(true);
}

/// Without a drive no track 0 signal ever comes.
void I82077::recalibrate() {
  const bool present = drives_[unit()].present;
  move_head(unit(), 0);
  note_seek(unit(), present ? 0 : fdc::st0::kAbnormal | fdc::st0::kEquipmentCheck);
}

void I82077::seek() {
  move_head(unit(), now_.command[2]);
  note_seek(unit(), static_cast<std::uint8_t>(head() << 2U));
}

void I82077::relative_seek() {
  constexpr std::uint8_t kInwards = 0x40;
  const unsigned track = now_.drives[unit()].track;
  const unsigned steps = now_.command[2];
  move_head(unit(), (now_.command[0] & kInwards) != 0 ? track + steps : track - std::min(track, steps));
  note_seek(unit(), static_cast<std::uint8_t>(head() << 2U));
}

/// Section 5.2.4: what there is to tell of resets and seeks, a drive at a time; otherwise it is an invalid command.
void I82077::sense_interrupt() {
  if (now_.reset_senses != 0) {
    const unsigned unit = I82077State::kDrives - now_.reset_senses--;
    set_interrupt(false);
    return respond({static_cast<std::uint8_t>(fdc::st0::kPolling | unit), now_.drives[unit].track});
  }
  const auto moved = std::ranges::find(now_.drives, true, &FdcDriveState::seek_done);
  if (moved == now_.drives.end()) return respond({fdc::st0::kInvalid});
  moved->seek_done = false;
  set_interrupt(std::ranges::find(now_.drives, true, &FdcDriveState::seek_done) != now_.drives.end());
  respond({moved->seek_status, moved->track});
}

void I82077::sense_drive() {
  std::uint8_t status = fdc::st3::kAlwaysSet | (now_.command[1] & 7U);
  if (now_.drives[unit()].track == 0 && drive().present) status |= fdc::st3::kTrack0;
  if (drive().disk != nullptr && drive().disk->read_only()) status |= fdc::st3::kWriteProtected;
  respond({status});
}

void I82077::specify() {
  now_.specify = {now_.command[1], now_.command[2]};
}

void I82077::configure() {
  now_.configure = now_.command[2] & 0x7f;
  now_.precompensation = now_.command[3];
}

void I82077::version() {
  respond({fdc::kVersion});
}

void I82077::dump_registers() {
  const auto& drives = now_.drives;
  respond({drives[0].track, drives[1].track, drives[2].track, drives[3].track, now_.specify[0], now_.specify[1],
           now_.last_sector, static_cast<std::uint8_t>((now_.lock ? 0x80 : 0) | now_.perpendicular), now_.configure,
           now_.precompensation});
}

/// OW, bit 7, lets the bits of the drives be changed.
void I82077::set_perpendicular() {
  const std::uint8_t value = now_.command[1];
  constexpr std::uint8_t kDriveBits = 0x3c;
  const std::uint8_t drives = (value & 0x80U) != 0 ? value & kDriveBits : now_.perpendicular & kDriveBits;
  now_.perpendicular = static_cast<std::uint8_t>(drives | (value & 3U));
}

void I82077::set_lock() {
  now_.lock = (now_.command[0] & 0x80U) != 0;
  respond({static_cast<std::uint8_t>(now_.lock ? 0x10 : 0)});
}

}  // namespace doppel::hw
