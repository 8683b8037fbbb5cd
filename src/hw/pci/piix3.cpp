#include "hw/pci/piix3.h"

#include <utility>

#include "base/bits.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {.vendor_id = 0x8086, .device_id = 0x7000, .class_code = 0x060100};

constexpr unsigned kPirqRoute = 0x60;  // PIRQRC[A:D]
constexpr std::uint8_t kRouteDisabled = 0x80;
constexpr std::uint8_t kRouteIrq = 0x0f;
/// IRQs 0, 1, 2, 8 and 13 belong to the board.
constexpr std::uint16_t kRoutableIrqs = 0xdef8;

constexpr std::uint8_t kResetSystem = 0x02;  // SRST: hard rather than soft; the kind is the same to us
constexpr std::uint8_t kResetCpu = 0x04;     // RCPU: going to 1 resets

struct RegisterRow {
  unsigned offset;
  std::uint8_t reset;
  std::uint8_t writable;
};

/// Registers of section 2.2 with their reset values. But for PIRQRC they steer what is not on this board.
constexpr RegisterRow kRegisters[] = {
    {0x4c, 0x4d, 0x7f},                                                              // IORT
    {0x4e, 0x03, 0xff},                                                              // XBCS
    {0x4f, 0x00, 0x01}, {0x60, 0x80, 0x8f},                                          // PIRQRCA
    {0x61, 0x80, 0x8f}, {0x62, 0x80, 0x8f}, {0x63, 0x80, 0x8f}, {0x69, 0x02, 0xfe},  // TOM
    {0x6a, 0x00, 0x97},                                                              // MSTAT
    {0x6b, 0x00, 0x80}, {0x70, 0x80, 0x8f},                                          // MBIRQ0
    {0x76, 0x0c, 0x8f},                                                              // MBDMA0
    {0x77, 0x0c, 0x8f}, {0x78, 0x02, 0xff},                                          // PCSC
    {0x79, 0x00, 0xff}, {0x80, 0x00, 0x7f},                                          // APICBASE
    {0x82, 0x00, 0x0f},                                                              // DLC
    {0xa0, 0x08, 0xff},                                                              // SMICNTL
    {0xa2, 0x00, 0xff},                                                              // SMIEN
    {0xa3, 0x00, 0x01}, {0xa4, 0x00, 0xff},                                          // SEE
    {0xa5, 0x00, 0xff}, {0xa6, 0x00, 0xff}, {0xa7, 0x00, 0xff}, {0xa8, 0x00, 0xff},  // FTMR
    {0xaa, 0x00, 0x7f},                                                              // SMIREQ
    {0xac, 0x00, 0xff},                                                              // CTLTMR
    {0xae, 0x00, 0xff},                                                              // CTHTMR
};

struct Piix3State {
  static constexpr std::string_view kName = "PIIX3";
  static constexpr std::uint32_t kVersion = 1;
  std::uint8_t reset_control = 0;
  void describe(auto& fields) { fields("reset_control", reset_control); }
};

}  // namespace

Piix3::Piix3(const PciServices& services, IrqSink& isa_irqs, std::function<void()> hard_reset)
    : PciFunction(kIdentity, services),
      hard_reset_(std::move(hard_reset)),
      reset_control_(
          [this](std::uint64_t, unsigned) -> std::uint64_t {
            const DeviceGuard guard(*this);
            return reset_register_;
          },
          [this](std::uint64_t, unsigned, std::uint64_t value) {
            write_reset_control(static_cast<std::uint8_t>(value));
          }) {
  for (unsigned irq = 0; irq < kIsaIrqs; ++irq)
    isa_lines_.push_back(std::make_unique<IrqLine>(*this, IrqPin{&isa_irqs, irq}));
  define_registers();
  set_multifunction(true);
}

void Piix3::define_registers() {
  ConfigSpace& space = config();
  space.define<std::uint16_t>(pci::kCommand, 0x0007, 0x0108);
  space.define<std::uint16_t>(pci::kStatus, pci::kStatusDevselMedium, 0, pci::kStatusClearable);
  for (const RegisterRow& row : kRegisters) space.define<std::uint8_t>(row.offset, row.reset, row.writable);
  on_config_write(kPirqRoute, kPirqs, [this] { route(); });
}

void Piix3::set_irq(unsigned pirq, bool level) {
  if (pirq >= kPirqs) return;
  const DeviceGuard guard(*this);
  pirq_levels_[pirq] = level;
  route();
}

void Piix3::route() {
  std::uint16_t asserted = 0;
  for (unsigned pirq = 0; pirq < kPirqs; ++pirq) {
    const auto route = config().get<std::uint8_t>(kPirqRoute + pirq);
    if ((route & kRouteDisabled) == 0 && pirq_levels_[pirq]) asserted = with_bit(asserted, route & kRouteIrq, true);
  }
  asserted &= kRoutableIrqs;
  for (unsigned irq = 0; irq < kIsaIrqs; ++irq) isa_lines_[irq]->set(test_bit(asserted, irq));
}

/// A machine reset is asked for when RCPU goes to 1 (section 2.5.4.1). The bit itself does not stay.
void Piix3::write_reset_control(std::uint8_t value) {
  {
    const DeviceGuard guard(*this);
    reset_register_ = value & kResetSystem;
  }
  if ((value & kResetCpu) != 0 && hard_reset_) hard_reset_();
}

void Piix3::reset_chip() {
  reset_register_ = 0;
  route();
}

void Piix3::save(state::Writer& writer) {
  PciFunction::save(writer);
  Piix3State saved;
  {
    const DeviceGuard guard(*this);
    saved.reset_control = reset_register_;
  }
  state::save(writer, saved);
}

/// The PIRQ levels are not saved: each function drives its own again when it is loaded.
Result<> Piix3::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(const Piix3State saved, state::load<Piix3State>(reader));
  const DeviceGuard guard(*this);
  reset_register_ = saved.reset_control & kResetSystem;
  route();
  return {};
}

}  // namespace doppel::hw
