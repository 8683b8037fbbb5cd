// Executes one instruction by the interpreter: decoder and handler, without the run loop, on a processor in 64-bit mode
// at CPL 3 whose memory looks like the native side's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/decoder.h"
#include "accel/soft/interpreter/native_stub.h"
#include "processor_state.h"

namespace doppel::oracle {

class GuestRunner {
 public:
  /// The segment bases are what the native side has.
  GuestRunner(std::uint64_t fs_base, std::uint64_t gs_base);
  ~GuestRunner();
  GuestRunner(const GuestRunner&) = delete;
  GuestRunner& operator=(const GuestRunner&) = delete;

  /// What is at layout::kData.
  [[nodiscard]] std::span<std::byte, layout::kDataSize> data() const;

  /// Does the processor's CPUID, which is the host's, show SET?
  [[nodiscard]] bool has(ZydisISASet set) const;
  /// Decodes BYTES, which lie at ADDRESS. False: the decoder wants more.
  bool decode(std::uint64_t address, std::span<const std::uint8_t> bytes);
  /// What decode() found, for later.
  struct Decoded {
    std::uint64_t address = 0;
    accel::soft::Instruction instruction;
  };
  /// Another one, beside those decoded before, which stay good until the next decode().
  [[nodiscard]] Decoded decode_also(std::uint64_t address, std::span<const std::uint8_t> bytes);
  void select(const Decoded& decoded) {
    address_ = decoded.address;
    instruction_ = decoded.instruction;
  }
  /// Carries it out on STATE.
  Ending run(ProcessorState& state);

 private:
  void write_page_tables();
  void start(std::uint64_t fs_base, std::uint64_t gs_base);
  void execute();

  std::byte* ram_;  // page tables and the like, from guest-physical 0
  std::byte* data_;
  accel::soft::Machine machine_;
  accel::soft::Cpu cpu_{machine_};
  accel::soft::NativeStubs stubs_;
  accel::soft::Decoder decoder_;
  const accel::soft::IsaSets isa_sets_;
  accel::soft::Instruction instruction_;
  std::uint64_t address_ = 0;
};

}  // namespace doppel::oracle
