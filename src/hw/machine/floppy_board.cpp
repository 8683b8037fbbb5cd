#include "hw/machine/floppy_board.h"

namespace doppel::hw {

Result<> check_place(const FloppyPlace& place) {
  if (!place.bus.empty() && place.bus != "floppy-bus.0")
    return fail(ErrorKind::kNotFound, "there is no floppy bus '{}'; it is floppy-bus.0", place.bus);
  if (place.unit < -1 || place.unit >= static_cast<std::int32_t>(I82077::kDrives))
    return fail(ErrorKind::kInvalidArgument, "unit={}: write unit=0 for drive A: or unit=1 for drive B:", place.unit);
  return {};
}

FloppyBoard::FloppyBoard(const MachineParts& parts, InterruptBoard& interrupts, IsaBoard& isa, BoardFirmware& firmware)
    : parts_(parts),
      rtc_(*isa.rtc()),
      firmware_(firmware),
      controller_(IrqPin{&interrupts, I82077::kIrq}, *isa.dma(), parts.log.named("fdc")) {}

Result<std::unique_ptr<FloppyBoard>> FloppyBoard::create(const MachineParts& parts, InterruptBoard& interrupts,
                                                         IsaBoard& isa, PortMap& ports, BoardFirmware& firmware) {
  std::unique_ptr<FloppyBoard> board(new FloppyBoard(parts, interrupts, isa, firmware));
  I82077& fdc = board->controller_;
  DOPPEL_TRY(ports.add("fdc", I82077::kFirstPort, I82077::kPortCount, fdc.ports(), I82077::kIoSizes));
  DOPPEL_TRY(ports.add("fdc", I82077::kRatePort, 1, fdc.rate_port(), I82077::kIoSizes));
  return board;
}

Result<unsigned> FloppyBoard::choose(const FloppyPlace& place) const {
  for (unsigned unit = 0; unit < I82077::kDrives; ++unit)
    if ((place.unit < 0 || unit == static_cast<unsigned>(place.unit)) && !controller_.has_drive(unit)) return unit;
  if (place.unit < 0) return fail(ErrorKind::kNoSpace, "the PC has two floppy drives already; there is no third plug");
  return fail(ErrorKind::kAlreadyExists,
              "there is a floppy drive with unit={} already; write another unit=", place.unit);
}

Result<> FloppyBoard::add_drive(const FloppyConfig& config, const FloppyPlace& place) {
  DOPPEL_ASSIGN(const unsigned unit, choose(place));
  block::Disk* medium = nullptr;
  if (!config.drive.empty()) {
    DOPPEL_ASSIGN(medium, parts_.find_disk(config.drive));
    if (medium->size() == 0)
      return fail(ErrorKind::kInvalidArgument,
                  "the image of drive '{}' is empty; 'doppel-img create FILE 1440K' makes a floppy", config.drive);
  }
  controller_.add_drive(unit, medium);
  set_floppies(rtc_, {controller_.drive_type(0), controller_.drive_type(1)});
  if (config.bootindex < 0) return {};
  return firmware_.add_boot_device(static_cast<std::uint32_t>(config.bootindex),
                                   fmt::format("/pci@i0cf8/isa@1/fdc@03f0/floppy@{}", unit));
}

}  // namespace doppel::hw
