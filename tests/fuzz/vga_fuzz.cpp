// The VGA: its ports, its window and registers in memory, configuration space, and the picture that comes of it.
#include "fuzz/fuzz_input.h"
#include "hw/display/text_screen.h"
#include "hw/display/vga.h"
#include "hw/pci/pci_test_rig.h"

using namespace doppel;

namespace {

constexpr std::uint64_t kFrameBuffer = 0xe000'0000;
constexpr std::uint64_t kRegisters = 0xf000'0000;

/// A bus access of 1 to 8 bytes somewhere in the COUNT bytes from FIRST.
void touch(fuzz::FuzzInput& input, memory::AddressSpace& space, std::uint64_t first, std::uint64_t count) {
  const auto kind = input.take<std::uint8_t>();
  const unsigned size = 1U << (kind >> 1U & 3U);
  const memory::GuestPhysAddr address{first + input.below(count)};
  if ((kind & 1U) == 0) return static_cast<void>(space.read(address, size));
  space.write(address, size, input.take<std::uint64_t>());
}

void look(hw::Vga& vga, ui::Screen& screen) {
  vga.read_screen(screen);
  const bool is_text = screen.kind == ui::ScreenKind::kText;
  fuzz::require(screen.cells.size() == (is_text ? std::size_t{screen.width} * screen.height : 0), "a cell each");
  if (!is_text) return;
  fuzz::require(screen.width <= hw::kMostTextColumns && screen.height <= hw::kMostTextRows, "text is bounded");
  fuzz::require(!screen.cursor.visible || (screen.cursor.row < screen.height && screen.cursor.column < screen.width),
                "the cursor is on the screen");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  hw::test::PciRig rig;
  const auto vga = hw::Vga::create(rig.services(), {.vgamem_mb = 1}, {}).value();
  fuzz::require(rig.bus.attach(*vga).has_value(), "a slot is free");
  rig.bus.reset();
  vga->config_write(0x10, 4, kFrameBuffer);
  vga->config_write(0x18, 4, kRegisters);
  vga->config_write(hw::pci::kCommand, 2, 3);
  rig.out(0x3c2, 1, 0x67);
  ui::Screen screen;
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 9); kind) {
      case 3: touch(input, rig.io_space, 0x3b0, 0x30); break;
      case 4: touch(input, rig.io_space, 0x1ce, 4); break;
      case 5: touch(input, rig.memory_space, 0xa0000, 0x20000); break;
      case 6: touch(input, rig.memory_space, kRegisters, 0x620); break;
      case 7: touch(input, rig.memory_space, kFrameBuffer, 1U << 20U); break;
      case 8: look(*vga, screen); break;
      case 9: {  // a register by its index
        static constexpr std::uint16_t kIndexPorts[] = {0x3c4, 0x3ce, 0x3d4};
        rig.out(kIndexPorts[input.below(3)], 2, input.below(32) | unsigned{input.take<std::uint8_t>()} << 8U);
        break;
      }
      case 10:
        rig.out(0x1ce, 2, input.below(12));
        rig.out(0x1cf, 2, input.take<std::uint16_t>());
        break;
      case 11: vga->config_write(input.below(0x40) & ~3U, 4, input.take<std::uint32_t>()); break;
      default: fuzz::common_operation(input, *vga, kind);
    }
  }
  look(*vga, screen);
  return 0;
}
