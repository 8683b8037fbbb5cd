#include "hw/virtio/virtio_scsi.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/endian.h"

namespace doppel::hw {

namespace {

constexpr std::uint16_t kTransitionalId = 0x1004;
constexpr std::uint32_t kClass = 0x010000;  // storage, SCSI
constexpr std::uint32_t kDefaultSenseSize = 96;
constexpr std::uint32_t kDefaultCdbSize = 32;
constexpr std::uint32_t kMostSenseSize = 252;
constexpr std::uint32_t kMostCdbSize = 255;

/// The configuration structure, section 5.6.4.
struct ConfigLayout {
  Le32 num_queues;
  Le32 seg_max;
  Le32 max_sectors;
  Le32 cmd_per_lun;
  Le32 event_info_size;
  Le32 sense_size;
  Le32 cdb_size;
  Le16 max_channel;
  Le16 max_target;
  Le32 max_lun;
};
static_assert(sizeof(ConfigLayout) == 36);
constexpr std::uint64_t kSenseSizeOffset = 20;
constexpr std::uint64_t kCdbSizeOffset = 24;

// Section 5.6.6: what begins a command and what answers it; the command block and the sense data follow.
struct CommandHeader {
  std::array<std::uint8_t, 8> lun{};
  Le64 tag;
  std::uint8_t attribute = 0;
  std::uint8_t priority = 0;
  std::uint8_t crn = 0;
};
static_assert(sizeof(CommandHeader) == 19);

struct ResponseHeader {
  Le32 sense_length;
  Le32 residual;
  Le16 status_qualifier;
  std::uint8_t status = 0;
  std::uint8_t response = 0;
};
static_assert(sizeof(ResponseHeader) == 12);

struct ManagementRequest {
  Le32 type;
  Le32 subtype;
  std::array<std::uint8_t, 8> lun{};
  Le64 tag;
};
static_assert(sizeof(ManagementRequest) == 24);

struct NotificationRequest {
  Le32 type;
  std::array<std::uint8_t, 8> lun{};
  Le32 events;
};
static_assert(sizeof(NotificationRequest) == 16);

constexpr std::uint32_t kTaskManagement = 0;
constexpr std::uint32_t kQueryNotification = 1;
constexpr std::uint32_t kSubscribeNotification = 2;

enum class Function : std::uint32_t {
  kAbortTask = 0,
  kAbortTaskSet = 1,
  kClearAca = 2,
  kClearTaskSet = 3,
  kNexusReset = 4,
  kUnitReset = 5,
  kQueryTask = 6,
  kQueryTaskSet = 7,
};

namespace response {
constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kOverrun = 1;
constexpr std::uint8_t kAborted = 2;
constexpr std::uint8_t kBadTarget = 3;
constexpr std::uint8_t kFunctionSucceeded = 10;
constexpr std::uint8_t kFunctionRejected = 11;
constexpr std::uint8_t kIncorrectLun = 12;
}  // namespace response

/// Section 5.6.6.1: a one, the target, and a LUN of one level; or the well known unit for REPORT LUNS, of target 0.
std::optional<ScsiAddress> parse_lun(const std::array<std::uint8_t, 8>& lun) {
  if (lun[0] != 1) return std::nullopt;
  return ScsiAddress{lun[1], static_cast<std::uint16_t>((lun[2] & 0x3fU) << 8U | lun[3])};
}

}  // namespace

const PropertyTable<VirtioScsiConfig> kVirtioScsiProperties = [] {
  using Config = VirtioScsiConfig;
  std::vector<PropertyTable<Config>::Row> rows = {
      {"num_queues", &Config::num_queues, "request queues; default: one for each CPU"},
      {"virtqueue_size", &Config::queue_size, "descriptors of each queue, a power of two"},
      {"max_sectors", &Config::max_sectors, "most sectors of one command that the guest is advised to send"},
      {"iothread", &Config::iothread, "id of the -object iothread that works on it; empty: the main thread"},
      {"cmd_per_lun", &Config::cmd_per_lun, "most commands for one unit that the guest is advised to send"},
  };
  std::ranges::copy(virtio_pci_rows<Config>(), std::back_inserter(rows));
  return PropertyTable<Config>(std::move(rows));
}();

Result<> check_config(const VirtioScsiConfig& config) {
  DOPPEL_TRY(VirtioPci::check(config));
  constexpr unsigned kMost = VirtioPci::kMostQueues - VirtioScsi::kFixedQueues;
  if (config.num_queues == 0 || (config.num_queues != VirtioScsiConfig::kAutoQueues && config.num_queues > kMost))
    return fail(ErrorKind::kOutOfRange, "num_queues={}: an adapter has 1 to {} request queues", config.num_queues,
                kMost);
  if (config.queue_size < 4 || config.queue_size > Virtqueue::kMostSlots || !std::has_single_bit(config.queue_size))
    return fail(ErrorKind::kOutOfRange, "virtqueue_size={}: write a power of two from 4 to {}", config.queue_size,
                Virtqueue::kMostSlots);
  if (config.max_sectors == 0 || config.cmd_per_lun == 0)
    return fail(ErrorKind::kOutOfRange, "max_sectors and cmd_per_lun are 1 or more");
  return {};
}

Result<std::unique_ptr<VirtioPci>> create_virtio_scsi(const PciServices& services, const VirtioPciParts& parts,
                                                      ScsiBus& bus, VirtioScsiConfig config, std::size_t cpus) {
  DOPPEL_TRY(check_config(config));
  if (config.num_queues == VirtioScsiConfig::kAutoQueues)
    config.num_queues =
        static_cast<std::uint16_t>(std::clamp<std::size_t>(cpus, 1, VirtioPci::kMostQueues - VirtioScsi::kFixedQueues));
  const auto queues = static_cast<std::uint16_t>(config.num_queues + VirtioScsi::kFixedQueues);
  const VirtioOptions options{.packed = config.packed,
                              .event_index = config.event_idx,
                              .indirect = config.indirect_desc,
                              .queues = queues,
                              .queue_size = config.queue_size};
  const VirtioPciType type{
      .name = "virtio-scsi-pci", .device = virtio::kTypeScsi, .transitional_id = kTransitionalId, .class_code = kClass};
  return VirtioPci::create(services, parts, type, config, queues + 1U,
                           [&](VirtioHost& host) { return std::make_unique<VirtioScsi>(host, options, bus, config); });
}

/// A function of the control queue that waits for tasks to end.
struct VirtioScsi::Management final : VirtioRequest {
  ManagementRequest wanted;
  unsigned waits_for = 0;
};

/// A command under way.
class VirtioScsi::Task final : public VirtioRequest, public ScsiTask, public std::enable_shared_from_this<Task> {
 public:
  explicit Task(VirtioScsi& adapter) : adapter_(adapter) {}

  [[nodiscard]] const std::array<std::uint8_t, 16>& cdb() const override { return block; }
  [[nodiscard]] std::uint64_t in_size() const override { return in; }
  [[nodiscard]] std::uint64_t out_size() const override { return out; }
  Result<> put(std::uint64_t offset, std::span<const std::byte> data) override {
    DOPPEL_ASSIGN(const auto guest, adapter_.memory());
    return write_segments(guest, chain.writable, response_size + offset, data);
  }
  Result<> get(std::uint64_t offset, std::span<std::byte> data) override {
    DOPPEL_ASSIGN(const auto guest, adapter_.memory());
    return read_segments(guest, chain.readable, request_size + offset, data);
  }
  std::optional<block::Buffers> lend(std::uint64_t offset, std::size_t length, bool fills) override {
    lent_to_fill_ = fills;
    lent_ = fills
                ? adapter_.lend_memory(chain.writable, response_size + offset, length, memory::DmaSpace::Access::kWrite)
                : adapter_.lend_memory(chain.readable, request_size + offset, length, memory::DmaSpace::Access::kRead);
    if (!lent_) return std::nullopt;
    return lent_->pieces();
  }
  /// What lend() gave, if it gave anything: the disk is done with it.
  void take_back() {
    if (lent_ && lent_to_fill_) lent_->mark_dirty();
    lent_.reset();
  }
  void begin(Begin begin, Handler handler) override {
    adapter_.begin_later(
        [begin = std::move(begin),
         done = adapter_.under_lock([task = shared_from_this(), handler = std::move(handler)](const Result<>& result) {
           task->adapter_.step_done(task, handler, result);
         })] { begin(done); });
  }
  Result<> finish(scsi::Status status, const scsi::Sense& sense, std::uint64_t moved) override {
    return adapter_.respond(shared_from_this(), response::kOk, status, sense, moved);
  }
  Result<> overrun() override {
    return adapter_.respond(shared_from_this(), response::kOverrun, scsi::Status::kGood, scsi::kNoSense, 0);
  }

  std::array<std::uint8_t, 16> block{};
  std::array<std::uint8_t, 8> lun{};
  std::uint64_t tag = 0;
  std::uint64_t in = 0;
  std::uint64_t out = 0;
  std::uint64_t request_size = 0;   // header and command block
  std::uint64_t response_size = 0;  // header and sense data
  std::size_t reserved = 0;         // its share of data_
  bool aborted = false;
  std::vector<ManagementPtr> waiting;  // for its end

 private:
  VirtioScsi& adapter_;
  std::optional<memory::DmaMappings> lent_;
  bool lent_to_fill_ = false;
};

VirtioScsi::VirtioScsi(VirtioHost& host, const VirtioOptions& options, ScsiBus& bus, const VirtioScsiConfig& config)
    : VirtioDevice(host, options),
      bus_(bus),
      settings_(config),
      sense_size_(kDefaultSenseSize),
      cdb_size_(kDefaultCdbSize) {}

// ---- What the driver is told

std::size_t VirtioScsi::config_size() const {
  return sizeof(ConfigLayout);
}

std::vector<std::byte> VirtioScsi::config() const {
  ConfigLayout layout;
  layout.num_queues = settings_.num_queues;
  layout.seg_max = options().queue_size - 2U;
  layout.max_sectors = settings_.max_sectors;
  layout.cmd_per_lun = settings_.cmd_per_lun;
  layout.event_info_size = std::uint32_t{16};
  layout.sense_size = sense_size_;
  layout.cdb_size = cdb_size_;
  layout.max_channel = std::uint16_t{0};
  layout.max_target = static_cast<std::uint16_t>(ScsiBus::kTargets - 1);
  layout.max_lun = static_cast<std::uint32_t>(ScsiBus::kLuns - 1);
  const auto bytes = std::as_bytes(std::span(&layout, 1));
  return {bytes.begin(), bytes.end()};
}

/// Two sizes are the driver's to choose, as long as they make sense.
void VirtioScsi::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (size != sizeof(std::uint32_t)) return;
  const auto chosen = static_cast<std::uint32_t>(value);
  if (offset == kSenseSizeOffset && chosen <= kMostSenseSize) sense_size_ = chosen;
  if (offset == kCdbSizeOffset && chosen != 0 && chosen <= kMostCdbSize) cdb_size_ = chosen;
}

void VirtioScsi::reset_own() {
  sense_size_ = kDefaultSenseSize;
  cdb_size_ = kDefaultCdbSize;
  tasks_.clear();
  for (const auto& [address, unit] : bus_.units()) unit->set_was_reset(false);
}

// ---- Commands

/// The event queue's chains stay with the driver: there is no event that could happen.
bool VirtioScsi::has_room(unsigned queue) const {
  return queue != kEventQueue && data_ < kMostData;
}

Result<> VirtioScsi::take(unsigned queue, Chain chain) {
  return queue == kControlQueue ? take_control(std::move(chain)) : take_command(queue, std::move(chain));
}

Result<> VirtioScsi::take_command(unsigned queue, Chain chain) {
  auto task = std::make_shared<Task>(*this);
  const std::uint64_t readable = total_size(chain.readable);
  const std::uint64_t writable = total_size(chain.writable);
  task->request_size = sizeof(CommandHeader) + cdb_size_;
  task->response_size = sizeof(ResponseHeader) + sense_size_;
  if (readable < task->request_size || writable < task->response_size)
    return fail(ErrorKind::kInvalidArgument, "a command of {} and {} bytes has no room for request and response",
                readable, writable);
  CommandHeader header;
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(read_segments(guest, chain.readable, 0, std::as_writable_bytes(std::span(&header, 1))));
  const std::size_t block_size = std::min<std::size_t>(cdb_size_, task->block.size());
  DOPPEL_TRY(read_segments(guest, chain.readable, sizeof header,
                           std::as_writable_bytes(std::span(task->block)).first(block_size)));
  task->lun = header.lun;
  task->tag = header.tag;
  task->in = writable - task->response_size;
  task->out = readable - task->request_size;
  task->reserved = static_cast<std::size_t>(std::min<std::uint64_t>(task->in + task->out, ScsiDisk::kLargestPiece));
  data_ += task->reserved;
  begin(task, queue, std::move(chain));
  tasks_.push_back(task);
  const auto address = parse_lun(header.lun);
  auto executed = address && bus_.has_target(address->target)
                      ? bus_.execute(*address, task)
                      : respond(task, response::kBadTarget, scsi::Status::kGood, scsi::kNoSense, 0);
  if (!executed) give_up(task);
  return executed;
}

void VirtioScsi::step_done(const TaskPtr& task, const ScsiTask::Handler& handler, const Result<>& result) {
  task->take_back();
  if (is_stale(*task)) return give_up(task);
  const auto gone_on =
      task->aborted ? respond(task, response::kAborted, scsi::Status::kGood, scsi::kNoSense, 0) : handler(result);
  if (gone_on) return;
  driver_failed(gone_on.error());
  give_up(task);
}

Result<> VirtioScsi::respond(const TaskPtr& task, std::uint8_t response, scsi::Status status, const scsi::Sense& sense,
                             std::uint64_t moved) {
  ResponseHeader header;
  header.response = response;
  header.status = static_cast<std::uint8_t>(status);
  const std::uint64_t size = std::max(task->in, task->out);
  header.residual = static_cast<std::uint32_t>(std::min<std::uint64_t>(size - std::min(size, moved), 0xffffffff));
  DOPPEL_ASSIGN(const auto guest, memory());
  if (status == scsi::Status::kCheckCondition) {
    const auto bytes = scsi::fixed_format(sense);
    const std::size_t length = std::min<std::size_t>(bytes.size(), task->response_size - sizeof header);
    header.sense_length = static_cast<std::uint32_t>(length);
    DOPPEL_TRY(
        write_segments(guest, task->chain.writable, sizeof header, std::as_bytes(std::span(bytes)).first(length)));
  }
  DOPPEL_TRY(write_segments(guest, task->chain.writable, 0, std::as_bytes(std::span(&header, 1))));
  complete(task, task->response_size + (task->in != 0 ? std::min(moved, task->in) : 0));
  task_ended(*task);
  return {};
}

void VirtioScsi::task_ended(Task& task) {
  data_ -= std::exchange(task.reserved, 0);
  std::erase_if(tasks_, [&task](const TaskPtr& other) { return other.get() == &task; });
  for (const ManagementPtr& management : std::exchange(task.waiting, {})) {
    if (--management->waits_for != 0) continue;
    const auto ended = is_stale(*management) ? fail(ErrorKind::kBusy, "there was a reset") : end_management(management);
    if (ended) continue;
    if (!is_stale(*management)) driver_failed(ended.error());
    abandon(management);
  }
}

void VirtioScsi::give_up(const TaskPtr& task) {
  task_ended(*task);
  abandon(task);
}

// ---- The control queue: section 5.6.6.2

Result<> VirtioScsi::take_control(Chain chain) {
  const auto management = std::make_shared<Management>();
  const std::uint64_t readable = total_size(chain.readable);
  const std::uint64_t writable = total_size(chain.writable);
  Le32 type;
  DOPPEL_ASSIGN(const auto guest, memory());
  if (readable < sizeof(NotificationRequest))
    return fail(ErrorKind::kInvalidArgument, "a request of {} bytes in the control queue", readable);
  DOPPEL_TRY(read_segments(guest, chain.readable, 0, std::as_writable_bytes(std::span(&type, 1))));
  if (type == kTaskManagement && readable >= sizeof management->wanted && writable >= 1) {
    DOPPEL_TRY(read_segments(guest, chain.readable, 0, std::as_writable_bytes(std::span(&management->wanted, 1))));
    begin(management, kControlQueue, std::move(chain));
    auto managed = manage_tasks(management);
    if (!managed) abandon(management);
    return managed;
  }
  constexpr std::size_t kNotificationResponse = 5;  // which events: none; and a response
  if ((type == kQueryNotification || type == kSubscribeNotification) && writable >= kNotificationResponse) {
    const std::array<std::byte, kNotificationResponse> answer{};
    DOPPEL_TRY(write_segments(guest, chain.writable, 0, answer));
    begin(management, kControlQueue, std::move(chain));
    complete(management, answer.size());
    return {};
  }
  return fail(ErrorKind::kInvalidArgument, "request {} of {} and {} bytes in the control queue", std::uint32_t{type},
              readable, writable);
}

Result<> VirtioScsi::manage_tasks(const ManagementPtr& management) {
  const ManagementRequest& wanted = management->wanted;
  const auto function = static_cast<Function>(std::uint32_t{wanted.subtype});
  const auto address = parse_lun(wanted.lun);
  const bool for_all_units = function == Function::kNexusReset;
  const bool for_one_task = function == Function::kAbortTask || function == Function::kQueryTask;
  const bool is_query = function == Function::kQueryTask || function == Function::kQueryTaskSet;
  const auto answer = [&](std::uint8_t code) -> Result<> {
    const std::byte byte{code};
    DOPPEL_ASSIGN(const auto guest, memory());
    DOPPEL_TRY(write_segments(guest, management->chain.writable, 0, std::span(&byte, 1)));
    complete(management, 1);
    return {};
  };
  if (function > Function::kQueryTaskSet || function == Function::kClearAca) return answer(response::kFunctionRejected);
  if (!address || !bus_.has_target(address->target)) return answer(response::kBadTarget);
  ScsiDisk* const unit = bus_.find(*address);
  if (unit == nullptr && !for_all_units) return answer(response::kIncorrectLun);
  unsigned found = 0;
  for (const TaskPtr& task : tasks_) {
    const auto place = parse_lun(task->lun);
    const bool same_unit = place && (for_all_units ? place->target == address->target : *place == *address);
    if (!same_unit || (for_one_task && task->tag != wanted.tag)) continue;
    ++found;
    if (is_query) continue;
    task->aborted = true;
    task->waiting.push_back(management);
    ++management->waits_for;
  }
  if (is_query) return answer(found != 0 ? response::kFunctionSucceeded : response::kOk);
  if (function == Function::kUnitReset) unit->reset();
  if (for_all_units)
    for (const auto& [place, each] : bus_.units())
      if (place.target == address->target) each->reset();
  return management->waits_for == 0 ? end_management(management) : Result<>();
}

Result<> VirtioScsi::end_management(const ManagementPtr& management) {
  constexpr std::byte kDone{response::kOk};
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(write_segments(guest, management->chain.writable, 0, std::span(&kDone, 1)));
  complete(management, 1);
  return {};
}

// ---- Saving

std::vector<std::uint8_t> VirtioScsi::save_own() const {
  std::vector<std::uint8_t> saved(2);
  saved[0] = static_cast<std::uint8_t>(sense_size_);
  saved[1] = static_cast<std::uint8_t>(cdb_size_);
  for (const auto& [address, unit] : bus_.units()) saved.push_back(unit->was_reset() ? 1 : 0);
  return saved;
}

Result<> VirtioScsi::load_own(const std::vector<std::uint8_t>& saved) {
  if (saved.size() != 2 + bus_.units().size() || saved[0] > kMostSenseSize || saved[1] == 0)
    return fail(ErrorKind::kCorrupt, "the saved adapter's settings are damaged, or it has other units");
  sense_size_ = saved[0];
  cdb_size_ = saved[1];
  std::size_t at = 2;
  for (const auto& [address, unit] : bus_.units()) unit->set_was_reset(saved[at++] != 0);
  return {};
}

}  // namespace doppel::hw
