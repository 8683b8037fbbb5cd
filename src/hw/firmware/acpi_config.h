// What the ACPI tables say of a machine, as plain data. The machine fills it; acpi.h turns it into tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bits.h"
#include "hw/firmware/blob.h"

namespace doppel::hw {

enum class AcpiBoard : std::uint8_t {
  kPc,       // i440FX and PIIX3: PM registers of the PIIX4 function, PCI, ISA devices
  kMicrovm,  // "hardware-reduced": no PM registers, no PCI, virtio-mmio devices
};

struct AcpiCpu {
  std::uint32_t apic_id = 0;
  std::uint32_t node = 0;
  bool present = true;  // false: may be plugged in later
};

/// Addresses [begin, end); empty if both are equal.
struct AddressWindow {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  [[nodiscard]] bool empty() const { return begin >= end; }
};

struct AcpiSerialPort {
  unsigned number = 1;  // COM1 is 1
  std::uint16_t port = 0x3f8;
  unsigned irq = 4;
};

struct AcpiVirtioMmio {
  std::uint64_t base = 0;
  std::uint32_t size = 512;
  unsigned gsi = 0;
};

struct AcpiNumaNode {
  std::uint64_t memory = 0;             // bytes; the nodes' sum is the RAM's size
  std::vector<std::uint8_t> distances;  // to each node, 10 for itself; empty: no SLIT
};

/// Registers of a hardware-reduced machine, in memory (QEMU's generic event device has them like this).
struct AcpiSleepRegisters {
  std::uint64_t control = 0;  // sleep control register; the status register follows it
  std::uint64_t reset = 0;    // written with kResetValue
  static constexpr std::uint8_t kResetValue = 0x42;
};

struct AcpiConfig {
  AcpiBoard board = AcpiBoard::kPc;
  std::string oem_id = "DOPPEL";          // at most 6 bytes
  std::string oem_table_id = "DOPPELPC";  // at most 8 bytes
  std::uint8_t rsdp_revision = 0;         // 0: RSDT alone, as old guests want; 2: XSDT as well

  std::vector<AcpiCpu> cpus{AcpiCpu{}};
  std::uint64_t ram_below_4g = 0;
  std::uint64_t ram_above_4g = 0;
  std::vector<AcpiNumaNode> nodes;  // empty: no SRAT

  AddressWindow pci_hole_32{0xe0000000, 0xfec00000};
  AddressWindow pci_hole_64;

  std::uint16_t pm_base = 0x600;  // PM1 event block, control block 4 above, timer 8 above
  std::uint16_t gpe0_base = 0xafe0;
  std::uint16_t smi_command_port = 0xb2;
  std::uint8_t sci_irq = 9;
  bool s3 = true;
  bool s4 = true;
  std::uint8_t s4_value = 2;  // SLP_TYP

  std::uint64_t io_apic_base = 0xfec00000;
  std::uint64_t local_apic_base = 0xfee00000;
  unsigned io_apic_pins = 24;
  bool hpet = true;
  bool rtc = true;
  bool keyboard_controller = true;
  bool floppy_controller = false;
  std::vector<AcpiSerialPort> serial_ports;
  std::optional<std::uint16_t> parallel_port;  // IRQ 7
  std::optional<std::uint16_t> pvpanic_port;
  std::optional<std::uint16_t> fw_cfg_port = 0x510;

  std::vector<AcpiVirtioMmio> virtio_mmio;            // kMicrovm
  std::optional<AcpiSleepRegisters> sleep_registers;  // kMicrovm

  std::vector<Bytes> user_tables;  // whole tables of `-acpitable`
};

}  // namespace doppel::hw
