// Recorded one-instruction tests of the SingleStepTests project: gzip files of tagged chunks (their MOO format).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace doppel::oracle {

/// Registers in the order of a REGS chunk's mask.
enum class MooRegister : std::uint8_t { kAx, kBx, kCx, kDx, kCs, kSs, kDs, kEs, kSp, kBp, kSi, kDi, kIp, kFlags };
inline constexpr std::size_t kMooRegisters = 14;

struct MooState {
  std::array<std::optional<std::uint16_t>, kMooRegisters> registers;
  std::vector<std::pair<std::uint32_t, std::uint8_t>> memory;  // address, byte

  [[nodiscard]] std::optional<std::uint16_t> at(MooRegister reg) const {
    return registers.at(static_cast<std::size_t>(reg));
  }
};

struct MooTest {
  std::uint32_t number = 0;
  std::string name;
  std::vector<std::uint8_t> bytes;
  MooState before;
  MooState after;                         // what changed
  std::optional<std::uint8_t> exception;  // its vector
};

/// All tests of the file at PATH.
Result<std::vector<MooTest>> read_moo_file(const std::filesystem::path& path);

}  // namespace doppel::oracle
