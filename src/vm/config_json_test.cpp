#include "vm/config_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace doppel::vm {
namespace {

std::string error_of(std::string_view text) {
  const auto config = config_from_json(text);
  return config ? "" : config.error().describe();
}

/// A configuration that differs from the default in every struct.
VmConfig unusual() {
  VmConfig config;
  config.machine = {.type = "microvm", .properties = {{"hpet", "off"}, {"acpi", "on"}}};
  config.accelerators = {{.name = "kvm", .properties = {{"kernel-irqchip", "split"}}},
                         {.name = "soft", .properties = {}}};
  config.cpu = "host,-avx";
  config.smp = {.cpus = 2, .maxcpus = 8, .sockets = 2, .dies = 1, .cores = 2, .threads = 2};
  config.memory = {.size = 1ULL << 40U, .slots = 3, .maxmem = 1ULL << 63U, .path = "/dev/hugepages", .prealloc = true};
  MemoryBackendConfig backend{.id = "m0", .options = {}};
  backend.options = {.name = "m0", .size = 4096, .kind = memory::RamKind::kFile, .path = "/tmp/x"};
  backend.options.policy = memory::NumaPolicy::kInterleave;
  backend.options.host_nodes = {0, 2};
  config.memory_backends = {backend};
  config.numa.nodes = {{.id = 1, .cpus = {0, 3}, .memdev = "m0"}};
  config.numa.distances = {{.source = 0, .destination = 1, .value = 21}};
  config.boot.kernel = "/boot/vmlinuz";
  config.boot.firmware_directories = {"/a", "/b"};
  config.boot.reboot_timeout_ms = 500;
  config.uuid = "550e8400-e29b-41d4-a716-446655440000";
  config.serial = {"s0", ""};
  config.default_devices = false;
  config.iothreads = {{.id = "io0", .workers = 8}};
  config.block_objects = {{.type = "secret", .id = "s0", .options = {{"data", "x"}}}};
  config.nodes = {{.options = {{"driver", "null-co"}, {"node-name", "n0"}}}};
  config.drives = {{.id = "d0", .file = "/x", .format = "raw", .cache = "none", .read_only = true, .discard = true}};
  config.devices = {{.driver = "pci-bridge", .properties = {{"id", "b"}, {"chassis_nr", "2"}}}};
  config.globals = {{.driver = "pci-bridge", .property = "msi", .value = "off"}};
  config.fw_cfg = {{.name = "opt/a", .file = "", .text = "b"}};
  config.tables = {.smbios = {"type=1,serial=\"quoted\""}, .acpi = {"file=x"}};
  config.rtc = {.base = "localtime", .clock = "vm", .slew = true};
  config.sleep = {.s3 = false, .s4 = false};
  config.action = {RebootAction::kShutdown, ShutdownAction::kPause, PanicAction::kExitFailure, "none"};
  config.display.kind = DisplayKind::kCurses;
  config.profile = {.perf_map = true, .jit_dump = true};
  config.process.gdb = "tcp::1234";
  config.process.daemonize = true;
  return config;
}

TEST(ConfigJson, DefaultsSurviveTheRoundTrip) {
  const std::string text = to_json(VmConfig{});
  const auto back = config_from_json(text);
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(to_json(*back), text);
}

TEST(ConfigJson, NothingAtAllIsTheDefault) {
  const auto config = config_from_json("{}");
  ASSERT_TRUE(config);
  EXPECT_EQ(to_json(*config), to_json(VmConfig{}));
}

TEST(ConfigJson, UnusualValuesSurviveTheRoundTrip) {
  const std::string text = to_json(unusual());
  const auto back = config_from_json(text);
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->machine.properties, unusual().machine.properties);
  EXPECT_EQ(back->memory.maxmem, 1ULL << 63U);
  EXPECT_EQ(back->memory_backends.at(0).options.policy, memory::NumaPolicy::kInterleave);
  EXPECT_EQ(back->numa.distances.at(0).value, 21);
  EXPECT_EQ(back->serial, (std::vector<std::string>{"s0", ""}));
  EXPECT_EQ(back->action.panic, PanicAction::kExitFailure);
  EXPECT_FALSE(back->sleep.s3);
}

TEST(ConfigJson, EveryTopLevelMemberDiffersInTheUnusualConfiguration) {
  // A member that to_json() forgets, or that the round trip above does not exercise, shows here.
  const auto usual = nlohmann::json::parse(to_json(VmConfig{}));
  VmConfig config = unusual();
  config.chardevs = {{.id = "c", .backend = chardev::NullBackend{}}};
  const auto unusual_json = nlohmann::json::parse(to_json(config));
  for (const auto& [key, value] : unusual_json.items()) EXPECT_NE(value, usual[key]) << key;
}

TEST(ConfigJson, EveryChardevBackendSurvivesTheRoundTrip) {
  VmConfig config;
  for (const chardev::ChardevBackendInfo& backend : chardev::chardev_backends())
    config.chardevs.push_back({.id = std::string(backend.name), .backend = backend.make(), .mux = true});
  const std::string text = to_json(config);
  const auto back = config_from_json(text);
  ASSERT_TRUE(back) << back.error().describe();
  ASSERT_EQ(back->chardevs.size(), config.chardevs.size());
  for (std::size_t i = 0; i < config.chardevs.size(); ++i)
    EXPECT_EQ(back->chardevs[i].backend.index(), config.chardevs[i].backend.index()) << config.chardevs[i].id;
  EXPECT_EQ(to_json(*back), text);
}

TEST(ConfigJson, SocketFieldsLandWhereTheyBelong) {
  const auto config = config_from_json(
      R"({"chardevs":[{"id":"s","backend":"socket","host":"h","port":"1","server":true,"wait":false,"to":9}]})");
  ASSERT_TRUE(config) << config.error().describe();
  const auto& socket = std::get<chardev::SocketBackend>(config->chardevs.at(0).backend);
  EXPECT_EQ(socket.host + socket.port, "h1");
  EXPECT_EQ(socket.wait, std::optional(false));
  EXPECT_EQ(socket.to, 9);
  EXPECT_TRUE(socket.tight);
}

TEST(ConfigJson, RepeatedKeyKeepsItsLastValue) {
  VmConfig config;
  config.machine.properties = {{"hpet", "on"}, {"hpet", "off"}};
  const auto back = config_from_json(to_json(config));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->machine.properties, (KeyValues{{"hpet", "off"}}));
}

TEST(ConfigJson, BytesThatAreNoTextAreReplaced) {
  VmConfig config;
  config.boot.append = "\xff";
  EXPECT_TRUE(config_from_json(to_json(config)));
}

TEST(ConfigJson, UnknownKeysAreNamedWithTheNearest) {
  EXPECT_EQ(error_of(R"({"smp":{"cpuz":2}})"), "smp.cpuz: there is no such key (did you mean 'cpus'?)");
  EXPECT_EQ(error_of(R"({"zzzzzzzz":1})"), "zzzzzzzz: there is no such key");
  EXPECT_EQ(error_of(R"({"chardevs":[{"id":"a","backend":"null","path":"x"}]})"),
            "chardevs[0].path: there is no such key");
}

TEST(ConfigJson, WrongTypesNameTheirPlace) {
  EXPECT_EQ(error_of(R"({"smp":{"cpus":"four"}})"), "smp.cpus: expected a number from 0 to 4294967295, not \"four\"");
  EXPECT_EQ(error_of(R"({"smp":{"cpus":-1}})"), "smp.cpus: expected a number from 0 to 4294967295, not -1");
  EXPECT_EQ(error_of(R"({"smp":{"cpus":1.5}})"), "smp.cpus: expected a number from 0 to 4294967295, not 1.5");
  EXPECT_EQ(error_of(R"({"numa":{"distances":[{"value":256}]}})"),
            "numa.distances[0].value: expected a number from 0 to 255, not 256");
  EXPECT_EQ(error_of(R"({"boot":{"menu":"on"}})"), "boot.menu: expected true or false, not \"on\"");
  EXPECT_EQ(error_of(R"({"boot":[]})"), "boot: expected an object, not []");
  EXPECT_EQ(error_of(R"({"serial":"a"})"), "serial: expected an array, not \"a\"");
  EXPECT_EQ(error_of(R"({"serial":["a",1]})"), "serial[1]: expected a string, not 1");
  EXPECT_EQ(error_of(R"({"machine":{"properties":{"hpet":false}}})"),
            "machine.properties.hpet: expected a string, not false");
  EXPECT_EQ(error_of(R"({"action":{"reboot":"explode"}})"),
            "action.reboot: expected 'reset' or 'shutdown', not \"explode\"");
}

TEST(ConfigJson, UnknownBackendIsNamedWithTheNearest) {
  EXPECT_EQ(error_of(R"({"chardevs":[{"id":"a","backend":"stdoi"}]})"),
            "chardevs[0].backend: there is no chardev backend 'stdoi' (did you mean 'stdio'?)");
}

TEST(ConfigJson, DamagedTextSaysWhere) {
  EXPECT_EQ(error_of("{\"cpu\":}"), "this is not valid JSON: character 8 of 8 is not expected there");
  EXPECT_EQ(error_of("[]"), "a machine's configuration is a JSON object");
  EXPECT_NE(error_of(""), "");
  EXPECT_NE(error_of(std::string(100000, '[')), "");
  EXPECT_NE(error_of(R"({"memory":{"size":1e999}})"), "");
}

}  // namespace
}  // namespace doppel::vm
