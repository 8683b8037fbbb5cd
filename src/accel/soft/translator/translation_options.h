// What a user may say of the translator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace doppel::accel::soft {

struct TranslationOptions {
  bool on = true;                                  // off: everything is interpreted
  std::size_t code_size = std::size_t{64} << 20U;  // bytes per vCPU, and as much at most for what is known of the code
  /// A block is interpreted that often before it is translated.
  unsigned threshold = 6;
  bool one_instruction = false;  // per block, interpreted ones too
  /// May translations jump straight to what is at LINEAR? Else it is entered by the run loop alone. None: to all.
  std::function<bool(std::uint64_t linear)> may_chain_to{};
  /// So many times each translation runs in lockstep with the interpreter, before it runs by itself. 0: never.
  std::uint64_t verify = 0;
  bool count_lookups = false;  // in translated code, too, for which it is longer
  bool all_hot = false;        // code has what else is for hot code alone, for tests
  static constexpr std::uint64_t kAlways = ~std::uint64_t{0};
};

/// Files that tell `perf` about generated code.
struct ProfileOptions {
  bool perf_map = false;
  bool jit_dump = false;
};

}  // namespace doppel::accel::soft
