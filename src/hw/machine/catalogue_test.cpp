#include "hw/machine/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "block/fake_disk.h"
#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class EveryDeviceTest : public testing::TestWithParam<std::string> {
 protected:
  const DeviceType& type() { return **find_device_type(GetParam()); }
};

TEST_P(EveryDeviceTest, DescribesItself) {
  EXPECT_FALSE(type().description.empty());
  EXPECT_FALSE(type().category.empty());
  std::vector<std::string_view> names;
  for (const PropertyInfo& info : type().describe()) {
    EXPECT_FALSE(info.help.empty()) << info.name;
    EXPECT_FALSE(info.type.empty()) << info.name;
    names.push_back(info.name);
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"id", "bus"}));
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end()) << "a name twice";
}

TEST_P(EveryDeviceTest, ChecksItsProperties) {
  EXPECT_TRUE(type().check({}));
  EXPECT_TRUE(type().check({{"id", "x"}}));
  const auto unknown = type().check({{"colour", "red"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().describe(), HasSubstr("colour"));
}

TEST_P(EveryDeviceTest, IsMadeOnAPc) {
  MachineRig rig;
  block::FakeDisk disk(1 << 20);
  MachineParts parts = rig.parts();
  parts.find_disk = [&disk](std::string_view) { return &disk; };
  const auto created = PcMachine::create(std::move(parts), rig.config());
  ASSERT_TRUE(created) << created.error().describe();
  const auto& machine = *created;
  if (type().bus == "SCSI") {
    ASSERT_TRUE(machine->add_device("virtio-scsi-pci", {}));
  }
  DeviceProperties properties{{"id", "x"}};
  const std::vector<std::string> disks{"ide-hd", "nvme-ns", "scsi-hd", "virtio-blk-pci"};
  if (std::ranges::find(disks, GetParam()) != disks.end()) properties.emplace_back("drive", "disk");
  if (GetParam() == "nvme") properties.emplace_back("serial", "S1");
  if (GetParam() == "nvme-ns") {
    ASSERT_TRUE(machine->add_device("nvme", {{"serial", "S1"}}));
  }
  const auto added = machine->add_device(GetParam(), properties);
  EXPECT_TRUE(added) << added.error().describe();
  machine->reset();
  EXPECT_FALSE(machine->add_device(GetParam(), {{"colour", "red"}}));
}

TEST_P(EveryDeviceTest, IsMadeOnAMicrovmOrSaysWhyNot) {
  MachineRig rig;
  auto machine = MicrovmMachine::create(rig.parts(), rig.config());
  ASSERT_TRUE(machine) << machine.error().describe();
  const auto added = (*machine)->add_device(GetParam(), {});
  if (type().bus == "nvme-bus") {
    EXPECT_FALSE(added);
  } else if (type().bus == "PCI" || type().bus == "IDE" || type().bus == "SCSI" || type().bus == "floppy") {
    ASSERT_FALSE(added);
    EXPECT_THAT(added.error().describe(), HasSubstr(fmt::format("no {} bus", type().bus)));
  } else {
    EXPECT_TRUE(added) << added.error().describe();
  }
}

std::vector<std::string> every_name() {
  std::vector<std::string> names;
  for (const DeviceType& type : device_catalogue()) names.emplace_back(type.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Catalogue, EveryDeviceTest, testing::ValuesIn(every_name()), [](const auto& parameter) {
  std::string name = parameter.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST(Catalogue, RowsOfACategoryStandTogether) {
  std::vector<std::string_view> seen;
  for (const DeviceType& type : device_catalogue()) {
    if (!seen.empty() && seen.back() == type.category) continue;
    EXPECT_EQ(std::ranges::find(seen, type.category), seen.end()) << type.category;
    seen.push_back(type.category);
  }
}

TEST(Catalogue, AnUnknownNameIsCorrected) {
  const auto found = find_device_type("isa-seriel");
  ASSERT_FALSE(found);
  EXPECT_THAT(found.error().describe(), HasSubstr("isa-serial"));
}

struct Refusal {
  std::string driver;
  DeviceProperties properties;
  std::string reason;
};

class RefusalTest : public testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, IsGivenWithItsReason) {
  MachineRig rig;
  const auto machine = rig.pc();
  const auto added = machine->add_device(GetParam().driver, GetParam().properties);
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error().describe(), HasSubstr(GetParam().reason));
  EXPECT_TRUE(machine->add_device("pci-bridge", {{"id", "after"}})) << "the machine is as before";
}

INSTANTIATE_TEST_SUITE_P(Catalogue, RefusalTest,
                         testing::Values(Refusal{"isa-debug-exit", {{"iobase", "banana"}}, "iobase"},
                                         Refusal{"isa-debug-exit", {{"iobase", "0x1000000000"}}, "iobase"},
                                         Refusal{"isa-debug-exit", {{"iosize", "0"}}, "do not fit"},
                                         Refusal{"isa-debug-exit", {{"iobase", "0xffff"}}, "do not fit"},
                                         Refusal{"isa-debug-exit", {{"bus", "isa.1"}}, "isa.1"},
                                         Refusal{"isa-debugcon", {{"iobase", "0x20"}}, "pic"},
                                         Refusal{"isa-debugcon", {{"iobase", "0xcf8"}}, "pci"},
                                         Refusal{"isa-debugcon", {{"iobase", "0x8f"}}, "dma"},
                                         Refusal{"isa-debugcon", {{"chardev", "nobody"}}, "nobody"},
                                         Refusal{"isa-serial", {{"index", "9"}}, "at most 4"},
                                         Refusal{"isa-serial", {{"index", "0"}}, "overlap"},  // COM1 is there
                                         Refusal{"pvpanic", {{"ioport", "0x64"}}, "i8042"},
                                         Refusal{"virtio-blk-pci", {}, "needs an image"},
                                         Refusal{"virtio-blk-pci", {{"drive", "d"}, {"packed", "maybe"}}, "packed"},
                                         Refusal{"virtio-blk-pci", {{"drive", "d"}, {"queue-size", "3"}}, "power of"},
                                         Refusal{"virtio-scsi-pci", {{"num_queues", "0"}}, "num_queues=0"},
                                         Refusal{"scsi-hd", {{"drive", "d"}}, "virtio-scsi-pci"},
                                         Refusal{"pci-bridge", {{"chassis_nr", "0"}}, "chassis"},
                                         Refusal{"pci-bridge", {{"chassis_nr", "256"}}, "chassis_nr"},
                                         Refusal{"pci-bridge", {{"addr", "20"}}, "20"},
                                         Refusal{"pci-bridge", {{"addr", "01.0"}}, "is there"},
                                         Refusal{"pci-bridge", {{"bus", "pci.7"}}, "pci.7"},
                                         Refusal{"pci-bridge", {{"id", "pci.0"}}, "already"}));

TEST(Catalogue, BridgesNestAndGuestsFindThem) {
  MachineRig rig;
  const auto machine = rig.pc();
  ASSERT_TRUE(machine->add_device("pci-bridge", {{"id", "outer"}, {"addr", "05"}, {"chassis_nr", "3"}}));
  ASSERT_TRUE(machine->add_device("pci-bridge", {{"id", "inner"}, {"bus", "outer"}, {"addr", "02"}}));
  EXPECT_FALSE(machine->add_device("pci-bridge", {{"id", "outer"}}));
  machine->reset();
  EXPECT_EQ(rig.config_in(5, 0, 0x0a, 2), 0x0604U);
}

TEST(Catalogue, DevicesDoTheirWork) {
  MachineRig rig;
  const auto machine = rig.pc();
  ASSERT_TRUE(machine->add_device("isa-debug-exit", {{"iobase", "0xf4"}, {"iosize", "4"}}));
  ASSERT_TRUE(machine->add_device("pvpanic", {}));
  machine->reset();
  rig.out(0xf4, 0x10, 4);
  EXPECT_EQ(rig.events.exit_status, 0x21);
  rig.out(0x505, 1);
  EXPECT_EQ(rig.events.panics, 1);
}

}  // namespace
}  // namespace doppel::hw
