// Runs random instructions on random states both natively and by the interpreter, and compares everything.
//   host_differential [--seed S] [--cases N] [--mnemonic X] [--seconds T] [--states N] [--shown N] [--exclusions]
// --mnemonic takes a whole mnemonic, or the beginning of some with a '*' behind. Exit status 1: there are mismatches.
#include <fmt/format.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "comparison.h"
#include "guest_runner.h"
#include "instruction_forms.h"
#include "native_runner.h"
#include "random.h"
#include "state_generator.h"

namespace doppel::oracle {

namespace {

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t cases = 0;     // 0: no limit
  std::uint64_t seconds = 0;   // 0: one round through all forms
  std::uint64_t states = 100;  // for each instruction
  std::uint64_t shown = 2;     // mismatches of each mnemonic
  std::string mnemonic;
  bool lists_exclusions = false;
};

struct Tally {
  std::uint64_t cases = 0;
  std::uint64_t faults = 0;
  std::uint64_t mismatches = 0;
};

/// Where a run that hangs or crashes was.
const Sample* current_sample = nullptr;

void report_hang(int) {
  if (current_sample != nullptr) {
    const std::string text = current_sample->text() + " does not end\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
  }
  ::_exit(3);
}

class Differential {
 public:
  explicit Differential(const Options& options)
      : options_(options), random_(options.seed), end_(Clock::now() + std::chrono::seconds(options.seconds)) {}

  int run();

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool is_over() const {
    if (options_.cases != 0 && total_.cases >= options_.cases) return true;
    return options_.seconds != 0 && Clock::now() >= end_;
  }
  void round(const std::vector<const Form*>& forms);
  void try_sample(const Form& form, const Sample& sample);
  /// SAMPLE is of an instruction set that CPUID does not show; the host need not agree, since whoever runs it may hide
  /// what its processor has.
  void expect_undefined(const Sample& sample);
  /// How the instruction ended natively.
  Ending try_state(const Sample& sample, const Tolerance& tolerance, Tally& tally);
  void report(const Sample& sample, const Outcome& native, const Outcome& guest, const Tolerance& tolerance);
  void summarise() const;
  [[nodiscard]] bool is_wanted(const Form& form) const;

  const Options options_;
  Random random_;
  const Clock::time_point end_;
  const InstructionForms forms_;
  std::unique_ptr<GuestRunner> guest_owner_ = make_guest();
  GuestRunner& guest_ = *guest_owner_;
  NativeRunner native_;
  StateGenerator generator_{random_, host_fs_base(), NativeRunner::kGsBase};

  ProcessorState before_;
  std::vector<std::byte> memory_before_ = std::vector<std::byte>(layout::kDataSize);
  std::map<std::string_view, Tally> by_set_;
  std::map<std::string_view, Tally> by_mnemonic_;
  Tally total_;
  std::uint64_t samples_ = 0;
  std::uint64_t hidden_ = 0;  // instructions that are #UD since CPUID does not show them

  static std::unique_ptr<GuestRunner> make_guest() {
    return std::make_unique<GuestRunner>(host_fs_base(), NativeRunner::kGsBase);
  }
};

bool Differential::is_wanted(const Form& form) const {
  if (options_.mnemonic.empty()) return true;
  const std::string_view name = ZydisMnemonicGetString(form.mnemonic);
  const std::string_view wanted = options_.mnemonic;
  return wanted.ends_with('*') ? name.starts_with(wanted.substr(0, wanted.size() - 1)) : name == wanted;
}

int Differential::run() {
  std::vector<const Form*> forms;
  for (const Form& form : forms_.forms())
    if (is_wanted(form)) forms.push_back(&form);
  fmt::print("seed {}, {} forms of instructions\n", options_.seed, forms.size());
  if (forms.empty()) return 2;
  std::signal(SIGALRM, report_hang);
  do round(forms);
  while (!is_over() && (options_.seconds != 0 || options_.cases != 0));
  ::alarm(0);
  summarise();
  return total_.mismatches == 0 ? 0 : 1;
}

void Differential::round(const std::vector<const Form*>& forms) {
  // In a new order each time, so that a short run misses other forms than the last.
  std::vector<const Form*> order = forms;
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_.below(i)]);
  for (const Form* form : order) {
    if (is_over()) return;
    for (unsigned attempt = 0; attempt < 64; ++attempt) {
      const auto sample = forms_.draw(*form, random_, NativeRunner::kGsBase);
      if (!sample) continue;
      try_sample(*form, *sample);
      break;
    }
  }
}

void Differential::try_sample(const Form& form, const Sample& sample) {
  constexpr unsigned kHangSeconds = 20;
  current_sample = &sample;
  ::alarm(kHangSeconds);
  ++samples_;
  if (!guest_.decode(sample.address, sample.bytes())) {
    fmt::print("{}: the decoder wants more bytes\n", sample.text());
    ++total_.mismatches;
    return;
  }
  if (!guest_.has(sample.zydis.meta.isa_set)) return expect_undefined(sample);
  native_.place(sample.address, sample.bytes());
  generator_.begin(sample, native_.data());
  std::ranges::copy(native_.data(), guest_.data().begin());
  const Tolerance tolerance = tolerance_of(sample);
  Tally tally;
  unsigned faults_in_row = 0;
  for (std::uint64_t i = 0; i < options_.states; ++i) {
    // Signals are slow: an instruction that always faults need not prove it often.
    const Ending ending = try_state(sample, tolerance, tally);
    faults_in_row = ending.vector == Ending::kNoFault ? 0 : faults_in_row + 1;
    if (faults_in_row >= 4 && tally.faults == tally.cases) break;
  }
  current_sample = nullptr;
  for (Tally* sum :
       {&by_set_[ZydisISASetGetString(form.isa_set)], &by_mnemonic_[ZydisMnemonicGetString(form.mnemonic)], &total_}) {
    sum->cases += tally.cases;
    sum->faults += tally.faults;
    sum->mismatches += tally.mismatches;
  }
}

void Differential::expect_undefined(const Sample& sample) {
  ++hidden_;
  ProcessorState state;
  if (guest_.run(state).vector == x86::kInvalidOpcode) return;
  fmt::print("{} [{}] is no #UD\n", sample.text(), ZydisISASetGetString(sample.zydis.meta.isa_set));
  ++total_.mismatches;
}

Ending Differential::try_state(const Sample& sample, const Tolerance& tolerance, Tally& tally) {
  if (!generator_.next(before_, native_.data())) return {};
  std::ranges::copy(native_.data(), guest_.data().begin());
  std::ranges::copy(native_.data(), memory_before_.begin());
  ProcessorState native_state = before_;
  ProcessorState guest_state = before_;
  const Ending native_ending = native_.run(native_state);
  const Ending guest_ending = guest_.run(guest_state);
  if (tolerance.image_holes != 0)
    fill_holes(tolerance, generator_.address_of_memory(before_), native_.data(), guest_.data());
  ++tally.cases;
  if (native_ending.vector != Ending::kNoFault) ++tally.faults;
  const Outcome native{.state = native_state, .ending = native_ending, .memory = native_.data()};
  const Outcome guest{.state = guest_state, .ending = guest_ending, .memory = guest_.data()};
  if (same(native, guest, tolerance)) return native_ending;
  ++tally.mismatches;
  if (by_mnemonic_[ZydisMnemonicGetString(sample.zydis.mnemonic)].mismatches + tally.mismatches <= options_.shown)
    report(sample, native, guest, tolerance);
  return native_ending;
}

void Differential::report(const Sample& sample, const Outcome& native, const Outcome& guest,
                          const Tolerance& tolerance) {
  std::string bytes;
  for (const std::uint8_t byte : sample.bytes()) bytes += fmt::format("{:02x} ", byte);
  fmt::print("\nMISMATCH {:x}: {} {} [{}]\n    {}\n", sample.address, bytes, sample.text(),
             ZydisISASetGetString(sample.zydis.meta.isa_set), describe_inputs(sample, before_));
  for (const std::string& line : differences(before_, memory_before_, native, guest, tolerance))
    fmt::print("  {}\n", line);
}

void Differential::summarise() const {
  fmt::print("\n{:24} {:>12} {:>10} {:>10}\n", "instruction set", "cases", "faulting", "mismatches");
  for (const auto& [name, tally] : by_set_)
    fmt::print("{:24} {:12} {:10} {:10}\n", name, tally.cases, tally.faults, tally.mismatches);
  std::string failing;
  for (const auto& [name, tally] : by_mnemonic_)
    if (tally.mismatches != 0) failing += fmt::format(" {}({}/{})", name, tally.mismatches, tally.cases);
  if (!failing.empty()) fmt::print("\nmismatches in:{}\n", failing);
  fmt::print("\n{} mnemonics, {} instructions and {} that CPUID does not show, {} cases ({} faulting), {} mismatches\n",
             by_mnemonic_.size(), samples_ - hidden_, hidden_, total_.cases, total_.faults, total_.mismatches);
}

void list_exclusions() {
  const InstructionForms forms;
  for (const auto& [reason, mnemonics] : forms.excluded()) {
    fmt::print("{}:\n ", reason);
    for (const auto& [mnemonic, count] : mnemonics) fmt::print(" {}", mnemonic);
    fmt::print("\n");
  }
}

bool parse(int argc, char** argv, Options& options) {
  struct Number {
    std::string_view name;
    std::uint64_t Options::* field;
  };
  static constexpr std::array kNumbers = {Number{"--seed", &Options::seed}, Number{"--cases", &Options::cases},
                                          Number{"--seconds", &Options::seconds}, Number{"--states", &Options::states},
                                          Number{"--shown", &Options::shown}};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--exclusions") {
      options.lists_exclusions = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    const std::string_view value = argv[++i];
    if (name == "--mnemonic") {
      options.mnemonic = value;
      continue;
    }
    const auto number = std::ranges::find(kNumbers, name, &Number::name);
    if (number == kNumbers.end()) return false;
    const auto parsed = doppel::parse_number(value);
    if (!parsed) return false;
    options.*number->field = *parsed;
  }
  return true;
}

}  // namespace

}  // namespace doppel::oracle

int main(int argc, char** argv) {
  using namespace doppel::oracle;
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr, "{}: see the head of host_differential.cpp for the options\n", argv[0]);
    return 2;
  }
  if (options.lists_exclusions) return list_exclusions(), 0;
  return std::make_unique<Differential>(options)->run();
}
