#include <algorithm>
#include <bit>

#include "hw/nvme/nvme.h"

namespace doppel::hw {

namespace {

constexpr std::uint32_t kStatusBits = nvme::status::kReady | nvme::status::kFatal | nvme::status::kShutdown;

}  // namespace

nvme::NvmeState Nvme::live_state() const {
  nvme::NvmeState state{.configuration = configuration_.value,
                        .status = status_,
                        .admin_sizes = admin_sizes_,
                        .admin_submission = admin_submission_,
                        .admin_completion = admin_completion_,
                        .masked = masked_,
                        .shadow_doorbells = shadow_doorbells_,
                        .shadow_events = shadow_events_,
                        .requests = loaded_,
                        .features = features_.save(),
                        .events = events_.save(),
                        .log = controller_log_.save()};
  for (const auto& [id, queue] : submission_queues_)
    state.submission_queues.push_back({.id = id, .completion_queue = queue.completion_queue, .ring = queue.ring});
  for (const auto& [id, queue] : completion_queues_)
    state.completion_queues.push_back({.id = id,
                                       .vector = queue.vector,
                                       .interrupts = queue.interrupts,
                                       .phase = queue.phase,
                                       .ring = queue.ring,
                                       .waiting = {queue.waiting.begin(), queue.waiting.end()}});
  for (const auto& [unused, request] : requests_)
    state.requests.push_back(
        {.queue = request.queue, .command = std::bit_cast<std::array<std::uint8_t, sizeof(Command)>>(request.command)});
  return state;
}

void Nvme::save(state::Writer& writer) {
  PciFunction::save(writer);
  nvme::NvmeState saved;
  {
    const DeviceGuard guard(*this);
    saved = live_state();
  }
  state::save(writer, std::move(saved));
}

/// Whatever it says: no number may lead out of a table or make more work than a guest could.
bool Nvme::is_sound(const nvme::NvmeState& saved) const {
  const auto has_submission = [&](std::uint16_t id) {
    return std::ranges::find(saved.submission_queues, id, &nvme::SubmissionQueueState::id) !=
           saved.submission_queues.end();
  };
  const auto has_completion = [&](std::uint16_t id) {
    return std::ranges::find(saved.completion_queues, id, &nvme::CompletionQueueState::id) !=
           saved.completion_queues.end();
  };
  const nvme::Configuration configuration{saved.configuration};
  const bool ready = (saved.status & nvme::status::kReady) != 0;
  bool good = (saved.configuration & ~nvme::Configuration::kWritable) == 0 && (saved.status & ~kStatusBits) == 0 &&
              (!ready || configuration.page_shift() <= nvme::kLargestPageShift) &&
              saved.requests.size() <= kMostRequests;
  if (ready && configuration.enabled()) good = good && has_submission(0) && has_completion(0);
  for (const auto& queue : saved.submission_queues)
    good = good && queue.id <= config_.max_ioqpairs && queue.ring.is_sound() && has_completion(queue.completion_queue);
  for (const auto& queue : saved.completion_queues)
    good = good && queue.id <= config_.max_ioqpairs && queue.ring.is_sound() && queue.vector < config_.msix_qsize &&
           queue.waiting.size() <= kMostRequests;
  for (const auto& request : saved.requests) good = good && has_submission(request.queue);
  return good;
}

void Nvme::load_queues(const nvme::NvmeState& saved) {
  for (const auto& queue : saved.submission_queues)
    submission_queues_[queue.id] = {.id = queue.id, .completion_queue = queue.completion_queue, .ring = queue.ring};
  for (const auto& queue : saved.completion_queues)
    completion_queues_[queue.id] = {.id = queue.id,
                                    .vector = queue.vector,
                                    .interrupts = queue.interrupts,
                                    .phase = queue.phase,
                                    .ring = queue.ring,
                                    .waiting = {queue.waiting.begin(), queue.waiting.end()}};
  const auto count = [this](std::uint16_t id, std::size_t number = 1) {
    const auto queue = submission_queues_.find(id);
    if (queue != submission_queues_.end()) queue->second.outstanding += static_cast<std::uint32_t>(number);
  };
  for (const auto& queue : saved.completion_queues)
    for (const auto& what : queue.waiting) count(what.submission_queue);
  for (const auto& request : saved.requests) count(request.queue);
  count(0, saved.events.requests.size());
}

Result<> Nvme::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(nvme::NvmeState saved, state::load<nvme::NvmeState>(reader));
  const DiskQueue::Guard guard(disks_);
  if (!is_sound(saved)) return fail(ErrorKind::kCorrupt, "the saved state of an NVMe controller is damaged");
  drop_everything();
  if (!features_.load(saved.features) || !events_.load(saved.events) || !controller_log_.load(saved.log))
    return fail(ErrorKind::kCorrupt, "the saved state of an NVMe controller's features, events or logs is damaged");
  configuration_ = {saved.configuration};
  status_ = saved.status;
  admin_sizes_ = saved.admin_sizes;
  admin_submission_ = saved.admin_submission;
  admin_completion_ = saved.admin_completion;
  masked_ = saved.masked;
  shadow_doorbells_ = saved.shadow_doorbells;
  shadow_events_ = saved.shadow_events;
  flushing_ = false;
  load_queues(saved);
  loaded_ = std::move(saved.requests);
  update_intx();
  kick();
  return {};
}

}  // namespace doppel::hw
