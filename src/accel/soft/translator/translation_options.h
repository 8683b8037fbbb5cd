// What a user may say of the translator.
#pragma once

#include <cstddef>

namespace doppel::accel::soft {

struct TranslationOptions {
  bool on = true;                                  // off: everything is interpreted
  std::size_t code_size = std::size_t{64} << 20U;  // bytes per vCPU
  /// A block is interpreted that often before it is translated.
  unsigned threshold = 12;
};

}  // namespace doppel::accel::soft
