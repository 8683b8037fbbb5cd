// -d in_asm, out_asm, op, exec, nochain, cpu, int, mmu and accel; -dfilter; one-insn-per-tb.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "accel/soft/soft.h"
#include "accel/soft/vcpu.h"
#include "accel/tiny_guest.h"

namespace doppel::accel::soft {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using Code = std::vector<std::uint8_t>;

// mov ecx, 5; L: dec ecx; jnz L; hlt; jmp $
const Code kLoop = {0xb9, 5, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xf4, 0xeb, 0xfe};

std::size_t count(const std::string& text, std::string_view piece) {
  std::size_t n = 0;
  for (auto at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++n;
  return n;
}

/// What is logged while CODE runs until it halts.
class TraceTest : public testing::TestWithParam<bool> {
 protected:
  std::string log_of(std::string_view categories, const Code& code, tiny::Mode mode = tiny::Mode::kLong64) {
    std::string path = (std::filesystem::temp_directory_path() / "doppel-trace-test-XXXXXX").string();
    ::close(::mkstemp(path.data()));
    {
      LogSink sink;
      EXPECT_TRUE(sink.open(path));
      EXPECT_TRUE(sink.enable(categories));
      EXPECT_TRUE(filter_.empty() || sink.filter(filter_));
      run(Logger(sink, "soft"), code, mode);
    }
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    std::filesystem::remove(path);
    return text.str();
  }

  TranslationOptions options_{.on = GetParam(), .threshold = 0};
  std::string filter_;

 private:
  void run(const Logger& log, const Code& code, tiny::Mode mode) {
    constexpr std::size_t kSize = tiny::kMemorySize;
    void* const place = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto* const ram = static_cast<std::byte*>(place);
    tiny::write_tables({ram, kSize});
    tiny::write_gate({ram, kSize}, mode, x86::kInvalidOpcode, tiny::kHandler);
    const std::uint8_t hlt = 0xf4;
    std::memcpy(ram + tiny::kHandler, &hlt, 1);
    std::memcpy(ram + tiny::kCode, code.data(), code.size());
    const auto soft = *open({.log = log, .translation = options_});
    const auto vm = *soft->create_vm();
    EXPECT_TRUE(vm->set_memory_slot({.slot = 0, .address = {0}, .size = kSize, .host = ram}));
    auto vcpu = *vm->create_vcpu(0);
    EXPECT_TRUE(tiny::start(*vcpu, mode));
    const auto exit = vcpu->run();
    EXPECT_TRUE(exit && (std::holds_alternative<HaltExit>(*exit) || std::holds_alternative<ShutdownExit>(*exit)));
    vcpu.reset();
    ::munmap(place, kSize);
  }
};

TEST_P(TraceTest, NothingIsSaidUnasked) {
  EXPECT_EQ(log_of("power", kLoop), "");
}

TEST_P(TraceTest, EachBlocksCodeOnce) {
  const std::string text = log_of("in_asm", kLoop);
  EXPECT_EQ(count(text, "IN: "), 3U) << text;
  EXPECT_THAT(text, ContainsRegex("IN: \n0x00004000:  b9 05 00 00 00 +mov ecx, 0x05\n"
                                  "0x00004005:  ff c9 +dec ecx\n0x00004007:  75 fc +jnz 0x0*4005\n"));
  EXPECT_THAT(text, ContainsRegex("IN: \n0x00004009:  f4 +hlt\n"));
}

TEST_P(TraceTest, CodeOfRealMode) {
  // mov ax, 0x1234; ud2
  const std::string text = log_of("in_asm,int", {0xb8, 0x34, 0x12, 0x0f, 0x0b}, tiny::Mode::kReal16);
  EXPECT_THAT(text, ContainsRegex("0x00004000:  b8 34 12 +mov ax, 0x1234\n"));
  EXPECT_THAT(text, HasSubstr(" v=06 e=0000 i=0 cpl=0 IP=0000:0000000000004003 "));
}

TEST_P(TraceTest, EachEntryOfABlock) {
  const std::string text = log_of("exec", kLoop);
  EXPECT_EQ(count(text, "Trace 0: "), 6U) << text;
  EXPECT_EQ(count(text, "/0000000000004005/"), 4U) << text;
}

TEST_P(TraceTest, RegistersBeforeEachBlock) {
  const std::string text = log_of("cpu", kLoop);
  EXPECT_EQ(count(text, "RAX="), 6U) << text;
  EXPECT_THAT(text, HasSubstr("RIP=0000000000004009"));
  EXPECT_THAT(text, HasSubstr("RCX=0000000000000004"));
}

TEST_P(TraceTest, OnlyWhatTheFilterLetsPass) {
  filter_ = "0x4005..0x4008";
  const std::string text = log_of("exec,in_asm,op,out_asm,cpu", kLoop);
  EXPECT_EQ(count(text, "Trace 0: "), 4U) << text;
  EXPECT_EQ(count(text, "IN: "), 1U) << text;
  EXPECT_EQ(count(text, "RAX="), 4U) << text;
  EXPECT_LE(count(text, "OP:"), 1U) << text;
  EXPECT_LE(count(text, "OUT:"), 1U) << text;
}

TEST_P(TraceTest, OneInstructionPerBlock) {
  options_.one_instruction = true;
  const std::string text = log_of("exec,in_asm", kLoop);
  EXPECT_EQ(count(text, "IN: "), 4U) << text;
  EXPECT_EQ(count(text, "Trace 0: "), 12U) << text;
}

TEST_P(TraceTest, Interrupts) {
  const std::string text = log_of("int", {0x0f, 0x0b});
  EXPECT_THAT(text, ContainsRegex("^     0: v=06 e=0000 i=0 cpl=0 IP=0018:0000000000004000 pc=0000000000004000 SP=.* "
                                  "exception CPU=0 -> cpl=0 IP=0018:0000000000006000 "));
}

TEST_P(TraceTest, AnExceptionWhileAnotherIsDelivered) {
  // int 0x30, which has no gate: #GP, which has none either, and so on to the end
  const std::string text = log_of("int", {0xcd, 0x30});
  EXPECT_THAT(text, HasSubstr(" v=30 e=0000 i=1 "));
  EXPECT_THAT(text, HasSubstr(" fails with v=0d e=0182\n"));
  EXPECT_THAT(text, HasSubstr(" v=08 e=0000 "));
}

TEST_P(TraceTest, TheTlb) {
  // mov rax, cr3; mov cr3, rax; invlpg [rax]; hlt
  const std::string text = log_of("mmu", {0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x0f, 0x01, 0x38, 0xf4});
  EXPECT_THAT(text, HasSubstr("CPU 0: TLB fill: 0000000000004000 -> 000000004000 r"));
  EXPECT_THAT(text, HasSubstr(" page size 0x200000 (supervisor"));
  EXPECT_THAT(text, HasSubstr("CPU 0: TLB flush: all but global\n"));
  EXPECT_THAT(text, HasSubstr("CPU 0: TLB flush: page 0000000000010000\n"));
}

TEST_P(TraceTest, Counters) {
  const std::string text = log_of("accel", kLoop);
  EXPECT_THAT(text, HasSubstr("vCPU 0: TLB filled "));
  EXPECT_EQ(count(text, "Translations:\n"), GetParam() ? 1U : 0U);
  if (!GetParam()) return;
  EXPECT_THAT(text, ContainsRegex("\n  blocks +3  "));
  EXPECT_THAT(text, ContainsRegex("\n  guest bytes +16  "));
  EXPECT_THAT(text, ContainsRegex("\n  stack +[0-9]+  "));
  EXPECT_THAT(text, ContainsRegex("\n  jump cache +0  "));
  EXPECT_THAT(text, ContainsRegex("\nInterpreted most often:\n  hlt +1 100\\.0 %\n"));
}

TEST_P(TraceTest, PlansAndHostCodeOfTranslations) {
  const std::string text = log_of("op,out_asm", kLoop);
  EXPECT_EQ(count(text, "OP:"), GetParam() ? 3U : 0U) << text;
  EXPECT_EQ(count(text, "OUT: [size="), GetParam() ? 3U : 0U) << text;
  if (!GetParam()) return;
  EXPECT_THAT(text, ContainsRegex(" ---- 0x00004005:  ff c9 +dec ecx\n verbatim flags="));
  EXPECT_THAT(text, ContainsRegex("  -- guest addr 0x0000000000004005\n0x[0-9a-f]+:  ff c9 +dec ecx\n"));
  EXPECT_THAT(text, HasSubstr("  -- ways out\n"));
}

INSTANTIATE_TEST_SUITE_P(Soft, TraceTest, testing::Bool(),
                         [](const auto& each) { return each.param ? "Translated" : "Interpreted"; });

}  // namespace
}  // namespace doppel::accel::soft
