#include "hw/machine/video_board.h"

#include <utility>

#include "base/bits.h"
#include "hw/firmware/firmware_image.h"
#include "hw/machine/board.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kLargestRomFile = 16 * kMiB;

Result<Blob> read_rom(const Board& board, const std::string& name) {
  if (name.empty()) return Blob();
  DOPPEL_ASSIGN(const std::string path, find_firmware(name, board.config().firmware_directories));
  return read_blob(path, kLargestRomFile);
}

}  // namespace

void BoardKeyboard::key(std::string_view name, bool pressed) {
  if (const auto code = key_from_name(name)) controller_.key_event(*code, pressed);
}

Result<> add_vga(Board& board, const VgaConfig& config, const PciPlace& place) {
  DOPPEL_TRY(board.check_has_pci());
  if (board.video().vga != nullptr)
    return fail(ErrorKind::kAlreadyExists, "there is a VGA already; with a -device VGA of your own write '-vga none'");
  auto rom = read_rom(board, config.romfile);
  if (!rom)
    return std::unexpected(std::move(rom).error().wrap("no video BIOS; write romfile=FILE, or install seabios"));
  DOPPEL_ASSIGN(auto vga, Vga::create(board.pci_services("vga"), config, rom->bytes()));
  vga->set_multifunction(place.multifunction);
  for (const Vga::PortRange& ports : Vga::kPorts) DOPPEL_TRY(board.ports().reserve("vga", ports.first, ports.count));
  Vga* const plugged = vga.get();
  DOPPEL_TRY(board.plug(std::move(vga), place.bus, place.addr));
  board.video().vga = plugged;
  return {};
}

}  // namespace doppel::hw
