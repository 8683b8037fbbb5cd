// What an AHCI port saves.
#pragma once

#include <cstdint>
#include <vector>

#include "hw/ide/ata_ncq.h"
#include "hw/ide/ide_state.h"

namespace doppel::hw {

/// A command's way through its table of descriptors.
struct AhciCursor {
  std::uint64_t table = 0;        // of the command, guest-physical
  std::uint32_t descriptors = 0;  // in it
  std::uint32_t next = 0;         // descriptor
  std::uint64_t address = 0;      // in the descriptor in progress
  std::uint32_t rest = 0;         // of it; 0: the next descriptor comes next
  bool interrupts = false;        // when it is done
  std::uint32_t moved = 0;        // bytes of the command
  void describe(auto& fields) {
    fields("table", table);
    fields("descriptors", descriptors);
    fields("next", next);
    fields("address", address);
    fields("rest", rest);
    fields("interrupts", interrupts);
    fields("moved", moved);
  }
};

struct AhciPortState {
  std::uint64_t list = 0;
  std::uint64_t received = 0;
  std::uint32_t interrupts = 0;
  std::uint32_t enabled = 0;
  std::uint32_t command = 0;
  std::uint16_t task_file = 0;
  std::uint32_t signature = 0;
  std::uint32_t sata_status = 0;
  std::uint32_t sata_control = 0;
  std::uint32_t sata_active = 0;
  std::uint32_t issued = 0;
  std::uint8_t last_slot = 0;
  bool executing = false;  // the command of last_slot
  bool halted = false;
  bool soft_reset = false;
  IdePhase last_phase = IdePhase::kIdle;
  std::vector<AhciCursor> cursors{};  // one for each slot
  IdeDriveState drive{};
  NcqErrorLog queued_error{};
  std::vector<NcqCommandState> queued{};
  void describe(auto& fields) {
    fields("list", list);
    fields("received", received);
    fields("interrupts", interrupts);
    fields("enabled", enabled);
    fields("command", command);
    fields("task_file", task_file);
    fields("signature", signature);
    fields("sata_status", sata_status);
    fields("sata_control", sata_control);
    fields("sata_active", sata_active);
    fields("issued", issued);
    fields("last_slot", last_slot);
    fields("executing", executing);
    fields("halted", halted);
    fields("soft_reset", soft_reset);
    fields("last_phase", last_phase);
    fields("cursors", cursors);
    fields("drive", drive);
    fields("queued_error", queued_error);
    fields("queued", queued);
  }
};

}  // namespace doppel::hw
