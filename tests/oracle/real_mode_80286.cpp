// Runs the instructions that the SingleStepTests project recorded on a real 80286 in real mode, and compares registers
// and memory with the recording.
//   real_mode_80286 [--shown N] [DIRECTORY]
// Without DIRECTORY: $DOPPEL_ORACLES/real-mode-80286, or ../shared/oracles/real-mode-80286 beside the project. Exit
// status 77 if there are no recordings, 1 if something differs.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "accel/soft/interpreter/core_state.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/interpreter.h"
#include "accel/tiny_guest.h"
#include "moo_file.h"
#include "x86/features.h"

namespace doppel::oracle {

namespace {

using namespace accel::soft;

constexpr std::size_t kMemorySize = 16U << 20U;
constexpr std::size_t kPage = 4096;
constexpr int kSkipped = 77;

/// Flags that later processors keep where the 80286 in real mode does not (IOPL and NT; SDM 3B 23.15.2, "FLAGS").
constexpr std::uint16_t kComparedFlags = 0x0fff;

struct GprPlace {
  MooRegister from;
  x86::Gpr to;
};
constexpr std::array kGprs = {
    GprPlace{MooRegister::kAx, x86::kRax}, GprPlace{MooRegister::kBx, x86::kRbx}, GprPlace{MooRegister::kCx, x86::kRcx},
    GprPlace{MooRegister::kDx, x86::kRdx}, GprPlace{MooRegister::kSp, x86::kRsp}, GprPlace{MooRegister::kBp, x86::kRbp},
    GprPlace{MooRegister::kSi, x86::kRsi}, GprPlace{MooRegister::kDi, x86::kRdi},
};
struct SegmentPlace {
  MooRegister from;
  x86::SegmentName to;
};
constexpr std::array kSegments = {SegmentPlace{MooRegister::kCs, x86::kCs}, SegmentPlace{MooRegister::kSs, x86::kSs},
                                  SegmentPlace{MooRegister::kDs, x86::kDs}, SegmentPlace{MooRegister::kEs, x86::kEs}};
constexpr std::array kNames = {"ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags"};

constexpr std::size_t kLongest80286Instruction = 10;  // bytes

bool is_string(const ZydisDecodedInstruction& instruction) {
  return instruction.meta.category == ZYDIS_CATEGORY_STRINGOP || instruction.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

/// Why TEST shows something that only an 80286 does, or null. Manuals: SDM, and Intel's 80286 Programmer's Reference.
const char* why_only_80286(const MooTest& test) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
  ZydisDecodedInstruction instruction;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  const ZyanStatus status =
      ZydisDecoderDecodeFull(&decoder, test.bytes.data(), test.bytes.size(), &instruction, operands.data());
  if (status == ZYDIS_STATUS_ILLEGAL_LOCK)
    return "LOCK where there is no memory destination: #UD since the 80386 (SDM 2A, LOCK; 3B 23.15)";
  if (!ZYAN_SUCCESS(status)) return nullptr;
  const bool overruns = test.exception == x86::kGeneralProtection;
  if (overruns && instruction.length > kLongest80286Instruction)
    return "instructions of more than 10 bytes: 15 since the 80386 (SDM 3B 23.26, 80286 9.4)";
  if (overruns && is_string(instruction))
    return "string instructions move their registers before they fault; restartable since the 80386 (SDM 3A 6.5)";
  const auto is_stack = [](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.segment == ZYDIS_REGISTER_SS;
  };
  if (overruns && std::any_of(operands.begin(), operands.begin() + instruction.operand_count, is_stack))
    return "an overrun of the stack segment: vector 12 since the 80386 (SDM 3A 20.1.4 table 20-1)";
  return nullptr;
}

/// A processor in real mode with 16 MiB of RAM and no devices.
class RealModeRig {
 public:
  RealModeRig() {
    const accel::MemorySlot slot{
        .slot = 0, .address = {0}, .size = kMemorySize, .host = memory_, .flags = accel::SlotFlags::kLogDirty};
    machine_.rendezvous.exclusive(false, [&] { (void)machine_.ram.set(slot); });
    cpu_.features = x86::named_features();
    cpu_.fpu.reset();
    cpu_.fpu.set_legacy_field<std::uint16_t>(FpuState::kFcw, 0x37f);  // nothing is unmasked, as with no 80287
    save_core_state(cpu_, start_, x86::StateParts::kAll);
    accel::tiny::set_start_state(start_, accel::tiny::Mode::kReal16, 0);
  }
  ~RealModeRig() { ::munmap(memory_, kMemorySize); }
  RealModeRig(const RealModeRig&) = delete;
  RealModeRig& operator=(const RealModeRig&) = delete;

  /// What differs; empty: nothing.
  std::vector<std::string> run(const MooTest& test, std::uint16_t flags_mask);

 private:
  void load(const MooState& state);
  bool run_to_halt();
  void compare_registers(const MooTest& test, std::uint16_t flags_mask, std::vector<std::string>& differences) const;
  void compare_memory(const MooTest& test, std::uint16_t flags_mask, std::vector<std::string>& differences);
  [[nodiscard]] std::array<std::uint16_t, kMooRegisters> registers() const;
  [[nodiscard]] std::uint32_t pushed_flags_address(const MooTest& test) const;

  std::byte* const memory_ =
      static_cast<std::byte*>(::mmap(nullptr, kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  Machine machine_;
  Cpu cpu_{machine_};
  Interpreter interpreter_{cpu_};
  x86::CpuState start_;
};

void RealModeRig::load(const MooState& state) {
  x86::CpuState cpu = start_;
  for (const GprPlace& place : kGprs) cpu.gpr[place.to] = state.at(place.from).value_or(0);
  for (const SegmentPlace& place : kSegments) {
    x86::Segment& segment = cpu.segment[place.to];
    segment.selector = state.at(place.from).value_or(0);
    segment.base = std::uint64_t{segment.selector} << 4U;
  }
  cpu.rip = state.at(MooRegister::kIp).value_or(0);
  cpu.rflags = (state.at(MooRegister::kFlags).value_or(0) & kComparedFlags) | x86::rflags::kFixed;
  load_core_state(cpu_, cpu, x86::StateParts::kAll);
  for (const auto& [address, byte] : state.memory) memory_[address % kMemorySize] = std::byte{byte};
  interpreter_.forget_code();
}

/// False: it does not come to a HLT.
bool RealModeRig::run_to_halt() {
  constexpr std::uint64_t kBudget = 2000;
  constexpr unsigned kMostAccesses = 0x2'0000;  // REP INS makes up to 65535
  machine_.rendezvous.enter();
  StopReason reason = interpreter_.run(kBudget);
  for (unsigned accesses = 0; reason == StopReason::kBus && accesses < kMostAccesses; ++accesses) {
    // Nothing answers: a floating bus.
    BusAccess& access = cpu_.bus.pending();
    access.value = ~std::uint64_t{0} >> (64U - 8U * access.size);
    std::ranges::fill(cpu_.bus.block(), std::byte{0xff});
    cpu_.bus.answered();
    reason = interpreter_.finish_instruction();
    if (reason == StopReason::kNone) reason = interpreter_.run(kBudget);
  }
  machine_.rendezvous.leave();
  return reason == StopReason::kHalt;
}

std::array<std::uint16_t, kMooRegisters> RealModeRig::registers() const {
  std::array<std::uint16_t, kMooRegisters> all{};
  const auto put = [&](MooRegister reg, std::uint64_t value) {
    all.at(static_cast<std::size_t>(reg)) = static_cast<std::uint16_t>(value);
  };
  for (const GprPlace& place : kGprs) put(place.from, cpu_.gpr[place.to]);
  for (const SegmentPlace& place : kSegments) put(place.from, cpu_.segment[place.to].selector);
  put(MooRegister::kIp, cpu_.rip);
  put(MooRegister::kFlags, cpu_.rflags);
  return all;
}

void RealModeRig::compare_registers(const MooTest& test, std::uint16_t flags_mask,
                                    std::vector<std::string>& differences) const {
  const auto ours = registers();
  for (std::size_t i = 0; i < kMooRegisters; ++i) {
    const auto before = test.before.registers.at(i).value_or(0);
    const auto wanted = test.after.registers.at(i).value_or(before);
    const bool is_flags = i == static_cast<std::size_t>(MooRegister::kFlags);
    const auto mask = is_flags ? static_cast<std::uint16_t>(flags_mask & kComparedFlags) : std::uint16_t{0xffff};
    if (((wanted ^ ours.at(i)) & mask) != 0)
      differences.push_back(fmt::format("{:6} before {:04x} 80286 {:04x} ours {:04x}", kNames.at(i), before,
                                        wanted & mask, ours.at(i) & mask));
  }
}

/// Where TEST pushed flags, whose upper bits differ; or nowhere.
std::uint32_t RealModeRig::pushed_flags_address(const MooTest& test) const {
  const auto stack = [&](std::uint64_t offset) {
    return static_cast<std::uint32_t>(cpu_.segment[x86::kSs].base + ((cpu_.gpr[x86::kRsp] + offset) & 0xffff));
  };
  if (test.exception) return stack(4);  // above IP and CS
  return test.name.find("pushf") != std::string::npos ? stack(0) : ~std::uint32_t{0};
}

void RealModeRig::compare_memory(const MooTest& test, std::uint16_t flags_mask, std::vector<std::string>& differences) {
  std::map<std::uint32_t, std::uint8_t> wanted;
  for (const auto& [address, byte] : test.before.memory) wanted[address] = byte;
  for (const auto& [address, byte] : test.after.memory) wanted[address] = byte;
  const std::uint32_t flags_address = pushed_flags_address(test);
  const auto check = [&](std::uint32_t address, std::uint8_t expected) {
    std::uint8_t mask = 0xff;
    if (address == flags_address) mask = static_cast<std::uint8_t>(flags_mask);
    if (address == flags_address + 1) mask = static_cast<std::uint8_t>((flags_mask & kComparedFlags) >> 8U);
    const auto ours = std::to_integer<std::uint8_t>(memory_[address]);
    if (((ours ^ expected) & mask) != 0)
      differences.push_back(fmt::format("[{:06x}] 80286 {:02x} ours {:02x}", address, expected & mask, ours & mask));
    memory_[address] = std::byte{0};
  };
  for (const auto& [address, byte] : wanted) check(address, byte);
  // Nothing else may have changed; a written page is cleaned for the next test.
  const auto dirty = machine_.ram.by_number(0)->take_dirty();
  for (std::size_t page = 0; page < kMemorySize / kPage; ++page) {
    if ((dirty[page / 64] >> (page % 64) & 1U) == 0) continue;
    for (std::size_t i = page * kPage; i < (page + 1) * kPage; ++i)
      if (memory_[i] != std::byte{0}) check(static_cast<std::uint32_t>(i), 0);
  }
}

std::vector<std::string> RealModeRig::run(const MooTest& test, std::uint16_t flags_mask) {
  std::vector<std::string> differences;
  load(test.before);
  (void)machine_.ram.by_number(0)->take_dirty();
  if (!run_to_halt()) differences.emplace_back("does not come to its HLT");
  compare_registers(test, flags_mask, differences);
  compare_memory(test, flags_mask, differences);
  return differences;
}

/// The flags that OPCODE ("D2.4": with ModRM.reg) leaves defined.
std::uint16_t flags_mask_of(const nlohmann::json& metadata, const std::string& opcode) {
  const std::string base = opcode.substr(0, opcode.find('.'));
  const auto& opcodes = metadata.at("opcodes");
  if (!opcodes.contains(base)) return 0xffff;
  const nlohmann::json* row = &opcodes.at(base);
  if (row->contains("reg") && opcode.size() > base.size()) row = &row->at("reg").at(opcode.substr(base.size() + 1));
  return row->value("flags-mask", std::uint16_t{0xffff});
}

struct Options {
  std::uint64_t shown = 2;  // differing tests of each file
  std::filesystem::path directory;
};

std::filesystem::path find_recordings() {
  const char* const oracles = std::getenv("DOPPEL_ORACLES");
  const std::filesystem::path parent = oracles != nullptr ? oracles : DOPPEL_SOURCE_DIR "/../shared/oracles";
  return parent / "real-mode-80286";
}

struct Count {
  unsigned passed = 0;
  unsigned failed = 0;
  unsigned skipped = 0;
};

class Recordings {
 public:
  explicit Recordings(const Options& options)
      : options_(options), metadata_(nlohmann::json::parse(std::ifstream(options.directory / "metadata.json"))) {}

  int run() {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory))
      if (entry.path().filename().string().ends_with(".MOO.gz")) files.push_back(entry.path());
    std::ranges::sort(files);
    Count total;
    for (const auto& file : files) {
      const Count count = run_file(file);
      total.passed += count.passed;
      total.failed += count.failed;
      total.skipped += count.skipped;
    }
    fmt::print("{} opcodes: {} passed, {} failed, {} of an 80286 alone\n", files.size(), total.passed, total.failed,
               total.skipped);
    return total.failed == 0 && total.passed != 0 ? 0 : 1;
  }

 private:
  Count run_file(const std::filesystem::path& file) {
    const std::string name = file.filename().string();
    const std::string opcode = name.substr(0, name.find(".MOO"));
    const auto tests = read_moo_file(file);
    if (!tests) {
      fmt::print("{}\n", tests.error().describe());
      return {.failed = 1};
    }
    Count count;
    for (const MooTest& test : *tests) {
      if (why_only_80286(test) != nullptr) {
        ++count.skipped;
        continue;
      }
      const auto differences = rig_->run(test, flags_mask_of(metadata_, opcode));
      ++(differences.empty() ? count.passed : count.failed);
      if (!differences.empty() && count.failed <= options_.shown) report(opcode, test, differences);
    }
    fmt::print("{:5} {:3} passed{}{}\n", opcode, count.passed,
               count.failed != 0 ? fmt::format(", {} FAILED", count.failed) : "",
               count.skipped != 0 ? fmt::format(", {} skipped", count.skipped) : "");
    return count;
  }

  static void report(const std::string& opcode, const MooTest& test, const std::vector<std::string>& differences) {
    std::string bytes;
    for (const std::uint8_t byte : test.bytes) bytes += fmt::format("{:02x} ", byte);
    fmt::print("{} test {}: {} {}{}\n", opcode, test.number, bytes, test.name,
               test.exception ? fmt::format(" (exception {})", *test.exception) : "");
    std::string before;
    for (std::size_t i = 0; i < kMooRegisters; ++i)
      before += fmt::format(" {}={:04x}", kNames.at(i), test.before.registers.at(i).value_or(0));
    fmt::print("   {}\n", before);
    for (const std::string& line : differences) fmt::print("    {}\n", line);
  }

  const Options options_;
  const nlohmann::json metadata_;
  const std::unique_ptr<RealModeRig> rig_ = std::make_unique<RealModeRig>();
};

}  // namespace

}  // namespace doppel::oracle

int main(int argc, char** argv) {
  using namespace doppel::oracle;
  Options options{.directory = find_recordings()};
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--shown" && i + 1 < argc) {
      const std::string_view value = argv[++i];
      std::from_chars(value.data(), value.data() + value.size(), options.shown);
    } else {
      options.directory = argument;
    }
  }
  if (!std::filesystem::exists(options.directory / "metadata.json")) {
    fmt::print("skipped: no recordings of an 80286 in {}\n", options.directory.string());
    return kSkipped;
  }
  return Recordings(options).run();
}
