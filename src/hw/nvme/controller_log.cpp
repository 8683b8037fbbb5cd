#include "hw/nvme/controller_log.h"

#include <algorithm>
#include <cstring>

namespace doppel::hw::nvme {

void ControllerLog::note_error(ErrorEntry entry) {
  entry.number = ++state_.error_count;
  if (state_.errors.size() == kErrorEntries) state_.errors.pop_back();
  state_.errors.insert(state_.errors.begin(), entry);
}

void ControllerLog::note_read(std::uint64_t bytes) {
  ++state_.reads;
  state_.bytes_read += bytes;
}

void ControllerLog::note_write(std::uint64_t bytes) {
  ++state_.writes;
  state_.bytes_written += bytes;
}

std::expected<std::vector<std::byte>, Status> ControllerLog::page(LogPageId id) const {
  switch (id) {
    case LogPageId::kErrors: return errors();
    case LogPageId::kHealth: return health();
    case LogPageId::kFirmware: return firmware();
    case LogPageId::kCommands: return commands();
  }
  return std::unexpected(Status::kInvalidLogPage);
}

std::vector<std::byte> ControllerLog::errors() const {
  constexpr std::size_t kEntrySize = 64;
  std::vector<std::byte> page(kErrorEntries * kEntrySize);
  std::byte* at = page.data();
  for (const ErrorEntry& entry : state_.errors) {
    store_le(at, entry.number);
    store_le(at + 8, entry.queue);
    store_le(at + 10, entry.command_id);
    store_le(at + 12, entry.status);
    store_le<std::uint16_t>(at + 14, 0xffff);  // no byte of the command in particular
    store_le(at + 16, entry.block);
    store_le(at + 24, entry.namespace_id);
    at += kEntrySize;
  }
  return page;
}

std::vector<std::byte> ControllerLog::health() const {
  constexpr std::size_t kSize = 512;
  constexpr std::uint64_t kUnit = 512 * 1000;  // of what was read and written, rounded up
  const auto units = [](std::uint64_t bytes) { return bytes / kUnit + (bytes % kUnit != 0 ? 1 : 0); };
  std::vector<std::byte> page(kSize);
  store_le<std::uint16_t>(page.data() + 1, kTemperature);
  page[3] = std::byte{100};  // percent of spare blocks
  page[4] = std::byte{10};   // and how few would be bad
  store_le(page.data() + 32, units(state_.bytes_read));
  store_le(page.data() + 48, units(state_.bytes_written));
  store_le(page.data() + 64, state_.reads);
  store_le(page.data() + 80, state_.writes);
  store_le(page.data() + 160, state_.media_errors);
  store_le(page.data() + 176, state_.error_count);
  return page;
}

std::vector<std::byte> ControllerLog::firmware() {
  constexpr std::size_t kSize = 512;
  std::vector<std::byte> page(kSize);
  page[0] = std::byte{1};  // slot 1 is active
  std::memcpy(page.data() + 8, kFirmwareRevision.data(), kFirmwareRevision.size());
  return page;
}

std::vector<std::byte> ControllerLog::commands() {
  constexpr std::size_t kSize = 4096;
  constexpr std::uint32_t kSupported = 1;
  constexpr std::uint32_t kChangesData = 2;
  constexpr std::size_t kIoCommands = 1024;
  std::vector<std::byte> page(kSize);
  for (const AdminOpcode opcode :
       {AdminOpcode::kDeleteSubmissionQueue, AdminOpcode::kCreateSubmissionQueue, AdminOpcode::kGetLogPage,
        AdminOpcode::kDeleteCompletionQueue, AdminOpcode::kCreateCompletionQueue, AdminOpcode::kIdentify,
        AdminOpcode::kAbort, AdminOpcode::kSetFeatures, AdminOpcode::kGetFeatures, AdminOpcode::kAsyncEventRequest})
    store_le(page.data() + 4 * static_cast<std::size_t>(opcode), kSupported);
  for (const IoOpcode opcode : {IoOpcode::kFlush, IoOpcode::kWrite, IoOpcode::kRead, IoOpcode::kCompare,
                                IoOpcode::kWriteZeroes, IoOpcode::kDatasetManagement, IoOpcode::kVerify}) {
    const bool changes = opcode == IoOpcode::kFlush || opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes ||
                         opcode == IoOpcode::kDatasetManagement;
    store_le(page.data() + kIoCommands + 4 * static_cast<std::size_t>(opcode),
             kSupported | (changes ? kChangesData : 0U));
  }
  return page;
}

bool ControllerLog::load(const ControllerLogState& saved) {
  if (saved.errors.size() > kErrorEntries) return false;
  state_ = saved;
  return true;
}

}  // namespace doppel::hw::nvme
