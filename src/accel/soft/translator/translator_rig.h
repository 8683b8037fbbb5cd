// For tests: a translator and an interpreter that execute the same code.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "accel/soft/interpreter/test_cpu.h"
#include "accel/soft/translator/translator.h"

namespace doppel::accel::soft::translator_rig {

using namespace x86;

using Code = std::vector<std::uint8_t>;
inline constexpr std::uint64_t kDataPage = 0x100000;  // with pages before and behind it
inline constexpr std::uint8_t kHlt = 0xf4;

/// Two processors with memory of their own, one of which translates everything.
class Pair {
 public:
  explicit Pair(tiny::Mode mode = tiny::Mode::kLong64,
                const TranslationOptions& options = {.code_size = std::size_t{1} << 20U, .threshold = 0})
      : mode_(mode) {
    if (options.one_instruction) translated_->interpreter.cache().limit_blocks(1);
    auto created = Translator::create(translated_->cpu, translated_->interpreter.cache(), options);
    if (!created) return;
    translator_ = *std::move(created);
    translated_->interpreter.set_translated_code(translator_.get());
    for (TestCpu* test : both())
      for (unsigned vector = 0; vector < 20; ++vector) {
        tiny::write_gate(test->memory(), mode_, static_cast<std::uint8_t>(vector), tiny::kHandler + vector);
        test->poke<std::uint8_t>(tiny::kHandler + vector, kHlt);
      }
    const auto tables = interpreted_->memory().first(tiny::kMemorySize);
    pristine_.assign(tables.begin(), tables.end());
  }
  ~Pair() { translated_.reset(); }

  [[nodiscard]] bool works() const { return translator_ != nullptr; }
  [[nodiscard]] std::array<TestCpu*, 2> both() { return {&*interpreted_, &*translated_}; }
  [[nodiscard]] Cpu& cpu() { return translated_->cpu; }
  [[nodiscard]] Translator::Statistics statistics() const { return translator_->statistics(); }
  void observe(TranslationObserver& observer) { translator_->observe(observer); }

  bool answers_ports = false;
  std::array<std::vector<std::uint64_t>, 2> ports;  // what each wrote

  void set_gpr(unsigned n, std::uint64_t value) {
    for (TestCpu* test : both()) test->cpu.gpr.at(n) = value;
  }
  template <class T>
  void poke(std::uint64_t gpa, T value) {
    for (TestCpu* test : both()) test->poke(gpa, value);
  }
  /// Puts tables, handlers and debug registers in order, which a guest may have spoiled, and what else differs after
  /// one without end.
  void restart() {
    for (TestCpu* test : both()) {
      std::ranges::copy(pristine_, test->memory().begin());
      test->start(tiny::kCode);
      test->cpu.dr7 = dr7::kReset;
      test->cpu.cr4 |= cr4::kOsfxsr | cr4::kOsxmmexcpt | cr4::kOsxsave;
      test->cpu.update_mode();
    }
    if (!std::exchange(endless_, false)) return;
    std::ranges::copy(interpreted_->memory(), translated_->memory().begin());
  }
  /// Both run CODE, at RIP, until they halt.
  void run(const Code& code, std::uint64_t rip = tiny::kCode, std::uint64_t undefined_flags = 0) {
    std::array<StopReason, 2> reason{};
    for (unsigned i = 0; i < 2; ++i) {
      TestCpu& test = *both().at(i);
      std::memcpy(test.memory().data() + rip, code.data(), code.size());
      test.cpu.rip = rip;
      test.cpu.bus.clear();
      test.cpu.stop = StopReason::kNone;
      // A guest that spoiled its interrupt handlers may go on for ever, which is nobody's fault.
      if (i == 0) reason[0] = test.resume(kEnough);
      endless_ = reason[0] == StopReason::kBudget;
      if (endless_) return;
      if (i == 1) {
        decode(code, rip);
        reason[1] = test.resume(0);
      }
      while (answers_ports && reason.at(i) == StopReason::kBus) {
        BusAccess& access = test.cpu.bus.pending();
        ports.at(i).push_back(access.value);
        access.value = 0x20;
        test.cpu.bus.answered();
        reason.at(i) = test.resume(0);
      }
    }
    EXPECT_EQ(ports[0], ports[1]);
    EXPECT_EQ(reason[0], reason[1]);
    compare(reason[0] == StopReason::kHalt ? ~undefined_flags : 0);
  }

 private:
  static constexpr unsigned kEnough = 100000;  // instructions

  /// All blocks of CODE are known before it runs, so that translations have several parts though nothing is
  /// interpreted.
  void decode(const Code& code, std::uint64_t rip) {
    CodeCache& cache = translated_->interpreter.cache();
    for (std::size_t at = 0; at < code.size();) {
      translated_->cpu.rip = rip + at;
      at += cache.at_rip(cache.context()).bytes;
    }
    translated_->cpu.rip = rip;
  }

  void compare(std::uint64_t flags) {
    const Cpu& expected = interpreted_->cpu;
    const Cpu& actual = translated_->cpu;
    EXPECT_EQ(expected.rip, actual.rip);
    const std::uint64_t known = is_long() ? ~std::uint64_t{0} : 0xffff'ffffU;
    for (unsigned n = 0; n < kGprCount; ++n)
      EXPECT_EQ(expected.gpr.at(n) & known, actual.gpr.at(n) & known) << "register " << n;
    const bool faulted = expected.rip > tiny::kHandler && expected.rip <= tiny::kHandler + 20;
    // Flags that nobody reads are anything where an instruction does not come to its end.
    if (faulted) {
      hide_pushed_flags();
    } else {
      EXPECT_EQ(expected.rflags & flags, actual.rflags & flags);
    }
    for (unsigned n = 0; n < 32; ++n) EXPECT_EQ(expected.fpu.vector.at(n), actual.fpu.vector.at(n)) << "vector " << n;
    EXPECT_EQ(expected.fpu.mask, actual.fpu.mask);
    EXPECT_EQ(expected.fpu.mxcsr(), actual.fpu.mxcsr());
    EXPECT_EQ(x87_of(expected), x87_of(actual));
    EXPECT_EQ(expected.fpu.fcs, actual.fpu.fcs);
    EXPECT_EQ(expected.fpu.fds, actual.fpu.fds);
    const auto a = interpreted_->memory();
    const auto b = translated_->memory();
    if (std::memcmp(a.data(), b.data(), a.size()) != 0) {
      const auto at = static_cast<std::uint64_t>(std::ranges::mismatch(a, b).in1 - a.begin()) & ~std::uint64_t{7};
      ADD_FAILURE() << std::hex << "memory at " << at << ": " << interpreted_->peek<std::uint64_t>(at) << " and "
                    << translated_->peek<std::uint64_t>(at) << ", RSP " << expected.gpr[kRsp];
    }
  }
  /// Control, status, tags, what tells of the last instruction, then registers.
  static std::vector<std::byte> x87_of(const Cpu& cpu) {
    const auto& legacy = cpu.fpu.legacy;
    std::vector<std::byte> state(legacy.begin(), legacy.begin() + FpuState::kMxcsr);
    state.insert(state.end(), legacy.begin() + FpuState::kSt0, legacy.begin() + FpuState::kSt0 + 128);
    return state;
  }
  /// Of the exception's frame, with or without an error code, and of the one that it came upon in a handler.
  void hide_pushed_flags() {
    const std::vector<unsigned> words = is_long() ? std::vector{2U, 3U, 7U, 8U} : std::vector{2U, 3U, 5U, 6U, 7U};
    for (TestCpu* test : both())
      for (const unsigned number : words) {
        const std::uint64_t at = test->cpu.gpr[kRsp] + number * (is_long() ? 8 : 4);
        if (at < TestCpu::kMemorySize - 8)
          test->poke(at, test->peek<std::uint32_t>(at) & ~static_cast<std::uint32_t>(rflags::kArithmetic));
      }
  }
  [[nodiscard]] bool is_long() const { return mode_ == tiny::Mode::kLong64; }

  const tiny::Mode mode_;
  LowPointer<TestCpu> interpreted_ = make_low<TestCpu>(mode_);
  std::vector<std::byte> pristine_;  // what both memories begin with
  bool endless_ = false;
  std::unique_ptr<Translator> translator_;
  LowPointer<TestCpu> translated_ = make_low<TestCpu>(mode_);
};

/// With the modes whose code is translated.
class TranslatorTest : public testing::Test {
 protected:
  explicit TranslatorTest(tiny::Mode mode = tiny::Mode::kLong64, bool all_hot = false)
      : pair(mode, {.code_size = std::size_t{1} << 20U, .threshold = 0, .all_hot = all_hot}) {}
  void SetUp() override {
    if (!pair.works()) GTEST_SKIP() << "skipped: this host cannot translate";
  }
  Pair pair;
};

}  // namespace doppel::accel::soft::translator_rig
