// Native command queuing: up to 32 reads and writes of a disk at a time (ATA8-ACS sections 4.14, 7.19 and 7.62).
//
// A command goes chunk by chunk, each through a buffer of its own; its data moves when the disk has answered (reading)
// or before it is asked (writing). Commands that were cancelled are waited for: no later one may be overtaken by them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "hw/ide/ata_drive.h"

namespace doppel::hw {

/// The port that queued commands come from.
class AtaNcqHost {
 public:
  virtual ~AtaNcqHost() = default;
  virtual void submit_queued(DiskQueue::Begin begin, DiskQueue::Handler done) = 0;
  /// Moves BYTES, the next of TAG's data. False: it cannot; the command is then dropped and never answered.
  virtual bool move_queued(unsigned tag, std::span<std::byte> bytes, bool to_memory) = 0;
  virtual void queued_done(unsigned tag) = 0;
  /// All other commands are cancelled, too.
  virtual void queued_failed(unsigned tag, std::uint8_t error) = 0;
};

struct NcqCommandState {
  enum class Step : std::uint8_t { kIdle, kRead, kWrite, kFlush };
  std::uint8_t tag = 0;
  Step step = Step::kIdle;
  bool durable = false;              // FUA
  std::uint64_t next = 0;            // first sector of the chunk in progress
  std::uint64_t rest = 0;            // sectors from there to the end
  std::vector<std::uint8_t> data{};  // that is being written
  void describe(auto& fields) {
    fields("tag", tag);
    fields("step", step);
    fields("durable", durable);
    fields("next", next);
    fields("rest", rest);
    fields("data", data);
  }
};

/// Guarded by its function's lock.
class AtaNcq {
 public:
  static constexpr unsigned kTags = 32;

  AtaNcq(AtaNcqHost& host, AtaDrive& drive) : host_(host), drive_(drive) {}

  /// TASK is a READ or WRITE FPDMA QUEUED, OPCODE says which. A tag that is in use is an error of the guest's: ABRT.
  void begin(std::uint8_t opcode, const TaskFile& task);
  void cancel();
  [[nodiscard]] bool active() const { return active_ != 0; }
  /// Are there disk requests that nobody waits for any more?
  [[nodiscard]] bool draining() const { return active_ == 0 && in_flight_ != 0; }

  [[nodiscard]] std::vector<NcqCommandState> save() const;
  /// After the drive. What was under way begins again.
  Result<> load(const std::vector<NcqCommandState>& saved);

  [[nodiscard]] static bool is_queued(std::uint8_t opcode) {
    return opcode == ata::command::kReadQueued || opcode == ata::command::kWriteQueued;
  }

 private:
  static constexpr std::uint64_t kChunkSectors = 1024;
  using Step = NcqCommandState::Step;
  using Buffer = std::shared_ptr<std::byte[]>;

  struct Command {
    Step step = Step::kIdle;
    bool durable = false;
    std::uint64_t next = 0;
    std::uint64_t rest = 0;
    std::uint64_t chunk = 0;
    Buffer buffer{};
    std::uint64_t ticket = 0;
  };

  void next_chunk(unsigned tag);
  void ask(unsigned tag);
  void answered(unsigned tag, std::uint64_t ticket, const Result<>& result);
  void chunk_done(unsigned tag);
  void finish(unsigned tag);
  void drop(unsigned tag);
  void failed(unsigned tag, std::uint8_t error);
  [[nodiscard]] std::span<std::byte> bytes(const Command& command) const {
    return {command.buffer.get(), static_cast<std::size_t>(command.chunk * ata::kSectorSize)};
  }

  AtaNcqHost& host_;
  AtaDrive& drive_;
  std::array<Command, kTags> commands_;
  std::uint32_t active_ = 0;
  std::uint64_t next_ticket_ = 1;
  std::uint64_t in_flight_ = 0;
};

}  // namespace doppel::hw
