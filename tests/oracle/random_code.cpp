// Random bytes as guest code in every mode, for crashes and hangs: what tests/fuzz/soft_cpu_fuzz.cpp does, without a
// fuzzer.
//   random_code [SEED [SECONDS]]
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "fuzz/random_guest.h"
#include "random.h"

namespace {

std::uint64_t current_seed = 0;

/// One guest takes milliseconds.
[[noreturn]] void report_hang(int) {
  fmt::print(stderr, "the guest of seed {} does not end\n", current_seed);
  std::_Exit(1);
}

void run_guest(std::uint64_t seed) {
  doppel::oracle::Random random(seed);
  std::vector<std::uint8_t> bytes(128 + random.below(512));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.next() >> 32U);
  doppel::fuzz::FuzzInput input(bytes.data(), bytes.size());
  doppel::fuzz::RandomGuest(input).run();
}

}  // namespace

int main(int argc, char** argv) {
  constexpr unsigned kHangSeconds = 20;
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 1;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(argc > 2 ? std::atoi(argv[2]) : 1);
  std::signal(SIGALRM, report_hang);
  for (current_seed = seed; std::chrono::steady_clock::now() < end || current_seed == seed; ++current_seed) {
    ::alarm(kHangSeconds);
    run_guest(current_seed);
  }
  fmt::print("{} guests from seed {} on came to an end\n", current_seed - seed, seed);
  return 0;
}
