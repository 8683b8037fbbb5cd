// Runs single instructions on the host CPU, as the measure for what the interpreter makes of them. For unit tests.
#pragma once

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace doppel::accel::soft {

struct HostState {
  std::array<std::uint64_t, 16> gpr{};  // RSP is the host's own
  std::uint64_t rflags = 2;
};

class TestHost {
 public:
  TestHost() = default;
  ~TestHost() { ::munmap(code_, kSize); }
  TestHost(const TestHost&) = delete;
  TestHost& operator=(const TestHost&) = delete;

  /// INSTRUCTION must not branch, fault or use RSP.
  void run(HostState& state, std::span<const std::uint8_t> instruction) {
    std::vector<std::uint8_t> code;
    const auto add = [&code](std::initializer_list<std::uint8_t> bytes) { code.insert(code.end(), bytes); };
    add({0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x57});  // push rbx rbp r12-r15 rdi
    add({0xff, 0xb7, 0x80, 0x00, 0x00, 0x00, 0x9d});                          // push [rdi + 128]; popfq
    for (const std::uint8_t reg : kOrder) move(code, 0x8b, reg);
    code.insert(code.end(), instruction.begin(), instruction.end());
    add({0x57, 0x48, 0x8b, 0x7c, 0x24, 0x08});  // push rdi; mov rdi, [rsp + 8]
    for (const std::uint8_t reg : kOrder)
      if (reg != kRdi) move(code, 0x89, reg);
    add({0x58, 0x48, 0x89, 0x47, 8 * kRdi});          // pop rax; mov [rdi + 56], rax
    add({0x9c, 0x8f, 0x87, 0x80, 0x00, 0x00, 0x00});  // pushfq; pop [rdi + 128]
    add({0x6a, 0x02, 0x9d});                          // push 2; popfq
    add({0x5f, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3});
    std::memcpy(function_, code.data(), code.size());
    reinterpret_cast<void (*)(HostState*)>(function_)(&state);
  }

 private:
  static constexpr std::size_t kSize = 4096;
  static constexpr std::size_t kLead = 16;  // stay unused: a sanitizer looks in front of the functions that are called
  static constexpr std::uint8_t kRdi = 7;
  static constexpr std::array<std::uint8_t, 15> kOrder = {0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, kRdi};

  /// mov REG, [rdi + 8 * REG], or the other way round.
  static void move(std::vector<std::uint8_t>& code, std::uint8_t opcode, std::uint8_t reg) {
    const auto rex = static_cast<std::uint8_t>(0x48 | (reg >= 8 ? 4 : 0));
    const auto modrm = static_cast<std::uint8_t>(0x47 | (reg & 7) << 3);
    code.insert(code.end(), {rex, opcode, modrm, static_cast<std::uint8_t>(8 * reg)});
  }

  void* const code_ = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void* const function_ = static_cast<std::byte*>(code_) + kLead;
};

}  // namespace doppel::accel::soft
