// What a user may say of the translator.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doppel::accel::soft {

struct TranslationOptions {
  bool on = true;                                  // off: everything is interpreted
  std::size_t code_size = std::size_t{64} << 20U;  // bytes per vCPU
  /// A block is interpreted that often before it is translated.
  unsigned threshold = 12;
  /// So many times each translation runs in lockstep with the interpreter, before it runs by itself. 0: never.
  std::uint64_t verify = 0;
  static constexpr std::uint64_t kAlways = ~std::uint64_t{0};
};

}  // namespace doppel::accel::soft
