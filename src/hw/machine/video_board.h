// The display adapter of `-device VGA`, and the keyboard as the user's terminal reaches it.
#pragma once

#include <memory>

#include "hw/display/vga.h"
#include "hw/input/i8042.h"
#include "hw/machine/pci_place.h"
#include "ui/screen.h"

namespace doppel::hw {

class Board;

/// Keys by their names, for the keyboard controller.
class BoardKeyboard final : public ui::KeySink {
 public:
  explicit BoardKeyboard(I8042& controller) : controller_(controller) {}
  void key(std::string_view name, bool pressed) override;

 private:
  I8042& controller_;
};

/// What of a board the user sees and types on.
struct VideoBoard {
  Vga* vga = nullptr;  // the board's
  std::unique_ptr<BoardKeyboard> keyboard;
};

/// A board has room for one. Its video BIOS is looked for where firmware is.
Result<> add_vga(Board& board, const VgaConfig& config, const PciPlace& place);

}  // namespace doppel::hw
