// An NVM Express controller (NVM Express base specification 1.4), with QEMU's PCI ids: 1b36:0010.
//
// Who runs where. A doorbell only notes where the guest's tail is now; a timer that is due at once then has the loop's
// thread fetch and begin what there is, so that vCPUs do not wait for it. A command is a Request until its completion
// is in the guest's queue. It goes in steps: each asks a disk for something and names what comes next (`then`).
//
// Data passes through a buffer of the request, never straight from the disk to guest memory: what was cancelled cannot
// write there any more. A controller that is disabled drops its requests at once, but is ready to be enabled again only
// when the disks have answered all of them, so that no earlier write can overtake a later one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "event/clock.h"
#include "hw/disk/disk_queue.h"
#include "hw/nvme/async_events.h"
#include "hw/nvme/controller_log.h"
#include "hw/nvme/data_map.h"
#include "hw/nvme/features.h"
#include "hw/nvme/nvme_config.h"
#include "hw/nvme/nvme_namespace.h"
#include "hw/nvme/nvme_queue.h"
#include "hw/nvme/nvme_registers.h"
#include "hw/nvme/nvme_state.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

/// add_namespace(): before the machine runs. Everything else as PciFunction says.
class Nvme final : public PciFunction {
 public:
  /// Commands under way at most, over all queues and of one; and bytes of their data, but for one that is larger.
  static constexpr std::size_t kMostRequests = 1024;
  static constexpr std::uint32_t kMostOfQueue = 256;
  static constexpr std::uint64_t kMostBytes = 64 * kMiB;
  /// Commands begun before others get the loop's thread.
  static constexpr unsigned kBurst = 64;

  /// CLOCK is the guest's: while it stands still, nothing is begun.
  static Result<std::unique_ptr<Nvme>> create(const PciServices& services, event::Clock& clock, NvmeConfig config);
  ~Nvme() override;

  [[nodiscard]] std::string_view name() const override { return "nvme"; }
  /// DISK outlives the controller. An nsid of 0 becomes the lowest that is free; returns it.
  Result<std::uint32_t> add_namespace(NvmeNamespaceConfig config, block::Disk& disk);

  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;

 private:
  using Status = nvme::Status;
  using Command = nvme::Command;
  struct Request;
  /// Nothing: the request goes on.
  using Outcome = std::optional<Status>;
  using Step = Outcome (Nvme::*)(Request&, const Result<>&);
  using Buffer = std::shared_ptr<std::byte[]>;

  struct Request {
    std::uint64_t ticket = 0;
    std::uint16_t queue = 0;
    Command command{};
    std::uint32_t result = 0;
    nvme::DataMap data{};
    bool lent = false;  // the disk works on guest memory, not on the buffer
    Buffer buffer{};
    std::uint64_t buffer_size = 0;
    std::uint64_t next = 0;  // of what goes piece by piece: the first that is not done
    Step then = nullptr;
  };
  struct AdminCommand;
  struct IoCommand;
  enum class BadDoorbell : std::uint8_t { kRegister = 0, kValue = 1 };  // as an event tells it

  Nvme(const PciServices& services, event::Clock& clock, NvmeConfig config);
  Result<> build_bar();

  // Registers: nvme.cpp.
  [[nodiscard]] std::uint64_t read_register(std::uint64_t offset, unsigned size);
  void write_register(std::uint64_t offset, std::uint64_t value);
  void write_configuration(std::uint32_t value);
  void enable();
  void disable();
  void begin_shutdown();
  void flush_for_shutdown();
  /// What had to wait for the disks: enabling, being disabled, shutting down.
  void settle();
  void drop_everything();
  void fatal(std::string_view what, const Error& error);
  /// Are there queues to work on?
  [[nodiscard]] bool ready() const {
    constexpr std::uint32_t kAll = nvme::status::kReady | nvme::status::kFatal | nvme::status::kShutdown;
    return configuration_.enabled() && (status_ & kAll) == nvme::status::kReady;
  }

  // Queues: nvme_queues.cpp.
  void write_doorbell(std::uint32_t index, std::uint32_t value);
  void write_tail(std::uint16_t id, std::uint32_t value);
  void write_head(std::uint16_t id, std::uint32_t value);
  void bad_doorbell(BadDoorbell why);
  void kick();
  void run_queues();
  void run_queue(nvme::SubmissionQueue& queue, unsigned& budget);
  [[nodiscard]] bool may_begin(const nvme::SubmissionQueue& queue) const;
  void begin_loaded();
  void begin(std::uint16_t queue, const Command& command);
  void finish(Request& request, Status status);
  void complete(std::uint16_t queue, std::uint16_t command_id, Status status, std::uint32_t result);
  void post(nvme::CompletionQueue& queue);
  void report_events();
  void interrupt(const nvme::CompletionQueue& queue);
  void update_intx();
  [[nodiscard]] bool has_work() const;

  // Doorbells in memory: nvme_queues.cpp.
  [[nodiscard]] bool has_shadow() const { return shadow_doorbells_ != 0; }
  [[nodiscard]] std::optional<std::uint32_t> shadow(std::uint32_t index) const;
  void ask_for_doorbell(std::uint32_t index, std::uint32_t value);
  void read_shadow_tail(nvme::SubmissionQueue& queue);
  void read_shadow_head(nvme::CompletionQueue& queue);

  // Data and disks: nvme_io.cpp.
  [[nodiscard]] Outcome map_data(Request& request, std::uint64_t length);
  [[nodiscard]] Outcome take_data(Request& request, std::uint64_t length);
  [[nodiscard]] Outcome copy_data(Request& request);
  std::shared_ptr<const memory::DmaMappings> lend(Request& request, memory::DmaSpace::Access access);
  [[nodiscard]] Outcome give_data(Request& request, std::span<const std::byte> data);
  void allocate(Request& request, std::uint64_t size);
  void submit(Request& request, DiskQueue::Begin begin, Step then);
  void disk_answered(std::uint64_t ticket, const Result<>& result);
  void read_disk(Request& request, block::Disk& disk, std::uint64_t offset, std::uint64_t size, Step then);
  [[nodiscard]] Outcome reply(Request& request, std::span<const std::byte> data);
  [[nodiscard]] nvme::Namespace* find_namespace(std::uint32_t id);

  // I/O commands: nvme_io.cpp.
  static std::span<const IoCommand> io_commands();
  [[nodiscard]] Outcome execute_io(Request& request);
  [[nodiscard]] Outcome check_blocks(const Request& request, nvme::Namespace& space) const;
  [[nodiscard]] Outcome flush(Request& request);
  [[nodiscard]] Outcome flush_next(Request& request, const Result<>& result);
  [[nodiscard]] Outcome read(Request& request);
  [[nodiscard]] Outcome read_done(Request& request, const Result<>& result);
  [[nodiscard]] Outcome write(Request& request);
  [[nodiscard]] Outcome write_done(Request& request, const Result<>& result);
  [[nodiscard]] Outcome flush_done(Request& request, const Result<>& result);
  [[nodiscard]] Outcome compare(Request& request);
  [[nodiscard]] Outcome compare_done(Request& request, const Result<>& result);
  [[nodiscard]] Outcome write_zeroes(Request& request);
  [[nodiscard]] Outcome dataset_management(Request& request);
  [[nodiscard]] Outcome discard_next(Request& request, const Result<>& result);
  [[nodiscard]] Outcome verify(Request& request);
  [[nodiscard]] Outcome verify_next(Request& request, const Result<>& result);
  [[nodiscard]] Outcome failed(const Error& error, Status otherwise);

  // Admin commands: nvme_admin.cpp.
  static std::span<const AdminCommand> admin_commands();
  [[nodiscard]] Outcome execute_admin(Request& request);
  [[nodiscard]] Outcome delete_submission_queue(Request& request);
  [[nodiscard]] Outcome create_submission_queue(Request& request);
  [[nodiscard]] Outcome delete_completion_queue(Request& request);
  [[nodiscard]] Outcome create_completion_queue(Request& request);
  [[nodiscard]] Outcome get_log_page(Request& request);
  [[nodiscard]] Outcome identify(Request& request);
  [[nodiscard]] Outcome abort(Request& request);
  [[nodiscard]] Outcome set_features(Request& request);
  [[nodiscard]] Outcome get_features(Request& request);
  [[nodiscard]] Outcome async_event_request(Request& request);
  [[nodiscard]] Outcome doorbell_buffers(Request& request);
  [[nodiscard]] Outcome deletion_done(Request& request, const Result<>& result);
  void finish_deletions();
  [[nodiscard]] bool is_queue_id(std::uint32_t id) const { return id != 0 && id <= config_.max_ioqpairs; }
  [[nodiscard]] nvme::IdentifyPage describe() const;
  [[nodiscard]] nvme::IdentifyPage namespace_list(std::uint32_t after) const;

  // Saving: nvme_save.cpp.
  [[nodiscard]] nvme::NvmeState live_state() const;
  [[nodiscard]] bool is_sound(const nvme::NvmeState& saved) const;
  void load_queues(const nvme::NvmeState& saved);

  const NvmeConfig config_;
  const std::unique_ptr<event::Timer> doorbell_timer_;
  IoFunction registers_;
  std::map<std::uint32_t, nvme::Namespace> namespaces_;
  DiskQueue disks_{*this};

  nvme::Configuration configuration_;
  std::uint32_t status_ = 0;
  std::uint32_t admin_sizes_ = 0;
  std::uint64_t admin_submission_ = 0;
  std::uint64_t admin_completion_ = 0;
  std::uint32_t masked_ = 0;            // INTMS
  std::uint64_t shadow_doorbells_ = 0;  // where doorbells are in memory; 0: nowhere
  std::uint64_t shadow_events_ = 0;
  std::map<std::uint16_t, nvme::SubmissionQueue> submission_queues_;
  std::map<std::uint16_t, nvme::CompletionQueue> completion_queues_;
  nvme::Features features_;
  nvme::AsyncEvents events_;
  nvme::ControllerLog controller_log_;

  std::map<std::uint64_t, Request> requests_;  // by ticket
  std::vector<nvme::RequestState> loaded_;     // began before the machine was saved, to begin again
  std::uint64_t next_ticket_ = 0;
  std::uint64_t bytes_under_way_ = 0;
  std::uint64_t in_flight_ = 0;  // disk requests not answered yet, also those that nobody waits for any more
  bool kicked_ = false;
  bool flushing_ = false;   // for the shutdown
  unsigned deletions_ = 0;  // of queues that wait for their requests
};

}  // namespace doppel::hw
