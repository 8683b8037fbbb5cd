// The tables of fixed layout (ACPI 6.4, 5.2). The DSDT is in acpi_dsdt.cpp.
#include <algorithm>

#include "hw/firmware/acpi_table.h"

namespace doppel::hw {

namespace {

constexpr std::uint32_t kCreatorRevision = 1;
constexpr std::string_view kCreatorId = "DPPL";

/// FADT fixed feature flags (table 5.10).
enum FadtFlag : std::uint32_t {
  kWbinvd = 1U << 0,
  kProcC1 = 1U << 2,
  kNoFixedPowerButton = 1U << 4,
  kNoFixedSleepButton = 1U << 5,
  kRtcS4 = 1U << 7,
  kResetRegister = 1U << 10,
  kUsePlatformClock = 1U << 15,
  kApicPhysicalDestination = 1U << 19,
  kHardwareReduced = 1U << 20,
};

enum IapcFlag : std::uint16_t {
  kLegacyDevices = 1U << 0,
  kKeyboardController = 1U << 1,
  kNoVga = 1U << 2,
  kNoRtc = 1U << 5
};

/// MADT and SRAT entry types.
enum MadtType : std::uint8_t {
  kLocalApic = 0,
  kIoApic = 1,
  kOverride = 2,
  kLocalApicNmi = 4,
  kX2Apic = 9,
  kX2ApicNmi = 10
};
enum SratType : std::uint8_t { kCpuAffinity = 0, kMemoryAffinity = 1, kX2ApicAffinity = 2 };

constexpr std::uint16_t kActiveHighLevel = 0x000d;
constexpr std::uint32_t kFirstX2ApicId = 255;  // an 8-bit id of 255 addresses every processor

constexpr std::uint16_t kResetPort = 0xcf9;  // the PIIX3's reset control register
constexpr std::uint8_t kResetPortValue = 0x0f;
constexpr std::uint16_t kKeyboardCommandPort = 0x64;
constexpr std::uint8_t kKeyboardReset = 0xfe;

bool needs_x2apic(const AcpiCpu& cpu) {
  return cpu.apic_id >= kFirstX2ApicId;
}

AcpiAddress port(std::uint64_t address, std::uint8_t bits) {
  return {.space = AcpiAddress::Space::kIo, .bits = bits, .address = address};
}

std::uint16_t iapc_flags(const AcpiConfig& config) {
  unsigned flags = 0;
  if (config.board == AcpiBoard::kPc || !config.serial_ports.empty()) flags |= kLegacyDevices;
  if (config.keyboard_controller) flags |= kKeyboardController;
  if (config.board == AcpiBoard::kMicrovm) flags |= kNoVga;
  if (!config.rtc) flags |= kNoRtc;
  return static_cast<std::uint16_t>(flags);
}

/// Offsets 44 to 107 of a machine with PM registers.
void put_pm_registers(ByteWriter& body, const AcpiConfig& config) {
  constexpr std::uint8_t kAcpiEnable = 0xf1;
  constexpr std::uint8_t kAcpiDisable = 0xf0;
  constexpr std::uint16_t kNoC2OrC3 = 0xfff;
  body.u8(1).u8(0).u16(config.sci_irq);  // multiple-APIC model; unspecified profile
  body.u32(config.smi_command_port).u8(kAcpiEnable).u8(kAcpiDisable).u8(0).u8(0);
  body.u32(config.pm_base).u32(0).u32(config.pm_base + 4U).u32(0).u32(0).u32(config.pm_base + 8U);
  body.u32(config.gpe0_base).u32(0);
  body.u8(4).u8(2).u8(0).u8(4).u8(4).u8(0).u8(0).u8(0);
  body.u16(kNoC2OrC3).u16(kNoC2OrC3).u16(0).u16(0).u8(0).u8(0).u8(0).u8(0);
}

void put_reset_register(AcpiTable& table, const AcpiConfig& config) {
  if (config.sleep_registers)
    table.address({.space = AcpiAddress::Space::kMemory, .bits = 8, .address = config.sleep_registers->reset})
        .body()
        .u8(AcpiSleepRegisters::kResetValue);
  else if (config.board == AcpiBoard::kPc)
    table.address(port(kResetPort, 8)).body().u8(kResetPortValue);
  else
    table.address(port(kKeyboardCommandPort, 8)).body().u8(kKeyboardReset);
}

void put_cpu_affinity(ByteWriter& body, const AcpiCpu& cpu) {
  const std::uint32_t enabled = 1;
  if (needs_x2apic(cpu)) {
    body.u8(kX2ApicAffinity).u8(24).u16(0).u32(cpu.node).u32(cpu.apic_id).u32(enabled).u32(0).u32(0);
    return;
  }
  body.u8(kCpuAffinity).u8(16).u8(cpu.node & 0xff).u8(cpu.apic_id).u32(enabled).u8(0);
  body.u8((cpu.node >> 8) & 0xff).u8((cpu.node >> 16) & 0xff).u8((cpu.node >> 24) & 0xff).u32(0);
}

void put_memory_affinity(ByteWriter& body, std::uint32_t node, std::uint64_t base, std::uint64_t length) {
  const std::uint32_t enabled = 1;
  body.u8(kMemoryAffinity).u8(40).u32(node).u16(0).u64(base).u64(length).u32(0).u32(enabled).u64(0);
}

/// Where the RAM of all nodes, laid end to end, shows in the address space.
struct RamPiece {
  std::uint64_t ram_begin;
  std::uint64_t ram_end;
  std::uint64_t address;
};

std::vector<RamPiece> ram_pieces(const AcpiConfig& config) {
  const std::uint64_t low = config.ram_below_4g;
  return {
      {0, std::min(low, 640 * kKiB), 0}, {std::min(low, kMiB), low, kMiB}, {low, low + config.ram_above_4g, 4 * kGiB}};
}

}  // namespace

AcpiTable::AcpiTable(std::string_view signature, std::uint8_t revision, const AcpiOem& oem) {
  writer_.text(signature, 4).u32(0).u8(revision).u8(0);
  writer_.text(oem.id, 6, ' ').text(oem.table_id, 8, ' ').u32(1).text(kCreatorId, 4).u32(kCreatorRevision);
}

AcpiTable& AcpiTable::address(const AcpiAddress& address) {
  writer_.u8(static_cast<std::uint8_t>(address.space))
      .u8(address.bits)
      .u8(0)
      .u8(address.access_size)
      .u64(address.address);
  return *this;
}

Bytes AcpiTable::finish() {
  writer_.patch(kAcpiLengthOffset, static_cast<std::uint32_t>(writer_.size()));
  return writer_.take();
}

Bytes build_facs() {
  return ByteWriter().text("FACS", 4).u32(64).zeros(56).take();
}

Bytes build_fadt(const AcpiConfig& config, const AcpiOem& oem) {
  const bool reduced = config.board == AcpiBoard::kMicrovm;
  AcpiTable table("FACP", reduced ? 5 : 3, oem);
  ByteWriter& body = table.body();
  body.u32(0).u32(0);  // FACS and DSDT, linked later
  if (reduced)
    body.zeros(64);
  else
    put_pm_registers(body, config);

  std::uint32_t flags = kWbinvd | kResetRegister;
  flags |= reduced ? kHardwareReduced : kProcC1 | kNoFixedSleepButton | kRtcS4 | kUsePlatformClock;
  if (!reduced && std::ranges::any_of(config.cpus, [](const AcpiCpu& cpu) { return cpu.apic_id >= 8; }))
    flags |= kApicPhysicalDestination;
  constexpr std::uint8_t kCmosCentury = 0x32;
  body.u8(config.rtc ? kCmosCentury : 0).u16(iapc_flags(config)).u8(0).u32(flags);
  put_reset_register(table, config);
  body.u16(0).u8(reduced ? 1 : 0);  // minor version
  body.u64(0).u64(0);               // X_FIRMWARE_CTRL stays unused; X_DSDT
  const AcpiAddress none{.space = AcpiAddress::Space::kMemory};
  if (reduced) {
    for (int i = 0; i < 8; ++i) table.address(none);
    const auto& sleep = config.sleep_registers;
    for (unsigned i = 0; i < 2; ++i)
      table.address(sleep ? AcpiAddress{.space = AcpiAddress::Space::kMemory, .bits = 8, .address = sleep->control + i}
                          : none);
    return table.finish();
  }
  table.address(port(config.pm_base, 32)).address(none).address(port(config.pm_base + 4U, 16)).address(none);
  table.address(none).address(port(config.pm_base + 8U, 32)).address(port(config.gpe0_base, 32)).address(none);
  return table.finish();
}

Bytes build_madt(const AcpiConfig& config, const AcpiOem& oem) {
  const bool x2apic = std::ranges::any_of(config.cpus, needs_x2apic) || config.cpus.size() > 255;
  AcpiTable table("APIC", x2apic ? 3 : 1, oem);
  ByteWriter& body = table.body();
  constexpr std::uint32_t kPcatCompatible = 1;  // there are 8259s
  body.u32(config.local_apic_base).u32(kPcatCompatible);
  for (std::size_t uid = 0; uid < config.cpus.size(); ++uid) {
    const AcpiCpu& cpu = config.cpus[uid];
    if (needs_x2apic(cpu) || uid > 254)
      body.u8(kX2Apic).u8(16).u16(0).u32(cpu.apic_id).u32(cpu.present ? 1 : 0).u32(uid);
    else
      body.u8(kLocalApic).u8(8).u8(uid).u8(cpu.apic_id).u32(cpu.present ? 1 : 0);
  }
  body.u8(kIoApic).u8(12).u8(0).u8(0).u32(config.io_apic_base).u32(0);
  if (config.board == AcpiBoard::kPc) {
    body.u8(kOverride).u8(10).u8(0).u8(0).u32(2).u16(0);  // the timer's IRQ 0 comes in at pin 2
    for (const unsigned irq : {5U, 9U, 10U, 11U})         // where PCI links and SCI may go
      body.u8(kOverride).u8(10).u8(0).u8(irq).u32(irq).u16(kActiveHighLevel);
  }
  constexpr unsigned kLint1 = 1;
  body.u8(kLocalApicNmi).u8(6).u8(0xff).u16(0).u8(kLint1);
  if (x2apic) body.u8(kX2ApicNmi).u8(12).u16(0).u32(0xffffffff).u8(kLint1).zeros(3);
  return table.finish();
}

Bytes build_hpet(const AcpiOem& oem) {
  constexpr std::uint32_t kBlockId = 0x8086a201;  // Intel, legacy replacement, 64-bit counter, 3 comparators
  AcpiTable table("HPET", 1, oem);
  table.body().u32(kBlockId);
  table.address({.space = AcpiAddress::Space::kMemory, .bits = 64, .address = 0xfed00000});
  table.body().u8(0).u16(0).u8(0);
  return table.finish();
}

Bytes build_srat(const AcpiConfig& config, const AcpiOem& oem) {
  const bool x2apic = std::ranges::any_of(config.cpus, needs_x2apic);
  AcpiTable table("SRAT", x2apic ? 3 : 2, oem);
  ByteWriter& body = table.body();
  body.u32(1).u64(0);
  for (const AcpiCpu& cpu : config.cpus) put_cpu_affinity(body, cpu);
  const auto pieces = ram_pieces(config);
  std::uint64_t begin = 0;
  for (std::uint32_t node = 0; node < config.nodes.size(); ++node) {
    const std::uint64_t end = begin + config.nodes[node].memory;
    for (const RamPiece& piece : pieces) {
      const std::uint64_t from = std::max(begin, piece.ram_begin);
      const std::uint64_t to = std::min(end, piece.ram_end);
      if (from < to) put_memory_affinity(body, node, piece.address + (from - piece.ram_begin), to - from);
    }
    begin = end;
  }
  return table.finish();
}

Bytes build_slit(const AcpiConfig& config, const AcpiOem& oem) {
  constexpr std::uint8_t kSelf = 10;
  constexpr std::uint8_t kRemote = 20;
  AcpiTable table("SLIT", 1, oem);
  table.body().u64(config.nodes.size());
  for (std::size_t from = 0; from < config.nodes.size(); ++from)
    for (std::size_t to = 0; to < config.nodes.size(); ++to) {
      const auto& distances = config.nodes[from].distances;
      table.body().u8(to < distances.size() ? distances[to] : from == to ? kSelf : kRemote);
    }
  return table.finish();
}

Bytes build_waet(const AcpiOem& oem) {
  constexpr std::uint32_t kPmTimerReadsRight = 1U << 1;  // one read is enough
  AcpiTable table("WAET", 1, oem);
  table.body().u32(kPmTimerReadsRight);
  return table.finish();
}

Bytes build_rsdt(std::size_t count, const AcpiOem& oem) {
  AcpiTable table("RSDT", 1, oem);
  table.body().zeros(4 * count);
  return table.finish();
}

Bytes build_xsdt(std::size_t count, const AcpiOem& oem) {
  AcpiTable table("XSDT", 1, oem);
  table.body().zeros(8 * count);
  return table.finish();
}

}  // namespace doppel::hw
