// What an IDE channel saves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hw/ide/task_file.h"

namespace doppel::hw {

enum class IdeKind : std::uint8_t { kNone, kDisk, kCdrom };

/// Who is to move data now, and where to.
enum class IdePhase : std::uint8_t { kIdle, kPioIn, kPioOut, kDmaIn, kDmaOut };

struct IdeDiskRequest {
  enum class Kind : std::uint8_t { kNone, kRead, kWrite, kFlush, kDiscard };
  Kind kind = Kind::kNone;
  std::uint64_t offset = 0;  // bytes on the disk; reads and writes are at the start of the buffer
  std::uint64_t length = 0;
  void describe(auto& fields) {
    fields("kind", kind);
    fields("offset", offset);
    fields("length", length);
  }
};

/// The queued command that failed last: log 10h of ATA8-ACS.
struct NcqErrorLog {
  std::uint8_t tag = 0x80;  // bit 7: it was none that was queued
  std::uint8_t status = 0;
  std::uint8_t error = 0;
  std::uint64_t sector = 0;
  /// With its checksum.
  [[nodiscard]] std::array<std::byte, ata::kSectorSize> page() const;
  void describe(auto& fields) {
    fields("tag", tag);
    fields("status", status);
    fields("error", error);
    fields("sector", sector);
  }
};

struct AtaDriveState {
  std::uint64_t next = 0;
  std::uint64_t rest = 0;
  std::uint64_t chunk = 0;
  std::uint8_t multiple = 0;
  std::uint8_t power_mode = 0;
  std::uint16_t heads = 1;
  std::uint16_t sectors = 1;
  bool write_cache = false;
  bool read_ahead = false;
  bool smart = false;
  void describe(auto& fields) {
    fields("next", next);
    fields("rest", rest);
    fields("chunk", chunk);
    fields("multiple", multiple);
    fields("power_mode", power_mode);
    fields("heads", heads);
    fields("sectors", sectors);
    fields("write_cache", write_cache);
    fields("read_ahead", read_ahead);
    fields("smart", smart);
  }
};

struct AtapiDriveState {
  std::uint64_t next = 0;
  std::uint64_t rest = 0;
  bool has_packet = false;
  bool uses_dma = false;
  std::array<std::uint8_t, 12> packet{};
  std::uint16_t byte_limit = 0;
  std::uint8_t sense_key = 0;
  std::uint16_t sense_code = 0;
  bool tray_open = false;
  bool locked = false;
  bool attention = false;
  std::uint8_t media_event = 0;
  void describe(auto& fields) {
    fields("next", next);
    fields("rest", rest);
    fields("has_packet", has_packet);
    fields("uses_dma", uses_dma);
    fields("packet", packet);
    fields("byte_limit", byte_limit);
    fields("sense_key", sense_key);
    fields("sense_code", sense_code);
    fields("tray_open", tray_open);
    fields("locked", locked);
    fields("attention", attention);
    fields("media_event", media_event);
  }
};

/// Of disk and cdrom, one stays as it is made.
struct IdeDriveState {
  IdeKind kind = IdeKind::kNone;
  TaskFile task{};
  std::uint8_t command = 0;
  std::uint8_t transfer_mode = 0;
  bool interrupt = false;
  IdePhase phase = IdePhase::kIdle;
  std::uint64_t position = 0;
  std::uint64_t limit = 0;
  std::vector<std::uint8_t> buffer{};
  IdeDiskRequest request{};
  AtaDriveState disk{};
  AtapiDriveState cdrom{};

  /// Is a command in progress?
  [[nodiscard]] bool in_progress() const {
    return phase != IdePhase::kIdle || request.kind != IdeDiskRequest::Kind::kNone;
  }
  void describe(auto& fields) {
    fields("kind", kind);
    fields("task", task);
    fields("command", command);
    fields("transfer_mode", transfer_mode);
    fields("interrupt", interrupt);
    fields("phase", phase);
    fields("position", position);
    fields("limit", limit);
    fields("buffer", buffer);
    fields("request", request);
    fields("disk", disk);
    fields("cdrom", cdrom);
  }
};

struct BusMasterState {
  std::uint8_t command = 0;
  std::uint8_t status = 0;
  std::uint32_t table = 0;
  std::uint32_t next_entry = 0;
  std::uint32_t address = 0;  // in the region in progress
  std::uint32_t rest = 0;     // of it; 0: the table's next entry comes next
  bool last = false;          // it is the table's last
  void describe(auto& fields) {
    fields("command", command);
    fields("status", status);
    fields("table", table);
    fields("next_entry", next_entry);
    fields("address", address);
    fields("rest", rest);
    fields("last", last);
  }
};

struct IdeChannelState {
  std::uint8_t device = 0;
  std::uint8_t control = 0;
  BusMasterState bus_master{};
  std::array<IdeDriveState, 2> drives{};
  void describe(auto& fields) {
    fields("device", device);
    fields("control", control);
    fields("bus_master", bus_master);
    fields("drives", drives);
  }
};

}  // namespace doppel::hw
