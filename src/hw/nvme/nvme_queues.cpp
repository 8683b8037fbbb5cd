// Doorbells, fetching commands, posting completions: NVM Express base specification 1.4, sections 4.1, 7.2, 7.13.
#include <algorithm>
#include <atomic>

#include "hw/nvme/nvme.h"

namespace doppel::hw {

// ---- Doorbells

void Nvme::write_doorbell(std::uint32_t index, std::uint32_t value) {
  if (!ready()) return;
  const std::uint32_t id = index / 2;
  if (id > config_.max_ioqpairs) return bad_doorbell(BadDoorbell::kRegister);
  if (index % 2 == 0) return write_tail(static_cast<std::uint16_t>(id), value);
  write_head(static_cast<std::uint16_t>(id), value);
}

void Nvme::write_tail(std::uint16_t id, std::uint32_t value) {
  const auto queue = submission_queues_.find(id);
  if (queue == submission_queues_.end()) return bad_doorbell(BadDoorbell::kRegister);
  if (value >= queue->second.ring.entries) return bad_doorbell(BadDoorbell::kValue);
  queue->second.ring.tail = value;
  if (!queue->second.ring.empty()) kick();
}

void Nvme::write_head(std::uint16_t id, std::uint32_t value) {
  const auto found = completion_queues_.find(id);
  if (found == completion_queues_.end()) return bad_doorbell(BadDoorbell::kRegister);
  nvme::CompletionQueue& queue = found->second;
  nvme::Ring& ring = queue.ring;
  // How far from the head: the guest cannot have taken more than there is.
  const auto distance = [&](std::uint32_t to) { return (to + ring.entries - ring.head) % ring.entries; };
  if (value >= ring.entries || distance(value) > distance(ring.tail)) return bad_doorbell(BadDoorbell::kValue);
  ring.head = value;
  post(queue);
  update_intx();
  if (has_work()) kick();
}

void Nvme::bad_doorbell(BadDoorbell why) {
  log().guest_error("a doorbell is rung that {}",
                    why == BadDoorbell::kValue ? "names no entry of its queue" : "belongs to no queue");
  constexpr std::uint8_t kErrorPage = 1;
  events_.add_event({.information = static_cast<std::uint8_t>(why), .log_page = kErrorPage});
  report_events();
}

/// The timer is due at once, on the loop's thread.
void Nvme::kick() {
  if (std::exchange(kicked_, true)) return;
  doorbell_timer_->arm(0);
}

// ---- Doorbells in memory

std::optional<std::uint32_t> Nvme::shadow(std::uint32_t index) const {
  const std::uint64_t offset = std::uint64_t{index} * nvme::kDoorbellSize;
  if (!has_shadow() || offset + nvme::kDoorbellSize > 1ULL << configuration_.page_shift()) return std::nullopt;
  const auto memory = dma();
  if (!memory) return std::nullopt;
  const auto value = memory->read<Le32>({shadow_doorbells_ + offset});
  if (!value) return std::nullopt;
  return *value;
}

/// Lets the guest ring the real doorbell when it goes on from VALUE.
void Nvme::ask_for_doorbell(std::uint32_t index, std::uint32_t value) {
  const std::uint64_t offset = std::uint64_t{index} * nvme::kDoorbellSize;
  if (!has_shadow() || offset + nvme::kDoorbellSize > 1ULL << configuration_.page_shift()) return;
  // Where there is no memory the guest has only itself to blame.
  if (const auto memory = dma()) std::ignore = memory->write({shadow_events_ + offset}, Le32(value));
  // The guest writes its doorbell and then reads this; here it is the other way round.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// The admin queue's doorbells are real ones: Linux has no others for it.
void Nvme::read_shadow_tail(nvme::SubmissionQueue& queue) {
  if (queue.id == 0) return;
  const auto tail = shadow(2U * queue.id);
  if (!tail) return;
  if (*tail >= queue.ring.entries) return bad_doorbell(BadDoorbell::kValue);
  queue.ring.tail = *tail;
}

void Nvme::read_shadow_head(nvme::CompletionQueue& queue) {
  if (queue.id == 0) return;
  ask_for_doorbell(2U * queue.id + 1, queue.ring.head);
  const auto head = shadow(2U * queue.id + 1);
  if (!head) return;
  const nvme::Ring& ring = queue.ring;
  const auto distance = [&](std::uint32_t to) { return (to + ring.entries - ring.head) % ring.entries; };
  if (*head >= ring.entries || distance(*head) > distance(ring.tail)) return bad_doorbell(BadDoorbell::kValue);
  queue.ring.head = *head;
}

// ---- From the guest

bool Nvme::may_begin(const nvme::SubmissionQueue& queue) const {
  return ready() && !queue.deleting && queue.outstanding < kMostOfQueue && requests_.size() < kMostRequests &&
         bytes_under_way_ < kMostBytes;
}

bool Nvme::has_work() const {
  return std::ranges::any_of(
      submission_queues_, [this](const auto& entry) { return !entry.second.ring.empty() && may_begin(entry.second); });
}

void Nvme::run_queues() {
  const DiskQueue::Guard guard(disks_);
  kicked_ = false;
  begin_loaded();
  unsigned budget = kBurst;
  // A command may delete queues, but not while one of them is looked at: that waits for finish_deletions().
  std::vector<std::uint16_t> ids;
  for (const auto& [id, unused] : submission_queues_) ids.push_back(id);
  for (const std::uint16_t id : ids)
    if (const auto queue = submission_queues_.find(id); queue != submission_queues_.end())
      run_queue(queue->second, budget);
  if (has_work()) kick();
}

void Nvme::run_queue(nvme::SubmissionQueue& queue, unsigned& budget) {
  const std::uint16_t id = queue.id;
  read_shadow_tail(queue);
  for (;;) {
    while (!queue.ring.empty() && may_begin(queue) && budget > 0) {
      --budget;
      const auto memory = dma();
      if (!memory) return fatal("no command can be fetched", memory.error());
      const auto command = queue.fetch(*memory);
      if (!command) return fatal("no command can be fetched", command.error());
      ++queue.outstanding;
      begin(id, *command);
    }
    if (!queue.ring.empty() || id == 0 || !has_shadow()) return;
    ask_for_doorbell(2U * id, queue.ring.tail);
    read_shadow_tail(queue);
    if (queue.ring.empty()) return;
  }
}

/// What was under way when the machine was saved; guest memory is there by now.
void Nvme::begin_loaded() {
  for (const nvme::RequestState& saved : std::exchange(loaded_, {}))
    begin(saved.queue, std::bit_cast<Command>(saved.command));
}

void Nvme::begin(std::uint16_t queue, const Command& command) {
  const std::uint64_t ticket = next_ticket_++;
  Request& request = requests_[ticket];
  request.ticket = ticket;
  request.queue = queue;
  request.command = command;
  Outcome outcome = Status::kInvalidField;
  if (command.fused() == 0) outcome = queue == 0 ? execute_admin(request) : execute_io(request);
  if (outcome) return finish(request, *outcome);
  // Without a next step the completion comes from elsewhere: an event.
  if (request.then == nullptr) requests_.erase(ticket);
}

// ---- To the guest

void Nvme::finish(Request& request, Status status) {
  const std::uint16_t queue = request.queue;
  const Command command = request.command;
  const std::uint32_t result = request.result;
  bytes_under_way_ -= request.buffer_size;
  requests_.erase(request.ticket);
  if (status != Status::kSuccess)
    controller_log_.note_error({.queue = queue,
                                .command_id = command.id,
                                .status = nvme::status_field(status),
                                .block = std::uint64_t{command.dword11} << 32U | command.dword10,
                                .namespace_id = command.namespace_id});
  complete(queue, command.id, status, result);
  finish_deletions();
}

void Nvme::complete(std::uint16_t queue, std::uint16_t command_id, Status status, std::uint32_t result) {
  const auto from = submission_queues_.find(queue);
  if (from == submission_queues_.end()) return;
  const auto to = completion_queues_.find(from->second.completion_queue);
  if (to == completion_queues_.end()) return;
  to->second.waiting.push_back({.submission_queue = queue,
                                .command_id = command_id,
                                .result = result,
                                .status = static_cast<std::uint16_t>(status)});
  post(to->second);
}

void Nvme::post(nvme::CompletionQueue& queue) {
  bool posted = false;
  while (!queue.waiting.empty()) {
    if (queue.ring.full()) read_shadow_head(queue);
    if (queue.ring.full()) break;
    const nvme::WaitingCompletion what = queue.waiting.front();
    const auto from = submission_queues_.find(what.submission_queue);
    const std::uint32_t head = from == submission_queues_.end() ? 0 : from->second.ring.head;
    const auto memory = dma();
    if (!memory) return fatal("no completion can be posted", memory.error());
    if (const auto done = queue.post(*memory, what, head); !done)
      return fatal("no completion can be posted", done.error());
    queue.waiting.pop_front();
    if (from != submission_queues_.end() && from->second.outstanding > 0) --from->second.outstanding;
    posted = true;
  }
  if (posted && queue.interrupts) interrupt(queue);
}

void Nvme::report_events() {
  if (!ready()) return;
  while (const auto report = events_.next()) complete(0, report->command_id, Status::kSuccess, report->result);
}

void Nvme::interrupt(const nvme::CompletionQueue& queue) {
  if (signal_vector(queue.vector)) return;
  // The pin falls when the queue is empty, so the guest has to tell of each entry that it takes.
  if (queue.id != 0) ask_for_doorbell(2U * queue.id + 1, queue.ring.head);
  update_intx();
}

void Nvme::update_intx() {
  if (msix()->enabled()) return;
  set_intx(std::ranges::any_of(completion_queues_, [this](const auto& entry) {
    const nvme::CompletionQueue& queue = entry.second;
    return queue.interrupts && !queue.ring.empty() && (queue.vector >= 32 || !test_bit(masked_, queue.vector));
  }));
}

}  // namespace doppel::hw
