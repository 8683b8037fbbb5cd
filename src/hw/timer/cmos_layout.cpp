#include "hw/timer/cmos_layout.h"

#include <algorithm>

#include "base/bits.h"
#include "hw/timer/mc146818.h"
#include "hw/timer/mc146818_registers.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kBaseMemoryKiB = 640;
constexpr std::uint8_t kEquipmentFpu = 0x02;
constexpr std::uint8_t kEquipmentPs2Mouse = 0x04;
constexpr std::uint8_t kEquipmentFloppy = 0x01;
constexpr std::uint8_t kEquipmentTwoFloppies = 0x41;

/// VALUE as BYTES bytes from INDEX up, or all ones if it does not fit.
void put(Mc146818& chip, std::uint8_t index, unsigned bytes, std::uint64_t value) {
  value = std::min(value, low_mask(8 * bytes));
  for (unsigned i = 0; i < bytes; ++i)
    chip.set_cmos(static_cast<std::uint8_t>(index + i), static_cast<std::uint8_t>(value >> (8 * i)));
}

std::uint64_t above(std::uint64_t ram, std::uint64_t address) {
  return ram > address ? ram - address : 0;
}

Result<unsigned> boot_code(char letter) {
  switch (letter) {
    case 'a':
    case 'b': return 1U;
    case 'c': return 2U;
    case 'd': return 3U;
    case 'n': return 4U;
    default: return fail(ErrorKind::kInvalidArgument, "'{}' is no boot device: expected a, b, c, d or n", letter);
  }
}

std::uint8_t equipment(const std::array<FloppyDrive, 2>& installed) {
  const auto drives = std::ranges::count_if(installed, [](FloppyDrive drive) { return drive != FloppyDrive::kNone; });
  const unsigned floppies = drives == 2 ? kEquipmentTwoFloppies : drives == 1 ? kEquipmentFloppy : 0U;
  return static_cast<std::uint8_t>(kEquipmentFpu | kEquipmentPs2Mouse | floppies);
}

}  // namespace

Result<> set_boot_order(Mc146818& chip, std::string_view order, bool check_floppy_signature) {
  constexpr std::size_t kBootDevices = 3;
  std::array<unsigned, kBootDevices> boot{};
  if (order.size() > kBootDevices)
    return fail(ErrorKind::kInvalidArgument, "boot order '{}' names more than {} devices", order, kBootDevices);
  for (std::size_t i = 0; i < order.size(); ++i) {
    DOPPEL_ASSIGN(boot[i], boot_code(order[i]));
  }
  put(chip, rtc::kCmosBootOrder1, 1, boot[1] << 4U | boot[0]);
  put(chip, rtc::kCmosBootOrder2, 1, boot[2] << 4U | (check_floppy_signature ? 0U : 1U));
  return {};
}

void set_floppies(Mc146818& chip, const std::array<FloppyDrive, 2>& floppies) {
  put(chip, rtc::kCmosFloppyTypes, 1, static_cast<unsigned>(floppies[0]) << 4U | static_cast<unsigned>(floppies[1]));
  put(chip, rtc::kCmosEquipment, 1, equipment(floppies));
}

Result<> fill_cmos(Mc146818& chip, const CmosSetup& setup) {
  using namespace rtc;  // NOLINT: register names
  DOPPEL_TRY(set_boot_order(chip, setup.boot_order, setup.check_floppy_signature));
  put(chip, kCmosBaseMemory, 2, std::min(setup.ram_below_4g / kKiB, kBaseMemoryKiB));
  put(chip, kCmosExtendedMemory, 2, above(setup.ram_below_4g, kMiB) / kKiB);
  put(chip, kCmosExtendedMemory2, 2, above(setup.ram_below_4g, kMiB) / kKiB);
  put(chip, kCmosMemoryAbove16M, 2, above(setup.ram_below_4g, 16 * kMiB) / (64 * kKiB));
  put(chip, kCmosMemoryAbove4G, 3, setup.ram_above_4g / (64 * kKiB));
  put(chip, kCmosOtherCpus, 1, setup.cpus - 1);
  set_floppies(chip, setup.floppies);
  return {};
}

}  // namespace doppel::hw
