#include "hw/nvme/nvme_queue.h"

namespace doppel::hw::nvme {

Result<Command> SubmissionQueue::fetch(const memory::DmaSpace& memory) {
  DOPPEL_ASSIGN(const auto command, memory.read<Command>(ring.entry(ring.head, kCommandShift)));
  ring.head = ring.next(ring.head);
  return command;
}

/// The phase is in the last word, and a driver may look at any time: the last word goes last.
Result<> CompletionQueue::post(const memory::DmaSpace& memory, const WaitingCompletion& what,
                               std::uint32_t submission_head) {
  Completion entry;
  entry.result = what.result;
  entry.queue_head = static_cast<std::uint16_t>(submission_head);
  entry.queue_id = what.submission_queue;
  entry.command_id = what.command_id;
  const auto status = static_cast<std::uint16_t>(status_field(static_cast<Status>(what.status)) | (phase ? 1U : 0U));
  const memory::GuestPhysAddr at = ring.entry(ring.tail, kCompletionShift);
  constexpr std::size_t kBeforeStatus = sizeof entry - sizeof entry.status;
  DOPPEL_TRY(memory.write(at, std::as_bytes(std::span(&entry, 1)).first(kBeforeStatus)));
  DOPPEL_TRY(memory.write(at + kBeforeStatus, Le16(status)));
  ring.tail = ring.next(ring.tail);
  if (ring.tail == 0) phase = !phase;
  return {};
}

}  // namespace doppel::hw::nvme
