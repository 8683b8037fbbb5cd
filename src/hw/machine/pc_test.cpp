#include "hw/machine/pc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/endian.h"
#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

using testing::HasSubstr;

constexpr unsigned kPmDevice = 1;
constexpr unsigned kPmFunction = 3;

std::vector<std::byte> saved(Machine& machine) {
  state::Writer writer;
  machine.save(writer);
  return writer.bytes();
}

/// Where two saved states first differ, as text; empty if they are equal.
std::string difference(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  if (a == b) return {};
  const auto at = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  std::string before;
  for (std::size_t i = at - std::min<std::size_t>(at, 160); i < at; ++i)
    if (const int c = std::to_integer<int>(a[i]); c > ' ' && c < 0x7f) before.push_back(static_cast<char>(c));
  return fmt::format("at {} of {} and {} bytes, after {}", at, a.size(), b.size(), before);
}

std::string little_endian(std::uint64_t value) {
  std::string text(8, '\0');
  for (unsigned i = 0; i < 8; ++i) text[i] = static_cast<char>(value >> (8 * i));
  return text;
}

// ---- Where RAM goes

struct SplitCase {
  std::uint64_t size;
  std::uint64_t limit;
  std::uint64_t below;
};

class SplitTest : public testing::TestWithParam<SplitCase> {};

TEST_P(SplitTest, LosesNothing) {
  const PcMemorySplit split = split_pc_memory(GetParam().size, GetParam().limit);
  EXPECT_EQ(split.below_4g, GetParam().below);
  EXPECT_EQ(split.below_4g + split.above_4g, GetParam().size);
}

INSTANTIATE_TEST_SUITE_P(Pc, SplitTest,
                         testing::Values(SplitCase{kMiB, 0, kMiB}, SplitCase{kGiB, 0, kGiB},
                                         SplitCase{0xe0000000 - 0x1000, 0, 0xe0000000 - 0x1000},
                                         SplitCase{0xe0000000, 0, 0xc0000000}, SplitCase{4 * kGiB, 0, 3 * kGiB},
                                         SplitCase{1024 * kGiB, 0, 3 * kGiB}, SplitCase{4 * kGiB, 2 * kGiB, 2 * kGiB},
                                         SplitCase{kGiB, 2 * kGiB, kGiB},
                                         SplitCase{4 * kGiB, 64 * kGiB, 3 * kGiB},  // no more than the board can
                                         SplitCase{2 * kGiB, 100 * kMiB + 5, 100 * kMiB},
                                         SplitCase{2 * kGiB, 1, kMiB}));

// ---- Reset

class PcTest : public testing::Test {
 protected:
  MachineRig rig_;
};

TEST_F(PcTest, HasItsThreeFunctions) {
  const auto machine = rig_.pc();
  EXPECT_EQ(rig_.config_in(0, 0, 0, 4), 0x12378086U);
  EXPECT_EQ(rig_.config_in(1, 0, 0, 4), 0x70008086U);
  EXPECT_EQ(rig_.config_in(kPmDevice, kPmFunction, 0, 4), 0x71138086U);
  EXPECT_EQ(rig_.config_in(2, 0, 0, 4), 0xffffffffU);
  EXPECT_FALSE(machine->boot_entry()) << "starts at the firmware's reset vector";
}

TEST_F(PcTest, WithoutAcpiThereIsNoPowerManagement) {
  BoardConfig config = rig_.config();
  config.properties.acpi = OnOffAuto::kOff;
  const auto machine = rig_.pc(std::move(config));
  EXPECT_EQ(rig_.config_in(kPmDevice, kPmFunction, 0, 4), 0xffffffffU);
  EXPECT_EQ(rig_.fw_cfg_file("etc/acpi/tables"), "");
  machine->power_button();  // nobody hears it
  machine->wake();
}

TEST_F(PcTest, ResetIsIdempotent) {
  const auto machine = rig_.pc();
  const auto first = saved(*machine);
  machine->reset();
  EXPECT_EQ(difference(saved(*machine), first), "");
  rig_.set_up_pics();
  rig_.config_out(kPmDevice, kPmFunction, 0x40, 0x601, 4);
  rig_.out(0x3fb, 0x83);
  rig_.set_redirection(4, 0x34);
  EXPECT_NE(saved(*machine), first);
  machine->reset();
  machine->reset();
  EXPECT_EQ(rig_.config_in(kPmDevice, kPmFunction, 0x40, 4), 0x1U);
  EXPECT_EQ(rig_.in(0x3fb), 0U);
}

TEST_F(PcTest, FirmwareShowsAgainAfterAResetAndRamKeepsItsContents) {
  const auto machine = rig_.pc();
  EXPECT_EQ(rig_.load(0xffff0), MachineRig::kRomByte);
  EXPECT_EQ(rig_.load(0xfffffff0), MachineRig::kRomByte);
  rig_.store(0xf1000, 0x11);  // a ROM: lost
  EXPECT_EQ(rig_.load(0xf1000), MachineRig::kRomByte);
  rig_.config_out(0, 0, 0x59, 0x30, 1);  // F0000-FFFFF: RAM, read and write
  rig_.store(0xf1000, 0x22);
  EXPECT_EQ(rig_.load(0xf1000), 0x22U);
  rig_.store(0x5000, 0x33);

  machine->reset();
  EXPECT_EQ(rig_.load(0xf1000), MachineRig::kRomByte);
  EXPECT_EQ(rig_.load(0x5000), 0x33U);
  rig_.config_out(0, 0, 0x59, 0x10, 1);  // reads from RAM alone
  EXPECT_EQ(rig_.load(0xf1000), 0x22U);
  rig_.store(0xf1000, 0x44);
  EXPECT_EQ(rig_.load(0xf1000), 0x22U);
}

TEST_F(PcTest, BootOnceHoldsUntilTheFirstReset) {
  BoardConfig config = rig_.config();
  config.boot_order = "cad";
  config.boot_once = "n";
  const auto machine = rig_.pc(config);  // with the reset that every machine gets
  const auto order = [&] {
    rig_.out(0x70, 0x3d);
    return rig_.in(0x71);
  };
  EXPECT_EQ(order(), 0x04U);
  machine->wake();  // no boot
  EXPECT_EQ(order(), 0x04U);
  machine->reset();
  EXPECT_EQ(order(), 0x12U);
  config.boot_once = "x";
  EXPECT_FALSE(PcMachine::create(rig_.parts(), config));
}

// ---- Power

TEST_F(PcTest, SleepsAndWakes) {
  const auto machine = rig_.pc();
  const auto place_pm = [this] {
    rig_.config_out(kPmDevice, kPmFunction, 0x40, 0x601, 4);
    rig_.config_out(kPmDevice, kPmFunction, 0x80, 1, 1);
  };
  place_pm();
  rig_.out(0x604, 0x2400, 2);  // S3
  EXPECT_EQ(rig_.events.suspends, 1);
  machine->wake();
  place_pm();  // as resuming firmware does
  EXPECT_EQ(rig_.in(0x600, 2) & 0x8100U, 0x8100U) << "WAK_STS and PWRBTN_STS";
  rig_.out(0x70, 0x0f);
  EXPECT_EQ(rig_.in(0x71), 0xfeU);
  rig_.out(0x604, 0x2800, 2);  // S4 ends like S5
  EXPECT_EQ(rig_.events.power_offs, 1);
  rig_.out(0x604, 0x2000, 2);
  EXPECT_EQ(rig_.events.power_offs, 2);
}

TEST_F(PcTest, SleepStatesCanBeLeftOut) {
  BoardConfig config = rig_.config();
  config.offers_s3 = false;
  config.offers_s4 = false;
  const auto machine = rig_.pc(config);
  rig_.config_out(kPmDevice, kPmFunction, 0x40, 0x601, 4);
  rig_.config_out(kPmDevice, kPmFunction, 0x80, 1, 1);
  rig_.out(0x604, 0x2400, 2);
  rig_.out(0x604, 0x2800, 2);
  EXPECT_EQ(rig_.events.suspends + rig_.events.power_offs, 0);
  EXPECT_THAT(rig_.fw_cfg_file("etc/acpi/tables"), testing::Not(HasSubstr("_S3_")));
}

TEST_F(PcTest, ThePowerButtonRaisesTheSci) {
  const auto machine = rig_.pc();
  rig_.config_out(kPmDevice, kPmFunction, 0x40, 0x601, 4);
  rig_.config_out(kPmDevice, kPmFunction, 0x80, 1, 1);
  rig_.set_up_pics();
  rig_.out(0xb2, 0xf1);        // ACPI on
  rig_.out(0x602, 0x0100, 2);  // PWRBTN_EN
  EXPECT_FALSE(machine->local_apic(0)->has_interrupt());
  machine->power_button();
  ASSERT_TRUE(machine->local_apic(0)->has_interrupt());
  EXPECT_EQ(machine->local_apic(0)->acknowledge(), 0x71);
}

TEST_F(PcTest, ResetPortsAskForAReset) {
  const auto machine = rig_.pc();
  rig_.out(0xcf9, 0x02);
  EXPECT_EQ(rig_.events.resets, 0);
  rig_.out(0xcf9, 0x06);
  EXPECT_EQ(rig_.events.resets, 1);
}

// ---- What firmware is told

TEST(PcFirmware, SixGigabytesLieAroundTheHole) {
  MachineRig rig(Irqchip::kOff, 6 * kGiB);
  const auto machine = rig.pc();
  const std::string map = rig.fw_cfg_file("etc/e820");
  EXPECT_THAT(map, HasSubstr(little_endian(0xc0000000)));  // as a size
  EXPECT_THAT(map, HasSubstr(little_endian(4 * kGiB) + little_endian(3 * kGiB)));
  const std::string tables = rig.fw_cfg_file("etc/acpi/tables");
  EXPECT_THAT(tables, HasSubstr("APIC"));
  EXPECT_THAT(tables, HasSubstr(little_endian(7 * kGiB))) << "the 64-bit hole begins above all RAM";
  rig.out(0x70, 0x5b);
  EXPECT_EQ(rig.in(0x71), (3 * kGiB / (64 * kKiB)) & 0xff);
}

TEST(PcFirmware, ShowsFilesUuidAndProcessors) {
  MachineRig rig;
  BoardConfig config = rig.config();
  config.fw_cfg_files.push_back({"opt/test/greeting", text_bytes("hello")});
  config.boot_strict = true;
  const auto machine = rig.pc(config);
  EXPECT_EQ(rig.fw_cfg_file("opt/test/greeting"), "hello");
  EXPECT_THAT(rig.fw_cfg_file("bootorder"), HasSubstr("HALT"));
  rig.out(0x510, 0x05, 2);
  EXPECT_EQ(rig.in(0x511), 2U);
}

TEST(PcFirmware, BadFilesAreNamed) {
  MachineRig rig;
  const auto error = [&](BoardConfig config) {
    const auto machine = PcMachine::create(rig.parts(), std::move(config));
    return machine ? "" : machine.error().describe();
  };
  BoardConfig config = rig.config();
  config.bios = "/nowhere/bios.bin";
  EXPECT_THAT(error(config), HasSubstr("/nowhere/bios.bin"));
  config = rig.config();
  config.initrd = "/dev/null";
  EXPECT_THAT(error(config), HasSubstr("-kernel"));
  config = rig.config();
  config.kernel = "/nowhere/vmlinuz";
  EXPECT_THAT(error(config), HasSubstr("/nowhere/vmlinuz"));
}

// ---- Kernels without firmware

/// The smallest ELF file with a PVH note: one segment at 1 MiB with the byte F4h, entered there.
std::string pvh_kernel() {
  std::string file(0x1000 + 1, '\0');
  const auto put = [&](std::size_t at, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) file[at + i] = static_cast<char>(value >> (8 * i));
  };
  const auto segment = [&](std::size_t at, std::uint32_t type, std::uint64_t offset, std::uint64_t address,
                           std::uint64_t size) {
    put(at, type, 4);
    put(at + 4, 5, 4);
    put(at + 8, offset, 8);
    put(at + 16, address, 8);
    put(at + 24, address, 8);
    put(at + 32, size, 8);
    put(at + 40, size, 8);
    put(at + 48, 4, 8);
  };
  file.replace(0, 7,
               "\x7f"
               "ELF\x02\x01\x01");
  put(16, 2, 2);   // ET_EXEC
  put(18, 62, 2);  // x86-64
  put(20, 1, 4);
  put(24, 0x100000, 8);
  put(32, 64, 8);  // program headers
  put(52, 64, 2);
  put(54, 56, 2);
  put(56, 2, 2);
  segment(64, 1, 0x1000, 0x100000, 1);
  segment(120, 4, 0x200, 0, 20);
  put(0x200, 4, 4);  // note: name, descriptor, type 18
  put(0x204, 4, 4);
  put(0x208, 18, 4);
  file.replace(0x20c, 4, std::string("Xen\0", 4));
  put(0x210, 0x100000, 4);
  file[0x1000] = '\xf4';
  return file;
}

class DirectBootTest : public testing::Test {
 protected:
  DirectBootTest() {
    std::ofstream(kernel_, std::ios::binary) << pvh_kernel();
    config_ = rig_.config();
    config_.bios.clear();
    config_.kernel = kernel_;
    config_.properties.direct_boot = true;
  }
  ~DirectBootTest() override { std::remove(kernel_.c_str()); }

  MachineRig rig_;
  const std::string kernel_ = rig_.bios + ".elf";
  BoardConfig config_;
};

TEST_F(DirectBootTest, FindsTheMachineAsFirmwareWouldLeaveIt) {
  const auto machine = rig_.pc(config_);
  ASSERT_NE(machine, nullptr);
  for (int boot = 0; boot < 2; ++boot) {
    ASSERT_TRUE(machine->boot_entry());
    EXPECT_EQ(machine->boot_entry()->rip, 0x100000U);
    EXPECT_EQ(rig_.load(0x100000), 0xf4U);
    EXPECT_EQ(rig_.load(0xe0000, 8), 0x2052545020445352U) << "'RSD PTR '";
    rig_.store(0xf8000, 0x77);
    EXPECT_EQ(rig_.load(0xf8000), 0x77U) << "RAM";
    rig_.out(0x604, 0x2000, 2);
    EXPECT_EQ(rig_.events.power_offs, boot + 1) << "the power management is where the FADT has it";
    rig_.store(0x100000, 0);  // a reboot lays the kernel out anew
    rig_.store(0xe0000, 0, 8);
    machine->reset();
  }
}

TEST_F(DirectBootTest, DoesNotSleepWhereNobodyWouldWakeIt) {
  const auto machine = rig_.pc(config_);
  rig_.out(0x604, 0x2400, 2);
  EXPECT_EQ(rig_.events.suspends, 0);
}

// ---- Saving

class SaveTest : public testing::TestWithParam<std::tuple<Irqchip, bool>> {
 protected:
  std::unique_ptr<Machine> create(MachineRig& rig) const {
    if (!std::get<1>(GetParam())) {
      auto machine = rig.pc();
      EXPECT_TRUE(machine->add_device("pci-bridge", {{"addr", "04"}}));
      EXPECT_TRUE(machine->add_device("isa-serial", {}));
      machine->reset();
      return machine;
    }
    auto machine = MicrovmMachine::create(rig.parts(), rig.config());
    EXPECT_TRUE(machine);
    (*machine)->reset();
    return std::move(*machine);
  }
  static Irqchip irqchip() { return std::get<0>(GetParam()); }
};

TEST_P(SaveTest, ANewMachineTakesOverEveryBit) {
  MachineRig rig(irqchip());
  const auto machine = create(rig);
  rig.set_up_pics();
  rig.set_redirection(4, 0x34);
  rig.config_out(kPmDevice, kPmFunction, 0x40, 0x601, 4);
  rig.config_out(kPmDevice, kPmFunction, 0x80, 1, 1);
  rig.out(0x43, 0x34);
  rig.out(0x40, 0xa9);
  rig.out(0x40, 0x04);
  rig.out(0x3fb, 0x83);
  rig.out(0x70, 0x0b);
  rig.out(0x71, 0x42);
  rig.clock.advance(12'345'678);
  if (irqchip() == Irqchip::kOff) machine->local_apic(1)->write(0xf0, 4, 0x1ff);
  const auto bytes = saved(*machine);

  MachineRig other(irqchip());
  other.clock.advance(12'345'678);
  const auto copy = create(other);
  EXPECT_NE(saved(*copy), bytes);
  state::Reader reader(bytes);
  const auto loaded = copy->load(reader);
  ASSERT_TRUE(loaded) << loaded.error().describe();
  EXPECT_EQ(difference(saved(*copy), bytes), "");
}

TEST_P(SaveTest, DamageIsNoticedAndLeavesAMachineThatWasReset) {
  MachineRig rig(irqchip());
  const auto machine = create(rig);
  const auto bytes = saved(*machine);
  for (std::size_t cut = 0; cut < bytes.size(); cut += 1 + bytes.size() / 40) {
    state::Reader reader(std::span<const std::byte>(bytes).first(cut));
    const auto loaded = machine->load(reader);
    ASSERT_FALSE(loaded) << cut;
    EXPECT_THAT(loaded.error().describe(), HasSubstr("cannot restore"));
  }
  auto longer = bytes;
  longer.resize(longer.size() + 8);
  state::Reader reader(longer);
  EXPECT_FALSE(machine->load(reader));
  EXPECT_EQ(difference(saved(*machine), bytes), "");
}

INSTANTIATE_TEST_SUITE_P(Boards, SaveTest,
                         testing::Combine(testing::Values(Irqchip::kKernel, Irqchip::kSplit, Irqchip::kOff),
                                          testing::Bool()));

// ---- The slim board

class MicrovmTest : public testing::Test {
 protected:
  void create(BoardConfig config) {
    auto machine = MicrovmMachine::create(rig_.parts(), std::move(config));
    ASSERT_TRUE(machine) << machine.error().describe();
    machine_ = std::move(*machine);
    machine_->reset();
  }
  MachineRig rig_{Irqchip::kOff, 5 * kGiB};
  std::unique_ptr<MicrovmMachine> machine_;
};

TEST_F(MicrovmTest, PowersOffAndResetsByItsSleepRegisters) {
  create(rig_.config());
  rig_.store(0xfea00000, 0x20 | 5U << 2U);
  EXPECT_EQ(rig_.events.power_offs, 1);
  rig_.store(0xfea00002, 0x42);
  EXPECT_EQ(rig_.events.resets, 1);
  rig_.store(0xfea00000, 5U << 2U);  // without SLP_EN
  rig_.store(0xfea00002, 0x41);
  EXPECT_EQ(rig_.events.power_offs + rig_.events.resets, 2);
  machine_->power_button();
  machine_->wake();
}

TEST_F(MicrovmTest, HasNoPciAndNoLegacyItDoesNotNeed) {
  create(rig_.config());
  rig_.out(0xcf8, 0x80000000, 4);
  EXPECT_EQ(rig_.in(0xcfc, 4), 0xffffffffU);
  EXPECT_EQ(rig_.in(0x64), 0xffU);
  EXPECT_NE(rig_.in(0x3fd), 0xffU) << "but a serial port";
}

TEST_F(MicrovmTest, PropertiesLeaveChipsOut) {
  BoardConfig config = rig_.config();
  config.properties.isa_serial = false;
  config.properties.rtc = OnOffAuto::kOff;
  config.properties.pit = false;
  create(config);
  EXPECT_EQ(rig_.in(0x3fd), 0xffU);
  EXPECT_EQ(rig_.in(0x71), 0xffU);
  EXPECT_EQ(rig_.in(0x61), 0xffU);
}

TEST_F(MicrovmTest, RamAbove3GigabytesMovesAbove4) {
  create(rig_.config());
  const std::string map = rig_.fw_cfg_file("etc/e820");
  EXPECT_THAT(map, HasSubstr(little_endian(4 * kGiB) + little_endian(2 * kGiB)));
  rig_.store(0x1000, 0x5a);
  EXPECT_EQ(rig_.load(0x1000), 0x5aU);
}

}  // namespace
}  // namespace doppel::hw
