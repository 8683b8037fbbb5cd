// The two kinds of rings in guest memory: NVM Express base specification 1.4, section 4.1.
#pragma once

#include <cstdint>
#include <deque>

#include "base/error.h"
#include "hw/nvme/nvme_commands.h"
#include "memory/dma.h"

namespace doppel::hw::nvme {

/// Where a ring is. The guest may put it where no memory is: then each access fails.
struct Ring {
  std::uint64_t base = 0;     // guest-physical
  std::uint32_t entries = 0;  // 2 to 65536
  std::uint32_t head = 0;     // the consumer's, below entries
  std::uint32_t tail = 0;     // the producer's, below entries

  [[nodiscard]] bool empty() const { return head == tail; }
  [[nodiscard]] bool full() const { return next(tail) == head; }
  [[nodiscard]] std::uint32_t next(std::uint32_t index) const { return index + 1 == entries ? 0 : index + 1; }
  [[nodiscard]] memory::GuestPhysAddr entry(std::uint32_t index, unsigned shift) const {
    return {base + (std::uint64_t{index} << shift)};
  }
  [[nodiscard]] bool is_sound() const { return entries >= 2 && entries <= 65536 && head < entries && tail < entries; }
  void describe(auto& fields) {
    fields("base", base);
    fields("entries", entries);
    fields("head", head);
    fields("tail", tail);
  }
};

/// Commands on their way to the controller.
struct SubmissionQueue {
  std::uint16_t id = 0;
  std::uint16_t completion_queue = 0;
  Ring ring{};
  std::uint32_t outstanding = 0;  // commands fetched and not completed yet
  bool deleting = false;          // no command is fetched any more

  /// The command at the head, which moves on.
  Result<Command> fetch(const memory::DmaSpace& memory);
};

/// A completion that waits for room in its queue.
struct WaitingCompletion {
  std::uint16_t submission_queue = 0;
  std::uint16_t command_id = 0;
  std::uint32_t result = 0;
  std::uint16_t status = 0;  // Status
  void describe(auto& fields) {
    fields("submission_queue", submission_queue);
    fields("command_id", command_id);
    fields("result", result);
    fields("status", status);
  }
};

/// Completions on their way to the guest.
struct CompletionQueue {
  std::uint16_t id = 0;
  std::uint16_t vector = 0;
  bool interrupts = false;
  bool phase = true;  // of the entries that are written now
  Ring ring{};
  std::deque<WaitingCompletion> waiting{};

  /// Writes an entry at the tail, which moves on; the ring is not full.
  Result<> post(const memory::DmaSpace& memory, const WaitingCompletion& what, std::uint32_t submission_head);
};

}  // namespace doppel::hw::nvme
