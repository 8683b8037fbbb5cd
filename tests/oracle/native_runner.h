// Executes one instruction, or a block of them, on the host processor itself, in this process: loads the whole state,
// jumps there, comes back behind it or by the signal that it raises, and stores the whole state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "processor_state.h"

namespace doppel::oracle {

/// FS base of this thread.
std::uint64_t host_fs_base();

/// May instructions store to the code area?
enum class CodePages : std::uint8_t { kReadOnly, kWritable };

/// One per process: the addresses are fixed (layout). Make it after whatever else installs handlers for SIGSEGV and the
/// like; signals that are not the runner's go on to those.
class NativeRunner {
 public:
  explicit NativeRunner(CodePages code_pages = CodePages::kReadOnly);
  ~NativeRunner();
  NativeRunner(const NativeRunner&) = delete;
  NativeRunner& operator=(const NativeRunner&) = delete;

  /// Data memory as the instruction sees it.
  [[nodiscard]] std::span<std::byte, layout::kDataSize> data() const;

  /// Puts the instruction BYTES at ADDRESS within the code area. The rest of the area holds INT3.
  void place(std::uint64_t address, std::span<const std::uint8_t> bytes);
  /// Executes it on STATE. Where it branched to, nothing is executed.
  Ending run(ProcessorState& state);
  /// The same with several instructions, any of which may raise an exception. INT3, in which branches end, is none.
  Ending run_block(ProcessorState& state);
  /// The code area's bytes. What is written here is what is executed.
  [[nodiscard]] std::span<std::byte> code() const { return {code_, layout::kCodeSize}; }

  /// GS base of the thread once there is a runner.
  static constexpr std::uint64_t kGsBase = 0x10'0000;

 private:
  void enter(ProcessorState& state);

  std::byte* code_ = nullptr;  // writable view of the code area
  std::uint64_t address_ = 0;
  std::size_t length_ = 0;
};

}  // namespace doppel::oracle
