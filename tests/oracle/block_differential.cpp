// Runs random blocks of 1 to 20 instructions both natively and by the translator, and compares everything: with
// operands near the ends of pages, faults in the middle, and code that the block itself or a device changes.
//   block_differential [--seed S] [--cases N] [--seconds T] [--states N] [--shown N] [--verify 1] [--hot 1]
// Each block is of a seed of its own, counted up from S; a case is a block and a state. --verify 1 has the translator
// run in lockstep with the interpreter as well. Exit status 1: there are mismatches.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "accel/soft/runtime/host_fault.h"
#include "accel/soft/runtime/low_memory.h"
#include "base/text.h"
#include "block_generator.h"
#include "block_guest.h"
#include "comparison.h"
#include "native_runner.h"

namespace doppel::oracle {

namespace {

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t cases = 0;    // 0: no limit
  std::uint64_t seconds = 0;  // 0: no limit
  std::uint64_t states = 8;   // for each block
  std::uint64_t shown = 5;    // mismatches
  std::uint64_t verify = 0;
  std::uint64_t hot = 0;
};

constexpr unsigned kMostSteps = 20;

std::string text_of(const CodeBlock& block) {
  std::string text;
  for (const BlockStep& step : block.steps) {
    std::string bytes;
    for (const std::uint8_t byte : step.sample.bytes()) bytes += fmt::format("{:02x} ", byte);
    text += fmt::format("    {:x}  {:<40} {}\n", step.sample.address, bytes, step.sample.text());
  }
  return text;
}

/// Where a run that hangs or crashes was.
std::string current;

void report_hang(int) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, current.data(), current.size());
  ::_exit(3);
}

/// The translator keeps all signals but those of faults away from this thread. No handler may use its stack.
void let_other_signals_through() {
  accel::soft::refuse_other_signals();
  struct sigaction action{};
  action.sa_handler = report_hang;
  action.sa_flags = SA_ONSTACK;
  ::sigaction(SIGALRM, &action, nullptr);
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (const int signal : {SIGALRM, SIGTRAP, SIGINT, SIGTERM}) ::sigaddset(&wanted, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &wanted, nullptr);
}

class BlockDifferential {
 public:
  explicit BlockDifferential(const Options& options)
      : options_(options), end_(Clock::now() + std::chrono::seconds(options.seconds)) {}

  int run();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_over() const {
    if (options_.cases != 0 && cases_ >= options_.cases) return true;
    return options_.seconds != 0 && Clock::now() >= end_;
  }
  void try_block(std::uint64_t seed);
  void place(const CodeBlock& block);
  void change_code(CodeBlock& block, Random& random);
  void try_state(CodeBlock& block, std::uint64_t seed, std::uint64_t number);
  [[nodiscard]] Tolerance tolerance_for(const CodeBlock& block, const Ending& native) const;
  void report(const CodeBlock& block, std::uint64_t seed, std::uint64_t number, const Outcome& native,
              const Outcome& guest);
  void summarise() const;

  const Options options_;
  const Clock::time_point end_;
  const InstructionForms forms_;
  GuestRunner rehearsed_{host_fs_base(), NativeRunner::kGsBase};
  const accel::soft::LowPointer<BlockGuest> guest_owner_ =
      accel::soft::make_low<BlockGuest>(host_fs_base(), NativeRunner::kGsBase,
                                        BlockGuest::Options{.verify = options_.verify != 0, .hot = options_.hot != 0});
  BlockGuest& guest_ = *guest_owner_;
  NativeRunner native_{CodePages::kWritable};
  BlockGenerator generator_{forms_, rehearsed_, host_fs_base(), NativeRunner::kGsBase};

  ProcessorState before_;
  Memory memory_before_ = Memory(layout::kDataSize);
  BlockGenerator::Rehearsal rehearsal_;
  std::uint64_t blocks_ = 0;
  std::uint64_t cases_ = 0;
  std::uint64_t faults_ = 0;
  std::uint64_t given_up_ = 0;  // states that were not safe
  std::uint64_t changed_ = 0;   // cases in which the code changed
  std::uint64_t mismatches_ = 0;
};

int BlockDifferential::run() {
  fmt::print("seed {}\n", options_.seed);
  if (!guest_.complaint().empty()) {
    fmt::print("skipped: {}\n", guest_.complaint());
    return 77;
  }
  let_other_signals_through();
  for (std::uint64_t seed = options_.seed; !is_over(); ++seed) try_block(seed);
  ::alarm(0);
  summarise();
  return mismatches_ == 0 ? 0 : 1;
}

void BlockDifferential::try_block(std::uint64_t seed) {
  constexpr unsigned kHangSeconds = 20;
  Random random(seed);
  CodeBlock block = generator_.draw(random, 1 + static_cast<unsigned>(random.below(kMostSteps)));
  ++blocks_;
  current = fmt::format("the block of seed {} does not end:\n{}", seed, text_of(block));
  ::alarm(kHangSeconds);
  place(block);
  before_ = block.start;
  memory_before_ = block.memory;
  for (std::uint64_t number = 0; number < options_.states; ++number) {
    try_state(block, seed, number);
    generator_.vary(block, random, before_, memory_before_);
    if (random.one_in(4)) change_code(block, random);
  }
}

void BlockDifferential::place(const CodeBlock& block) {
  native_.place(block.address, block.bytes);
  // INT3 is how both end; what the native side jumps back by is no code of the guest's.
  static constexpr std::array<std::uint8_t, layout::kCodeSize> kInt3s = [] {
    std::array<std::uint8_t, layout::kCodeSize> bytes{};
    bytes.fill(0xcc);
    return bytes;
  }();
  guest_.write_code(layout::kCode, kInt3s);
  guest_.write_code(block.address, block.bytes);
}

/// As a device would: an instruction that is changed by the block itself too.
void BlockDifferential::change_code(CodeBlock& block, Random& random) {
  if (block.patched.empty()) return;
  const std::uint64_t address = block.address + block.patched[random.below(block.patched.size())];
  const auto value = static_cast<std::uint32_t>(random.integer());
  std::array<std::uint8_t, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  std::memcpy(native_.code().data() + (address - layout::kCode), bytes.data(), bytes.size());
  guest_.write_code(address, bytes);
}

void BlockDifferential::try_state(CodeBlock& block, std::uint64_t seed, std::uint64_t number) {
  const std::size_t offset = block.address - layout::kCode;
  const auto code = native_.code().subspan(offset, block.bytes.size());
  std::vector<std::uint8_t> image(block.bytes.size());
  std::memcpy(image.data(), code.data(), code.size());
  std::ranges::copy(memory_before_, rehearsed_.data().begin());
  rehearsal_ = generator_.rehearse(block, before_, image);
  if (!rehearsal_.safe) {
    ++given_up_;
    return;
  }
  std::ranges::copy(memory_before_, native_.data().begin());
  std::ranges::copy(memory_before_, guest_.data().begin());
  ProcessorState native_state = before_;
  ProcessorState guest_state = before_;
  const Ending native_ending = native_.run_block(native_state);
  const Ending guest_ending = guest_.run(guest_state);
  ++cases_;
  if (native_ending.vector != Ending::kNoFault) ++faults_;
  if (!std::ranges::equal(image, block.bytes, [](std::uint8_t a, std::uint8_t b) { return a == b; })) ++changed_;
  const Outcome native{.state = native_state, .ending = native_ending, .memory = native_.data()};
  const Outcome guest{.state = guest_state, .ending = guest_ending, .memory = guest_.data()};
  const bool same_code = std::ranges::equal(code, guest_.code().subspan(offset, code.size()));
  if (same_code && same(native, guest, tolerance_for(block, native_ending))) return;
  ++mismatches_;
  if (mismatches_ > options_.shown) return;
  report(block, seed, number, native, guest);
  if (!same_code) fmt::print("  the code differs\n");
}

/// Where an instruction does not come to its end, flags that the block would have written next are anything.
Tolerance BlockDifferential::tolerance_for(const CodeBlock& block, const Ending& native) const {
  const bool faulted = native.vector != Ending::kNoFault;
  return {.rflags = faulted ? x86::rflags::kArithmetic : block.undefined_flags, .cr2 = block.cr2_tolerance};
}

void BlockDifferential::report(const CodeBlock& block, std::uint64_t seed, std::uint64_t number, const Outcome& native,
                               const Outcome& guest) {
  fmt::print("\nMISMATCH seed {}, state {}:\n{}    rflags {:x} mxcsr {:x}", seed, number, text_of(block),
             before_.rflags, before_.fpu.mxcsr());
  for (std::size_t i = 0; i < before_.gpr.size(); ++i)
    fmt::print("{}{:016x}", i % 8 == 0 ? "\n    " : " ", before_.gpr.at(i));
  fmt::print("\n");
  const Tolerance tolerance = tolerance_for(block, native.ending);
  for (const std::string& line : differences(before_, memory_before_, native, guest, tolerance))
    fmt::print("  {}\n", line);
  const Outcome interpreted{
      .state = rehearsal_.state, .ending = rehearsal_.ending, .memory = std::as_const(rehearsed_).data()};
  fmt::print("  the interpreter agrees with {}\n", same(native, interpreted, tolerance)  ? "the host"
                                                   : same(guest, interpreted, tolerance) ? "the translator"
                                                                                         : "neither");
  if (guest.ending.vector == BlockGuest::kDifferent) fmt::print("{}\n", guest_.translator().verifier()->difference());
}

void BlockDifferential::summarise() const {
  const accel::soft::Translator::Statistics code = guest_.translator().statistics();
  fmt::print(
      "{} blocks, {} cases ({} faulting, {} with changed code, {} given up), {} translations entered {} times, {} "
      "mismatches\n",
      blocks_, cases_, faults_, changed_, given_up_, code.translations, code.entries, mismatches_);
  if (const accel::soft::Verifier* verifier = guest_.translator().verifier())
    fmt::print("{} instructions in {} blocks compared with the interpreter, {} differences\n",
               verifier->statistics().instructions, verifier->statistics().stretches,
               verifier->statistics().differences);
}

bool parse(int argc, char** argv, Options& options) {
  struct Number {
    std::string_view name;
    std::uint64_t Options::* field;
  };
  static constexpr std::array kNumbers = {Number{"--seed", &Options::seed},       Number{"--cases", &Options::cases},
                                          Number{"--seconds", &Options::seconds}, Number{"--states", &Options::states},
                                          Number{"--shown", &Options::shown},     Number{"--verify", &Options::verify},
                                          Number{"--hot", &Options::hot}};
  for (int i = 1; i < argc; i += 2) {
    const auto number = std::ranges::find(kNumbers, std::string_view(argv[i]), &Number::name);
    if (number == kNumbers.end() || i + 1 >= argc) return false;
    const std::string_view value = argv[i + 1];
    const auto parsed = doppel::parse_number(value);
    if (!parsed) return false;
    options.*number->field = *parsed;
  }
  return options.cases != 0 || options.seconds != 0;
}

}  // namespace

}  // namespace doppel::oracle

int main(int argc, char** argv) {
  using namespace doppel::oracle;
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr, "{}: see the head of block_differential.cpp for the options; cases or seconds must be said\n",
               argv[0]);
    return 2;
  }
  return std::make_unique<BlockDifferential>(options)->run();
}
