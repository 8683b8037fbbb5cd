// Executes blocks of instructions by the software accelerator as guests see it: run loop, code cache and translator, at
// CPL 3 in 64-bit mode, on memory that looks like the native side's. Exceptions are delivered through the guest's own
// tables, to handlers that halt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "accel/soft/interpreter/interpreter.h"
#include "accel/soft/translator/translator.h"
#include "memory/dirty_bitmap.h"
#include "processor_state.h"

namespace doppel::oracle {

/// Lies below 2 GiB (accel/soft/runtime/low_memory.h), as its processor must.
class BlockGuest {
 public:
  struct Options {
    bool verify = false;  // in lockstep with the interpreter
    bool hot = false;     // all code is translated as hot code is
  };
  /// The segment bases are what the native side has.
  BlockGuest(std::uint64_t fs_base, std::uint64_t gs_base, const Options& options);
  ~BlockGuest();
  BlockGuest(const BlockGuest&) = delete;
  BlockGuest& operator=(const BlockGuest&) = delete;

  /// Why there is no translator; empty: there is one.
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  [[nodiscard]] const accel::soft::Translator& translator() const { return *translator_; }

  /// What is at layout::kData, and at layout::kCode.
  [[nodiscard]] std::span<std::byte, layout::kDataSize> data() const;
  [[nodiscard]] std::span<const std::byte> code() const { return {code_, layout::kCodeSize}; }
  /// Writes to the code area as a device would.
  void write_code(std::uint64_t address, std::span<const std::uint8_t> bytes);
  /// Runs STATE from its RIP on, up to an INT3 or an exception. Its vector is kDifferent if lockstep found something.
  Ending run(ProcessorState& state);
  static constexpr int kDifferent = -3;

 private:
  void write_page_tables();
  void write_handlers();
  void start(std::uint64_t fs_base, std::uint64_t gs_base);
  Ending take_exception(ProcessorState& state);

  std::byte* ram_;  // tables and handlers, from guest-physical 0
  std::byte* code_;
  std::byte* data_;
  memory::DirtyBitmap ram_writes_;
  memory::DirtyBitmap code_writes_{layout::kCodeSize};
  memory::DirtyBitmap data_writes_{layout::kDataSize};
  accel::soft::Machine machine_;
  accel::soft::Cpu cpu_{machine_};
  std::string complaint_;
  std::unique_ptr<accel::soft::Translator> translator_;  // outlives the blocks that it keeps something with
  accel::soft::Interpreter interpreter_{cpu_};
  std::array<x86::Segment, x86::kSegmentCount> user_segments_{};
};

}  // namespace doppel::oracle
