// What the floppy controller saves.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace doppel::hw {

enum class FdcPhase : std::uint8_t { kCommand, kExecution, kResult };

/// Whose turn it is in the execution phase.
enum class FdcTurn : std::uint8_t { kNobody, kDiskReads, kHost, kDiskWrites };

/// What a command does with the sectors it goes through.
enum class FdcKind : std::uint8_t { kRead, kReadDeleted, kReadTrack, kWrite, kFormat, kVerify, kScan };

struct FdcTransferState {
  FdcKind kind = FdcKind::kRead;
  FdcTurn turn = FdcTurn::kNobody;
  std::uint8_t opcode = 0;  // with its MT and SK bits
  std::uint8_t cylinder = 0;
  std::uint8_t head = 0;
  std::uint8_t sector = 0;
  std::uint8_t end_sector = 0;
  std::uint16_t left = 0;       // sectors, for VERIFY and FORMAT
  std::uint16_t position = 0;   // of the next byte to and from the host
  bool terminal_count = false;  // came while a sector was still to be written
  bool hit = false;             // of a scan: so far all bytes are as wanted
  bool equal = false;
  std::vector<std::uint8_t> buffer{};    // a sector, or an address mark's four bytes
  std::vector<std::uint8_t> expected{};  // a scan's sector

  void describe(auto& fields) {
    fields("kind", kind);
    fields("turn", turn);
    fields("opcode", opcode);
    fields("cylinder", cylinder);
    fields("head", head);
    fields("sector", sector);
    fields("end_sector", end_sector);
    fields("left", left);
    fields("position", position);
    fields("terminal_count", terminal_count);
    fields("hit", hit);
    fields("equal", equal);
    fields("buffer", buffer);
    fields("expected", expected);
  }
};

struct FdcDriveState {
  std::uint8_t track = 0;
  std::uint8_t next_id = 1;  // of the sectors that pass under the head
  bool changed = false;      // DSKCHG
  bool seek_done = false;    // not yet told by SENSE INTERRUPT STATUS
  std::uint8_t seek_status = 0;

  void describe(auto& fields) {
    fields("track", track);
    fields("next_id", next_id);
    fields("changed", changed);
    fields("seek_done", seek_done);
    fields("seek_status", seek_status);
  }
};

struct I82077State {
  static constexpr std::string_view kName = "i82077";
  static constexpr std::uint32_t kVersion = 1;
  static constexpr unsigned kDrives = 4;

  std::uint8_t output = 0;  // DOR
  std::uint8_t tape_drive = 0;
  std::uint8_t rate = 2;
  FdcPhase phase = FdcPhase::kCommand;
  std::vector<std::uint8_t> command{};  // opcode and what has come of its parameters
  std::vector<std::uint8_t> result{};   // what the host has not read yet
  std::uint8_t reset_senses = 0;        // drives that SENSE INTERRUPT STATUS has still to tell of after a reset
  std::array<std::uint8_t, 2> specify{};
  std::uint8_t configure = fdc_default_configure();
  std::uint8_t precompensation = 0;
  std::uint8_t perpendicular = 0;
  std::uint8_t last_sector = 0;  // for DUMPREG
  bool lock = false;
  bool interrupt = false;  // before DOR's gate
  std::array<FdcDriveState, kDrives> drives{};
  FdcTransferState transfer{};

  void describe(auto& fields) {
    fields("output", output);
    fields("tape_drive", tape_drive);
    fields("rate", rate);
    fields("phase", phase);
    fields("command", command);
    fields("result", result);
    fields("reset_senses", reset_senses);
    fields("specify", specify);
    fields("configure", configure);
    fields("precompensation", precompensation);
    fields("perpendicular", perpendicular);
    fields("last_sector", last_sector);
    fields("lock", lock);
    fields("interrupt", interrupt);
    fields("drives", drives);
    fields("transfer", transfer);
  }

  /// No FIFO until CONFIGURE (section 3.2).
  static constexpr std::uint8_t fdc_default_configure() { return 0x20; }
};

}  // namespace doppel::hw
