// Admin commands: NVM Express base specification 1.4, chapter 5.
#include <algorithm>
#include <cstring>

#include "hw/nvme/nvme.h"

namespace doppel::hw {

using nvme::AdminOpcode;

namespace {

constexpr std::string_view kModel = "QEMU NVMe Ctrl";
constexpr std::uint16_t kControllerId = 0;

/// What IDENTIFY is to tell of: CNS.
enum class Identify : std::uint8_t {
  kNamespace = 0x00,
  kController = 0x01,
  kActiveNamespaces = 0x02,
  kNamespaceNames = 0x03,
  kAllocatedNamespaces = 0x10,
  kAllocatedNamespace = 0x11,
  kControllersOfNamespace = 0x12,
  kControllers = 0x13,
};

void put_text(std::byte* at, std::size_t size, std::string_view text) {
  std::memset(at, ' ', size);
  std::memcpy(at, text.data(), std::min(size, text.size()));
}

std::uint32_t lower_half(std::uint32_t dword) {
  return bits(dword, 15, 0);
}
std::uint32_t upper_half(std::uint32_t dword) {
  return bits(dword, 31, 16);
}

}  // namespace

struct Nvme::AdminCommand {
  AdminOpcode opcode;
  Outcome (Nvme::*run)(Request&);
};

std::span<const Nvme::AdminCommand> Nvme::admin_commands() {
  static constexpr AdminCommand kCommands[] = {
      {AdminOpcode::kDeleteSubmissionQueue, &Nvme::delete_submission_queue},
      {AdminOpcode::kCreateSubmissionQueue, &Nvme::create_submission_queue},
      {AdminOpcode::kGetLogPage, &Nvme::get_log_page},
      {AdminOpcode::kDeleteCompletionQueue, &Nvme::delete_completion_queue},
      {AdminOpcode::kCreateCompletionQueue, &Nvme::create_completion_queue},
      {AdminOpcode::kIdentify, &Nvme::identify},
      {AdminOpcode::kAbort, &Nvme::abort},
      {AdminOpcode::kSetFeatures, &Nvme::set_features},
      {AdminOpcode::kGetFeatures, &Nvme::get_features},
      {AdminOpcode::kAsyncEventRequest, &Nvme::async_event_request},
      {AdminOpcode::kDoorbellBuffers, &Nvme::doorbell_buffers},
  };
  return kCommands;
}

Nvme::Outcome Nvme::execute_admin(Request& request) {
  const auto rows = admin_commands();
  const auto row = std::ranges::find(rows, static_cast<AdminOpcode>(request.command.opcode), &AdminCommand::opcode);
  if (row == rows.end()) return Status::kInvalidOpcode;
  return (this->*row->run)(request);
}

// ---- Queues: sections 5.3 to 5.6

Nvme::Outcome Nvme::create_completion_queue(Request& request) {
  constexpr unsigned kContiguous = 0;
  constexpr unsigned kInterrupts = 1;
  const Command& command = request.command;
  const std::uint32_t id = lower_half(command.dword10);
  const std::uint32_t entries = upper_half(command.dword10) + 1;
  const std::uint32_t vector = upper_half(command.dword11);
  if (!is_queue_id(id) || completion_queues_.contains(static_cast<std::uint16_t>(id))) return Status::kInvalidQueueId;
  if (entries < 2 || entries > nvme::kMostEntries) return Status::kInvalidQueueSize;
  if (vector >= config_.msix_qsize) return Status::kInvalidVector;
  if (!test_bit<std::uint32_t>(command.dword11, kContiguous) ||
      configuration_.completion_entry_shift() != nvme::kCompletionShift)
    return Status::kInvalidField;
  if ((command.data1 & low_mask(configuration_.page_shift())) != 0) return Status::kInvalidPrpOffset;
  completion_queues_[static_cast<std::uint16_t>(id)] = {
      .id = static_cast<std::uint16_t>(id),
      .vector = static_cast<std::uint16_t>(vector),
      .interrupts = test_bit<std::uint32_t>(command.dword11, kInterrupts),
      .ring = {.base = command.data1, .entries = entries}};
  return Status::kSuccess;
}

Nvme::Outcome Nvme::create_submission_queue(Request& request) {
  constexpr unsigned kContiguous = 0;
  const Command& command = request.command;
  const std::uint32_t id = lower_half(command.dword10);
  const std::uint32_t entries = upper_half(command.dword10) + 1;
  const std::uint32_t to = upper_half(command.dword11);
  if (to == 0 || !completion_queues_.contains(static_cast<std::uint16_t>(to))) return Status::kInvalidCompletionQueue;
  if (!is_queue_id(id) || submission_queues_.contains(static_cast<std::uint16_t>(id))) return Status::kInvalidQueueId;
  if (entries < 2 || entries > nvme::kMostEntries) return Status::kInvalidQueueSize;
  if (!test_bit<std::uint32_t>(command.dword11, kContiguous) ||
      configuration_.submission_entry_shift() != nvme::kCommandShift)
    return Status::kInvalidField;
  if ((command.data1 & low_mask(configuration_.page_shift())) != 0) return Status::kInvalidPrpOffset;
  submission_queues_[static_cast<std::uint16_t>(id)] = {.id = static_cast<std::uint16_t>(id),
                                                        .completion_queue = static_cast<std::uint16_t>(to),
                                                        .ring = {.base = command.data1, .entries = entries}};
  return Status::kSuccess;
}

/// The queue takes no more commands; it goes when those under way have ended. next is its number.
Nvme::Outcome Nvme::delete_submission_queue(Request& request) {
  const std::uint32_t id = lower_half(request.command.dword10);
  const auto queue = submission_queues_.find(static_cast<std::uint16_t>(id));
  if (!is_queue_id(id) || queue == submission_queues_.end() || queue->second.deleting) return Status::kInvalidQueueId;
  request.next = id;
  const auto belongs = [&](const auto& entry) { return entry.second.queue == id; };
  if (std::ranges::none_of(requests_, belongs)) return deletion_done(request, {});
  queue->second.deleting = true;
  request.then = &Nvme::deletion_done;
  ++deletions_;
  return std::nullopt;
}

Nvme::Outcome Nvme::deletion_done(Request& request, const Result<>& /*result*/) {
  const auto id = static_cast<std::uint16_t>(request.next);
  const auto queue = submission_queues_.find(id);
  if (queue == submission_queues_.end()) return Status::kInvalidQueueId;
  const auto completions = completion_queues_.find(queue->second.completion_queue);
  if (completions != completion_queues_.end())
    std::erase_if(completions->second.waiting, [id](const auto& what) { return what.submission_queue == id; });
  submission_queues_.erase(queue);
  return Status::kSuccess;
}

void Nvme::finish_deletions() {
  if (deletions_ == 0) return;
  for (auto& [unused, request] : requests_) {
    if (request.then != &Nvme::deletion_done) continue;
    const auto belongs = [&](const auto& entry) { return entry.second.queue == request.next; };
    if (std::ranges::any_of(requests_, belongs)) continue;
    --deletions_;
    return finish(request, *deletion_done(request, {}));  // and the others from there
  }
}

Nvme::Outcome Nvme::delete_completion_queue(Request& request) {
  const std::uint32_t id = lower_half(request.command.dword10);
  const auto queue = completion_queues_.find(static_cast<std::uint16_t>(id));
  if (!is_queue_id(id) || queue == completion_queues_.end()) return Status::kInvalidQueueId;
  const auto uses = [id](const auto& entry) { return entry.second.completion_queue == id; };
  if (std::ranges::any_of(submission_queues_, uses)) return Status::kInvalidQueueDeletion;
  completion_queues_.erase(queue);
  update_intx();
  return Status::kSuccess;
}

// ---- IDENTIFY: section 5.15

Nvme::Outcome Nvme::identify(Request& request) {
  const std::uint32_t id = request.command.namespace_id;
  const nvme::Namespace* space = find_namespace(id);
  const auto what = static_cast<Identify>(bits<std::uint32_t>(request.command.dword10, 7, 0));
  constexpr nvme::IdentifyPage kNothing{};
  switch (what) {
    case Identify::kController: return reply(request, describe());
    case Identify::kNamespace:
    case Identify::kAllocatedNamespace:
      if (id == 0 || (id > nvme::Namespace::kMostNamespaces && id != nvme::kAllNamespaces))
        return Status::kInvalidNamespace;
      return reply(request, space != nullptr ? space->describe() : kNothing);
    case Identify::kActiveNamespaces:
    case Identify::kAllocatedNamespaces:
      if (id >= nvme::kAllNamespaces - 1) return Status::kInvalidNamespace;
      return reply(request, namespace_list(id));
    case Identify::kNamespaceNames:
      if (space == nullptr) return Status::kInvalidNamespace;
      return reply(request, space->describe_names());
    case Identify::kControllersOfNamespace:
    case Identify::kControllers: {
      if (what == Identify::kControllersOfNamespace && space == nullptr) return Status::kInvalidNamespace;
      nvme::IdentifyPage list{};
      const bool listed = upper_half(request.command.dword10) <= kControllerId;
      if (listed) list[0] = std::byte{1};  // one entry, number 0
      return reply(request, list);
    }
  }
  return Status::kInvalidField;
}

nvme::IdentifyPage Nvme::namespace_list(std::uint32_t after) const {
  nvme::IdentifyPage list{};
  std::byte* at = list.data();
  for (auto space = namespaces_.upper_bound(after); space != namespaces_.end(); ++space, at += sizeof(std::uint32_t))
    store_le(at, space->first);
  return list;
}

nvme::IdentifyPage Nvme::describe() const {
  constexpr std::uint16_t kDoorbellBuffers = 0x0100;  // OACS
  // ONCS: COMPARE, DATASET MANAGEMENT, WRITE ZEROES, VERIFY.
  constexpr std::uint16_t kOptionalCommands = 0x0001 | 0x0004 | 0x0008 | 0x0080;
  constexpr std::uint32_t kSgls = 0x0005'0001;  // there are some, bit buckets, and they may be longer than the data
  nvme::IdentifyPage page{};
  const auto at = [&](std::size_t offset) { return page.data() + offset; };
  store_le<std::uint16_t>(at(0), 0x1b36);
  store_le<std::uint16_t>(at(2), 0x1af4);
  put_text(at(4), 20, config_.serial);
  put_text(at(24), 40, kModel);
  put_text(at(64), 8, nvme::kFirmwareRevision);
  page[72] = std::byte{6};                                                                // RAB
  std::ranges::copy(std::array{std::byte{0}, std::byte{0x54}, std::byte{0x52}}, at(73));  // IEEE OUI 52-54-00
  page[77] = std::byte{config_.mdts};
  store_le(at(78), kControllerId);
  store_le(at(80), nvme::kVersion14);
  page[111] = std::byte{1};  // an I/O controller
  store_le<std::uint16_t>(at(256), config_.dbcs ? kDoorbellBuffers : 0);
  page[258] = std::byte{3};  // ABORTs at a time, less one
  page[259] = std::byte{config_.aerl};
  page[260] = std::byte{0x03};  // FRMW: one slot, read-only
  page[261] = std::byte{0x06};  // LPA: the page of commands' effects, long pages by offset
  page[262] = std::byte{nvme::ControllerLog::kErrorEntries - 1};
  store_le<std::uint16_t>(at(266), 343);  // WCTEMP, Kelvin
  store_le<std::uint16_t>(at(268), 373);  // CCTEMP
  page[512] = std::byte{nvme::kCommandShift << 4U | nvme::kCommandShift};
  page[513] = std::byte{nvme::kCompletionShift << 4U | nvme::kCompletionShift};
  store_le<std::uint32_t>(at(516), namespaces_.empty() ? 1 : namespaces_.rbegin()->first);
  store_le(at(520), kOptionalCommands);
  page[525] = std::byte{features_.has_write_cache() ? std::uint8_t{0x07} : std::uint8_t{0x06}};  // FLUSH takes "all"
  store_le(at(536), kSgls);
  const std::string subsystem = "nqn.2019-08.org.qemu:" + config_.serial;
  std::memcpy(at(768), subsystem.data(), std::min<std::size_t>(subsystem.size(), 223));
  store_le<std::uint16_t>(at(2048), 2500);  // power state 0: 25 W
  store_le<std::uint32_t>(at(2052), 16);    // microseconds to enter and to leave it
  store_le<std::uint32_t>(at(2056), 4);
  return page;
}

// ---- Log pages, features, events

Nvme::Outcome Nvme::get_log_page(Request& request) {
  constexpr unsigned kRetainEvent = 15;
  const Command& command = request.command;
  const std::uint32_t dword10 = command.dword10;
  const auto id = static_cast<std::uint8_t>(dword10);
  const std::uint64_t length = 4 * ((upper_half(dword10) | std::uint64_t{lower_half(command.dword11)} << 16U) + 1);
  const std::uint64_t offset = command.dword12 | std::uint64_t{command.dword13} << 32U;
  const auto page = controller_log_.page(static_cast<nvme::LogPageId>(id));
  if (!page) return page.error();
  if (offset % 4 != 0 || offset > page->size()) return Status::kInvalidField;
  if (!test_bit(dword10, kRetainEvent)) {
    events_.log_page_read(id);
    report_events();
  }
  const std::span rest = std::span(*page).subspan(static_cast<std::size_t>(offset));
  return reply(request, rest.first(std::min<std::uint64_t>(length, rest.size())));
}

Nvme::Outcome Nvme::get_features(Request& request) {
  const auto value = features_.get(request.command);
  if (!value) return value.error();
  request.result = *value;
  return Status::kSuccess;
}

Nvme::Outcome Nvme::set_features(Request& request) {
  const auto value = features_.set(request.command);
  if (!value) return value.error();
  request.result = *value;
  return Status::kSuccess;
}

/// A command is never so long under way that it would be worth it: bit 0 says that it was not aborted.
Nvme::Outcome Nvme::abort(Request& request) {
  if (!submission_queues_.contains(static_cast<std::uint16_t>(lower_half(request.command.dword10))))
    return Status::kInvalidField;
  request.result = 1;
  return Status::kSuccess;
}

Nvme::Outcome Nvme::async_event_request(Request& request) {
  if (!events_.can_take_request()) return Status::kTooManyEventRequests;
  events_.add_request(request.command.id);
  report_events();
  return std::nullopt;
}

/// DOORBELL BUFFER CONFIG: section 5.7. Where doorbells are, and where the controller says when to ring the real ones.
Nvme::Outcome Nvme::doorbell_buffers(Request& request) {
  if (!config_.dbcs) return Status::kInvalidOpcode;
  const std::uint64_t page_mask = low_mask(configuration_.page_shift());
  const Command& command = request.command;
  if (((command.data1 | command.data2) & page_mask) != 0 || command.data1 == 0 || command.data2 == 0)
    return Status::kInvalidField;
  shadow_doorbells_ = command.data1;
  shadow_events_ = command.data2;
  return Status::kSuccess;
}

}  // namespace doppel::hw
