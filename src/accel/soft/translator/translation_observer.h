// Somebody who wants to see what the translator makes.
#pragma once

#include <cstdint>
#include <span>

namespace doppel::accel::soft {

struct BlockPlan;
struct Translation;

/// Generated code and where it is executed.
struct HostCode {
  std::uint64_t address = 0;
  std::span<const std::uint8_t> bytes;

  [[nodiscard]] HostCode part(std::size_t begin, std::size_t end) const {
    return {.address = address + begin, .bytes = bytes.subspan(begin, end - begin)};
  }
};

struct FreshTranslation {
  const BlockPlan& plan;
  const Translation& translation;
  HostCode hot;   // from the guarded entry on
  HostCode cold;  // its ways out
};

/// Called on the vCPU's thread.
class TranslationObserver {
 public:
  TranslationObserver() = default;
  virtual ~TranslationObserver() = default;
  TranslationObserver(const TranslationObserver&) = delete;
  TranslationObserver& operator=(const TranslationObserver&) = delete;

  virtual void translated(const FreshTranslation& fresh) = 0;
  /// The way into translated code and out of it, once for each vCPU.
  virtual void gate_generated(const HostCode& gate) = 0;
};

}  // namespace doppel::accel::soft
