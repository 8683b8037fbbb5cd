// The DSDT: what a guest cannot probe for itself, and how PCI interrupt pins reach the interrupt controllers.
#include <fmt/format.h>

#include <array>

#include "hw/firmware/acpi_table.h"
#include "hw/firmware/aml.h"

namespace doppel::hw {

namespace {

using aml::Access;
using aml::Cacheable;
using aml::Range;
using aml::Serialize;
using aml::Sharing;
using aml::Space;
using aml::Term;
using aml::Terms;
using aml::Trigger;
using aml::Update;
using aml::Writable;

/// _STA results (ACPI 6.4, 6.3.7).
constexpr int kPresentEnabled = 0x0b;  // and not shown in the user interface
constexpr int kPresentEnabledShown = 0x0f;
constexpr int kPresentDisabled = 0x09;

constexpr unsigned kPciSlots = 32;
constexpr unsigned kPciPins = 4;
constexpr unsigned kIsaBridgeSlot = 1;
constexpr std::uint32_t kIsaBridgeAddress = kIsaBridgeSlot << 16;
constexpr unsigned kPirqDisabled = 0x80;  // PIIX3 PIRQRC: bit 7 takes the pin off the IRQ
constexpr std::array<const char*, kPciPins> kLinks = {"\\_SB.LNKA", "\\_SB.LNKB", "\\_SB.LNKC", "\\_SB.LNKD"};
constexpr std::array<const char*, kPciPins> kLinkRegisters = {"PRQ0", "PRQ1", "PRQ2", "PRQ3"};

void append(Terms& to, Terms from) {
  to.insert(to.end(), from.begin(), from.end());
}

Term hid(std::string_view eisa) {
  return aml::name("_HID", aml::eisa_id(eisa));
}
Term text_hid(std::string_view id) {
  return aml::name("_HID", aml::string(id));
}
Term uid(std::uint64_t number) {
  return aml::name("_UID", Term(number));
}
Term sta(int status) {
  return aml::name("_STA", Term(status));
}
Term crs(const Terms& descriptors) {
  return aml::name("_CRS", aml::resources(descriptors));
}

/// SLP_TYP for PM1a and PM1b.
Term sleep_state(std::string_view name, int type) {
  return aml::name(name, aml::package({type, type, 0, 0}));
}

/// A one-port or few-port device whose ports stay where they are.
Term fixed_io(std::uint16_t port, std::uint8_t length) {
  return aml::io(port, port, 1, length);
}

Term pci_windows(const AcpiConfig& config) {
  Terms windows{aml::word_space(Range::kBusNumbers, 0, 0xff), aml::io(0xcf8, 0xcf8, 1, 8),
                aml::word_space(Range::kIo, 0x0000, 0x0cf7), aml::word_space(Range::kIo, 0x0d00, 0xffff),
                aml::dword_space(Range::kMemory, Cacheable::kYes, 0xa0000, 0xbffff)};
  if (const auto& hole = config.pci_hole_32; !hole.empty())
    windows.push_back(aml::dword_space(Range::kMemory, Cacheable::kNo, static_cast<std::uint32_t>(hole.begin),
                                       static_cast<std::uint32_t>(hole.end - 1)));
  if (const auto& hole = config.pci_hole_64; !hole.empty())
    windows.push_back(aml::qword_space(Range::kMemory, Cacheable::kYes, hole.begin, hole.end - 1));
  return crs(windows);
}

/// Pin P of slot S goes to link (S - 1 + P) mod 4, as the i440FX boards are wired; the PM function's INTA is the SCI.
Term pci_routing() {
  Terms rows;
  for (unsigned slot = 0; slot < kPciSlots; ++slot)
    for (unsigned pin = 0; pin < kPciPins; ++pin) {
      const bool sci = slot == kIsaBridgeSlot && pin == 0;
      const char* link = sci ? "\\_SB.LNKS" : kLinks[(slot + kPciPins - 1 + pin) % kPciPins];
      rows.push_back(aml::package({(slot << 16) | 0xffff, pin, link, 0}));
    }
  return aml::name("_PRT", aml::package(rows));
}

/// A PCI interrupt link: _SRS writes the chosen IRQ to its PIRQRC register.
Term link_device(unsigned number) {
  const char* const name = kLinks[number] + std::string_view("\\_SB.").size();
  const char* const irq = kLinkRegisters[number];
  const Term unset = aml::resources({aml::interrupt(Trigger::kLevel, Sharing::kShared, {0})});
  constexpr int kInterruptOffset = 5;  // of the first interrupt number in an extended interrupt descriptor
  return aml::device(
      name,
      {hid("PNP0C0F"), uid(number),
       aml::name("_PRS", aml::resources({aml::interrupt(Trigger::kLevel, Sharing::kShared, {5, 10, 11})})),
       aml::method("_STA", 0,
                   {aml::if_(aml::bit_and(irq, kPirqDisabled), {aml::return_(kPresentDisabled)}),
                    aml::return_(kPresentEnabled)}),
       aml::method("_DIS", 0, {aml::store(aml::bit_or(irq, kPirqDisabled), irq)}),
       aml::method("_CRS", 0,
                   {aml::name("TMPL", unset), aml::create_dword_field("TMPL", kInterruptOffset, "TIRQ"),
                    aml::if_(aml::less(irq, kPirqDisabled), {aml::store(irq, "TIRQ")}), aml::return_("TMPL")},
                   Serialize::kYes),
       aml::method("_SRS", 1, {aml::create_dword_field(aml::arg(0), kInterruptOffset, "SIRQ"), aml::store("SIRQ", irq)},
                   Serialize::kYes)});
}

/// The SCI's link, which nothing can move.
Term sci_link(const AcpiConfig& config) {
  const Term sci = aml::resources({aml::interrupt(Trigger::kLevel, Sharing::kShared, {config.sci_irq})});
  return aml::device("LNKS", {hid("PNP0C0F"), uid(kPciPins), aml::name("_PRS", sci), sta(kPresentEnabled),
                              aml::method("_DIS", 0, {}), aml::name("_CRS", sci), aml::method("_SRS", 1, {})});
}

Term serial_port(const AcpiSerialPort& serial) {
  return aml::device(fmt::format("COM{}", serial.number),
                     {hid("PNP0501"), uid(serial.number), sta(kPresentEnabledShown),
                      crs({fixed_io(serial.port, 8), aml::irq(serial.irq)})});
}

Terms legacy_devices(const AcpiConfig& config) {
  Terms devices;
  if (config.rtc) devices.push_back(aml::device("RTC", {hid("PNP0B00"), crs({fixed_io(0x70, 8), aml::irq(8)})}));
  if (config.keyboard_controller) {
    devices.push_back(aml::device(
        "KBD", {hid("PNP0303"), sta(kPresentEnabledShown), crs({fixed_io(0x60, 1), fixed_io(0x64, 1), aml::irq(1)})}));
    devices.push_back(aml::device("MOU", {hid("PNP0F13"), sta(kPresentEnabledShown), crs({aml::irq(12)})}));
  }
  if (config.floppy_controller)
    devices.push_back(
        aml::device("FDC0", {hid("PNP0700"), crs({fixed_io(0x3f2, 4), fixed_io(0x3f7, 1), aml::irq(6), aml::dma(2)})}));
  if (config.parallel_port)
    devices.push_back(aml::device("LPT1", {hid("PNP0400"), uid(1), sta(kPresentEnabledShown),
                                           crs({fixed_io(*config.parallel_port, 8), aml::irq(7)})}));
  for (const AcpiSerialPort& serial : config.serial_ports) devices.push_back(serial_port(serial));
  return devices;
}

/// Devices that only virtual machines have; guests know them by these ids.
Terms paravirtual_devices(const AcpiConfig& config) {
  Terms devices;
  if (config.pvpanic_port) {
    const std::uint16_t port = *config.pvpanic_port;
    devices.push_back(
        aml::device("PEVT", {text_hid("QEMU0001"), sta(kPresentEnabledShown), crs({fixed_io(port, 1)}),
                             aml::operation_region("PEOR", Space::kSystemIo, Term(std::uint64_t{port}), 1),
                             aml::field("PEOR", Access::kByte, Update::kPreserve, {{"PEPT", 8}}),
                             aml::method("RDPT", 0, {aml::store("PEPT", aml::local(0)), aml::return_(aml::local(0))}),
                             aml::method("WRPT", 1, {aml::store(aml::arg(0), "PEPT")})}));
  }
  if (config.fw_cfg_port)
    devices.push_back(
        aml::device("FWCF", {text_hid("QEMU0002"), sta(kPresentEnabled), crs({fixed_io(*config.fw_cfg_port, 12)})}));
  return devices;
}

Term hpet_device() {
  return aml::device("HPET", {hid("PNP0103"), uid(0), sta(kPresentEnabledShown),
                              crs({aml::memory32_fixed(Writable::kNo, 0xfed00000, 0x400)})});
}

/// Old guests find CPUs only as Processor objects, whose ids have 8 bits; hardware-reduced ones are not old.
Term cpu_container(const AcpiConfig& config) {
  Terms members{text_hid("ACPI0010"), aml::name("_CID", aml::eisa_id("PNP0A05"))};
  for (std::size_t i = 0; i < config.cpus.size(); ++i) {
    const std::string name = fmt::format("C{:03X}", i);
    if (config.board == AcpiBoard::kPc && i < 255 && config.cpus[i].apic_id < 255)
      members.push_back(aml::processor(name, static_cast<std::uint8_t>(i), 0, 0));
    else
      members.push_back(
          aml::device(name, {text_hid("ACPI0007"), uid(i), sta(config.cpus[i].present ? kPresentEnabledShown : 0)}));
  }
  return aml::device("CPUS", members);
}

Term pci_bus(const AcpiConfig& config) {
  Terms isa{aml::name("_ADR", kIsaBridgeAddress),
            aml::operation_region("PIRQ", Space::kPciConfig, 0x60, static_cast<int>(kPciPins))};
  append(isa, legacy_devices(config));
  const Term reserved =
      aml::device("RSVD", {hid("PNP0C02"), uid(1), crs({fixed_io(config.pm_base, 64), fixed_io(config.gpe0_base, 4)})});
  return aml::device("PCI0", {hid("PNP0A03"), aml::name("_ADR", 0), uid(0), pci_windows(config), pci_routing(),
                              reserved, aml::device("ISA", isa)});
}

Terms pc_terms(const AcpiConfig& config) {
  Terms system{
      pci_bus(config),
      aml::field("PCI0.ISA.PIRQ", Access::kByte, Update::kPreserve,
                 {{kLinkRegisters[0], 8}, {kLinkRegisters[1], 8}, {kLinkRegisters[2], 8}, {kLinkRegisters[3], 8}})};
  for (unsigned i = 0; i < kPciPins; ++i) system.push_back(link_device(i));
  system.push_back(sci_link(config));
  if (config.hpet) system.push_back(hpet_device());
  append(system, paravirtual_devices(config));
  system.push_back(cpu_container(config));

  Terms terms{aml::scope("\\_SB", system)};
  if (config.s3) terms.push_back(sleep_state("\\_S3", 1));
  if (config.s4) terms.push_back(sleep_state("\\_S4", config.s4_value));
  terms.push_back(sleep_state("\\_S5", 0));
  return terms;
}

Terms microvm_terms(const AcpiConfig& config) {
  Terms system = legacy_devices(config);
  append(system, paravirtual_devices(config));
  for (std::size_t i = 0; i < config.virtio_mmio.size(); ++i) {
    const AcpiVirtioMmio& device = config.virtio_mmio[i];
    system.push_back(
        aml::device(fmt::format("VR{:02X}", i),
                    {text_hid("LNRO0005"), uid(i), aml::name("_CCA", 1),
                     crs({aml::memory32_fixed(Writable::kYes, static_cast<std::uint32_t>(device.base), device.size),
                          aml::interrupt(Trigger::kLevel, Sharing::kExclusive, {device.gsi})})}));
  }
  if (config.hpet) system.push_back(hpet_device());
  system.push_back(cpu_container(config));
  Terms terms{aml::scope("\\_SB", system)};
  constexpr int kSleepTypeS5 = 5;
  if (config.sleep_registers) terms.push_back(sleep_state("\\_S5", kSleepTypeS5));
  return terms;
}

}  // namespace

Bytes build_dsdt(const AcpiConfig& config, const AcpiOem& oem) {
  const bool reduced = config.board == AcpiBoard::kMicrovm;
  AcpiTable table("DSDT", reduced ? 2 : 1, oem);
  for (const Term& term : reduced ? microvm_terms(config) : pc_terms(config)) table.body().bytes(term.bytes());
  return table.finish();
}

}  // namespace doppel::hw
