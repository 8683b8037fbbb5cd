// What an NVMe controller saves.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "hw/nvme/async_events.h"
#include "hw/nvme/controller_log.h"
#include "hw/nvme/features.h"
#include "hw/nvme/nvme_queue.h"

namespace doppel::hw::nvme {

struct SubmissionQueueState {
  std::uint16_t id = 0;
  std::uint16_t completion_queue = 0;
  Ring ring{};
  void describe(auto& fields) {
    fields("id", id);
    fields("completion_queue", completion_queue);
    fields("ring", ring);
  }
};

struct CompletionQueueState {
  std::uint16_t id = 0;
  std::uint16_t vector = 0;
  bool interrupts = false;
  bool phase = false;
  Ring ring{};
  std::vector<WaitingCompletion> waiting{};
  void describe(auto& fields) {
    fields("id", id);
    fields("vector", vector);
    fields("interrupts", interrupts);
    fields("phase", phase);
    fields("ring", ring);
    fields("waiting", waiting);
  }
};

/// A command that was fetched and not completed; after loading it begins again.
struct RequestState {
  std::uint16_t queue = 0;
  std::array<std::uint8_t, sizeof(Command)> command{};
  void describe(auto& fields) {
    fields("queue", queue);
    fields("command", command);
  }
};

struct NvmeState {
  static constexpr std::string_view kName = "nvme";
  static constexpr std::uint32_t kVersion = 1;
  std::uint32_t configuration = 0;
  std::uint32_t status = 0;
  std::uint32_t admin_sizes = 0;
  std::uint64_t admin_submission = 0;
  std::uint64_t admin_completion = 0;
  std::uint32_t masked = 0;
  std::uint64_t shadow_doorbells = 0;
  std::uint64_t shadow_events = 0;
  std::vector<SubmissionQueueState> submission_queues{};
  std::vector<CompletionQueueState> completion_queues{};
  std::vector<RequestState> requests{};
  FeatureState features{};
  AsyncEventState events{};
  ControllerLogState log{};
  void describe(auto& fields) {
    fields("configuration", configuration);
    fields("status", status);
    fields("admin_sizes", admin_sizes);
    fields("admin_submission", admin_submission);
    fields("admin_completion", admin_completion);
    fields("masked", masked);
    fields("shadow_doorbells", shadow_doorbells);
    fields("shadow_events", shadow_events);
    fields("submission_queues", submission_queues);
    fields("completion_queues", completion_queues);
    fields("requests", requests);
    fields("features", features);
    fields("events", events);
    fields("log", log);
  }
};

}  // namespace doppel::hw::nvme
