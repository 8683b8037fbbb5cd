#include "accel/soft/interpreter/unstubbed.h"

#include <algorithm>
#include <array>

#include "accel/soft/interpreter/availability.h"

namespace doppel::accel::soft {

namespace {

/// Clears the registers that the mode has from byte FIRST on.
template <unsigned first>
void zero_vectors(Cpu& cpu, const Instruction&) {
  require(cpu, requirement::kAvx);
  const unsigned count = cpu.code_mode == CodeMode::kLong64 ? 16 : 8;
  for (unsigned n = 0; n < count; ++n)
    std::fill(cpu.fpu.vector[n].begin() + first, cpu.fpu.vector[n].end(), std::byte{0});
}

/// Guest memory is coherent; what remains is a one-byte read's checks (SDM 2A CLFLUSH).
void write_back_line(Cpu& cpu, const Instruction& i) {
  const std::uint64_t address = cpu.linear<AccessKind::kRead>(i.segment, cpu.effective_address(i), 1);
  cpu.probe(address, 1, AccessKind::kRead);
}

/// AMD's: the cache line at rAX becomes zero (APM 3 CLZERO).
void clzero(Cpu& cpu, const Instruction& i) {
  constexpr std::array<std::byte, 64> kZeros{};
  const std::uint64_t offset = cpu.gpr[x86::kRax] & low_mask(i.address_size * 8U) & ~std::uint64_t{kZeros.size() - 1};
  cpu.write_linear(cpu.linear<AccessKind::kWrite>(i.segment, offset, kZeros.size()), kZeros);
}

/// F2 and F3 in front make other opcodes of some, though the decoder takes them for nothing.
bool has_repeat_prefix(const Decoded& decoded) {
  const auto& raw = decoded.zydis.raw;
  return std::any_of(raw.prefixes, raw.prefixes + raw.prefix_count,
                     [](const auto& prefix) { return prefix.value == 0xf2 || prefix.value == 0xf3; });
}

}  // namespace

Handler select_unstubbed(const Decoded& decoded) {
  const bool real_mode = decoded.mode == CodeMode::kReal16;  // has no VEX
  switch (decoded.zydis.mnemonic) {
    case ZYDIS_MNEMONIC_VZEROALL: return real_mode ? nullptr : zero_vectors<0>;
    case ZYDIS_MNEMONIC_VZEROUPPER: return real_mode ? nullptr : zero_vectors<16>;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB: return write_back_line;
    case ZYDIS_MNEMONIC_CLZERO: return has_repeat_prefix(decoded) ? nullptr : clzero;
    default: return nullptr;
  }
}

}  // namespace doppel::accel::soft
