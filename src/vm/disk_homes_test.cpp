#include "vm/disk_homes.h"

#include <gtest/gtest.h>

namespace doppel::vm {
namespace {

DeviceConfig blk(std::string drive, std::string thread) {
  DeviceConfig device{.driver = "virtio-blk-pci", .properties = {{"drive", std::move(drive)}}};
  if (!thread.empty()) device.properties.emplace_back("iothread", std::move(thread));
  return device;
}

NodeConfig node(std::string name, KeyValues options = {}) {
  options.emplace_back("node-name", std::move(name));
  return {std::move(options)};
}

VmConfig two_threads() {
  VmConfig config;
  config.iothreads = {{.id = "io0"}, {.id = "io1"}};
  config.drives = {{.id = "a"}, {.id = "b"}};
  return config;
}

std::string error_of(const VmConfig& config) {
  const auto homes = DiskHomes::plan(config);
  return homes ? "" : homes.error().describe();
}

TEST(DiskHomes, AreThoseOfTheDevices) {
  VmConfig config = two_threads();
  config.drives.push_back({.id = "c"});
  config.drives.push_back({.id = "unused"});
  config.devices = {blk("a", "io0"),
                    blk("b", ""),
                    {"virtio-scsi-pci", {{"id", "s"}, {"iothread", "io1"}}},
                    {"scsi-hd", {{"drive", "c"}, {"bus", "s.0"}}}};
  const DiskHomes homes = DiskHomes::plan(config).value();
  EXPECT_EQ(homes.of("a"), "io0");
  EXPECT_EQ(homes.of("b"), "");
  EXPECT_EQ(homes.of("c"), "io1");
  EXPECT_EQ(homes.of("unused"), "");
}

TEST(DiskHomes, AdaptersWithoutAnId) {
  VmConfig config = two_threads();
  config.globals = {{.driver = "virtio-scsi-pci", .property = "iothread", .value = "io0"}};
  config.devices = {{"virtio-scsi-pci", {}},
                    {"virtio-scsi-pci", {{"iothread", "io1"}}},
                    {"scsi-cd", {{"drive", "a"}, {"bus", "scsi.1"}}},
                    {"scsi-hd", {{"drive", "b"}}}};
  const DiskHomes homes = DiskHomes::plan(config).value();
  EXPECT_EQ(homes.of("a"), "io1");
  EXPECT_EQ(homes.of("b"), "io0");
}

TEST(DiskHomes, GraphsStayTogether) {
  VmConfig config = two_threads();
  config.nodes = {node("file"), node("base"), node("top", {{"file", "file"}, {"backing", "base"}}),
                  node("other", {{"file.driver", "null-co"}, {"file.node-name", "inner"}})};
  config.devices = {blk("top", "io0"), blk("other", "io1")};
  const DiskHomes homes = DiskHomes::plan(config).value();
  for (const char* const name : {"file", "base", "top"}) EXPECT_EQ(homes.of(name), "io0") << name;
  EXPECT_EQ(homes.of("other"), "io1");
  EXPECT_EQ(homes.of("inner"), "io1");
}

TEST(DiskHomes, WhatIsSharedHasOneThread) {
  VmConfig config = two_threads();
  config.nodes = {node("n"), node("x", {{"file", "n"}}), node("y", {{"file", "n"}})};
  config.devices = {blk("n", "io0"), blk("n", "io0")};
  EXPECT_EQ(error_of(config), "");
  config.devices[1] = blk("n", "io1");
  EXPECT_EQ(error_of(config),
            "'n' is wanted in iothread 'io0' and in iothread 'io1'; its devices must have the same iothread=");
  config.devices = {blk("x", "io0"), blk("y", "")};
  EXPECT_EQ(
      error_of(config),
      "'x' of iothread 'io0' and 'y' of the main thread share a node or a throttle group; their devices must have "
      "the same iothread=");
  config.machine.properties = {{"pflash0", "n"}};
  config.devices = {blk("n", "io0")};
  EXPECT_EQ(error_of(config),
            "'n' is wanted in the main thread and in iothread 'io0'; its devices must have the same iothread=");
}

TEST(DiskHomes, ThrottleGroupsHaveOneThread) {
  VmConfig config = two_threads();
  const std::string refusal =
      "'a' of iothread 'io0' and 'b' of iothread 'io1' share a node or a throttle group; their devices must have the "
      "same iothread=";
  config.devices = {blk("a", "io0"), blk("b", "io1")};
  EXPECT_EQ(error_of(config), "");
  config.drives[0].options = {{"throttling.bps-total", "1000"}};
  config.drives[1].options = {{"throttling.bps-total", "1000"}};
  EXPECT_EQ(error_of(config), "");  // each has its own
  config.drives[1].options.emplace_back("throttling.group", "a");
  EXPECT_EQ(error_of(config), refusal);
  config.drives[0].options.clear();
  EXPECT_EQ(error_of(config), "");
  config.drives[0].options = {{"file.throttle-group", "a"}};
  EXPECT_EQ(error_of(config), refusal);
}

TEST(DiskHomes, AMistakeWithADriveIsTheDevicesToReport) {
  VmConfig config = two_threads();
  config.devices = {blk("a", "io0"), blk("a", ""), blk("missing", "io1")};
  EXPECT_EQ(error_of(config), "");
}

TEST(DiskHomes, IoThreadsMustBeThere) {
  VmConfig config = two_threads();
  config.block_objects = {{.type = "secret", .id = "sec", .options = {}}};
  config.memory_backends = {{.id = "mem", .options = {}}};
  config.devices = {blk("a", "io2")};
  EXPECT_EQ(error_of(config),
            "-device virtio-blk-pci: there is no iothread 'io2' (did you mean 'io0'?); add '-object "
            "iothread,id=io2'");
  config.devices = {{"virtio-scsi-pci", {{"iothread", "sec"}}}};
  EXPECT_EQ(error_of(config), "-device virtio-scsi-pci: 'sec' is a secret, not an iothread");
  config.devices = {blk("a", "mem")};
  EXPECT_EQ(error_of(config), "-device virtio-blk-pci: 'mem' is a memory backend, not an iothread");
}

}  // namespace
}  // namespace doppel::vm
