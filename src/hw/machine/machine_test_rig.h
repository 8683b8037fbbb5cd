// What the tests of the boards share: everything a board is built from, and a guest's way of looking at it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bits.h"
#include "event/fake_clock.h"
#include "hw/machine/microvm.h"
#include "hw/machine/pc.h"

namespace doppel::hw {

struct RecordingEvents final : MachineEvents {
  void reset_requested() override { ++resets; }
  void power_off_requested() override { ++power_offs; }
  void suspend_requested() override { ++suspends; }
  void exit_requested(int status) override { exit_status = status; }
  void guest_panicked() override { ++panics; }

  int resets = 0;
  int power_offs = 0;
  int suspends = 0;
  int panics = 0;
  int exit_status = -1;
};

/// A processor that only notes what its local APIC tells it.
struct RecordingCpu final : LocalApicClient {
  void interrupt_pending() override { ++interrupts; }
  void nmi() override { ++nmis; }
  void smi() override {}
  void init() override {}
  void start_up(std::uint8_t /*vector*/) override {}
  int interrupts = 0;
  int nmis = 0;
};

/// The accelerator's side of the interrupt wires.
struct RecordingAccelerator final : IrqSink, MsiSink {
  void set_irq(unsigned pin, bool level) override { levels[pin] = level; }
  void signal(std::uint64_t address, std::uint32_t data) override { messages.emplace_back(address, data); }
  std::map<unsigned, bool> levels;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> messages;
};

enum class Irqchip : std::uint8_t { kKernel, kSplit, kOff };

/// Two processors, 16 MiB of real memory at the bottom of however much the test claims to have.
class MachineRig {
 public:
  static constexpr std::uint64_t kBlockSize = 16 * kMiB;
  static constexpr std::uint8_t kRomByte = 0xa5;

  explicit MachineRig(Irqchip irqchip = Irqchip::kOff, std::uint64_t ram_size = kBlockSize)
      : irqchip_(irqchip), ram_size_(ram_size) {
    std::ofstream(bios) << std::string(64 * kKiB, static_cast<char>(kRomByte));
    auto block = memory::RamBlock::create({.name = "pc.ram", .size = kBlockSize});
    EXPECT_TRUE(block);
    low_ram_ = topology.ram("pc.ram", *block, 0, kBlockSize);
    ram_ = topology.container("ram", ram_size);
    ram_->add(low_ram_, 0);
  }
  ~MachineRig() { std::remove(bios.c_str()); }
  MachineRig(const MachineRig&) = delete;
  MachineRig& operator=(const MachineRig&) = delete;

  [[nodiscard]] MachineParts parts() {
    MachineParts parts{
        .topology = topology, .memory = memory, .ports = ports, .clock = clock, .events = events, .log = {}};
    parts.ram = ram_;
    parts.low_ram = low_ram_;
    parts.ram_size = ram_size_;
    parts.interrupts.pic_and_ioapic = irqchip_ != Irqchip::kKernel;
    parts.interrupts.local_apics = irqchip_ == Irqchip::kOff;
    if (irqchip_ == Irqchip::kKernel) parts.interrupts.accelerator_gsi = &accelerator;
    if (irqchip_ == Irqchip::kSplit) parts.interrupts.accelerator_intr = {&accelerator, 100};
    if (irqchip_ == Irqchip::kOff)
      parts.interrupts.cpus = {&cpus[0], &cpus[1]};
    else
      parts.interrupts.accelerator_msi = &accelerator;
    parts.cpus = {{.apic_id = 0}, {.apic_id = 1}};
    parts.loop = &loop;
    parts.tsc_hz = 1'000'000'000;
    parts.tsc_now = [this] { return static_cast<std::uint64_t>(clock.now_ns()); };
    parts.find_chardev = [](std::string_view id) -> Result<chardev::Chardev*> {
      if (id.empty()) return nullptr;
      return fail(ErrorKind::kNotFound, "there is no chardev '{}'", id);
    };
    return parts;
  }
  [[nodiscard]] BoardConfig config() const {
    BoardConfig config;
    config.bios = bios;
    config.serial = {{.present = true}};
    return config;
  }
  [[nodiscard]] std::unique_ptr<PcMachine> pc() { return pc(config()); }
  [[nodiscard]] std::unique_ptr<PcMachine> pc(BoardConfig config) {
    auto machine = PcMachine::create(parts(), std::move(config));
    if (!machine) ADD_FAILURE() << machine.error().describe();
    if (machine) (*machine)->reset();
    return machine ? std::move(*machine) : nullptr;
  }

  [[nodiscard]] std::uint64_t in(std::uint64_t port, unsigned size = 1) {
    return ports.read(memory::GuestPhysAddr{port}, size);
  }
  void out(std::uint64_t port, std::uint64_t value, unsigned size = 1) {
    ports.write(memory::GuestPhysAddr{port}, size, value);
  }
  [[nodiscard]] std::uint64_t load(std::uint64_t address, unsigned size = 1) {
    return memory.read(memory::GuestPhysAddr{address}, size);
  }
  void store(std::uint64_t address, std::uint64_t value, unsigned size = 1) {
    memory.write(memory::GuestPhysAddr{address}, size, value);
  }
  void config_out(unsigned device, unsigned function, unsigned reg, std::uint64_t value, unsigned size) {
    out(0xcf8, 0x80000000U | device << 11U | function << 8U | (reg & ~3U), 4);
    out(0xcfc + (reg & 3U), value, size);
  }
  [[nodiscard]] std::uint64_t config_in(unsigned device, unsigned function, unsigned reg, unsigned size) {
    out(0xcf8, 0x80000000U | device << 11U | function << 8U | (reg & ~3U), 4);
    return in(0xcfc + (reg & 3U), size);
  }
  /// Programs the 8259s as firmware does: vectors from 08h and 70h, all interrupts unmasked.
  void set_up_pics() {
    for (const auto& [port, vectors, cascade] : {std::tuple{0x20U, 0x08U, 4U}, std::tuple{0xa0U, 0x70U, 2U}}) {
      out(port, 0x11);
      out(port + 1, vectors);
      out(port + 1, cascade);
      out(port + 1, 0x01);
      out(port + 1, 0x00);
    }
  }
  void set_redirection(unsigned pin, std::uint64_t entry) {
    store(0xfec00000, 0x10 + 2 * pin, 4);
    store(0xfec00010, entry & 0xffffffff, 4);
    store(0xfec00000, 0x11 + 2 * pin, 4);
    store(0xfec00010, entry >> 32U, 4);
  }
  /// A fw_cfg file by the guest's way to it; empty if there is none.
  [[nodiscard]] std::string fw_cfg_file(const std::string& wanted) {
    out(0x510, 0x19, 2);
    const auto big = [this](unsigned bytes) {
      std::uint64_t value = 0;
      for (unsigned i = 0; i < bytes; ++i) value = value << 8U | in(0x511);
      return value;
    };
    const std::uint64_t count = big(4);
    for (std::uint64_t i = 0; i < count && i < 1000; ++i) {
      const std::uint64_t size = big(4);
      const std::uint64_t key = big(2);
      big(2);
      std::string name;
      for (unsigned n = 0; n < 56; ++n) name.push_back(static_cast<char>(in(0x511)));
      if (name.c_str() != wanted) continue;
      out(0x510, key, 2);
      std::string data;
      for (std::uint64_t n = 0; n < size; ++n) data.push_back(static_cast<char>(in(0x511)));
      return data;
    }
    return {};
  }

  const std::string bios =
      testing::TempDir() + "doppel-bios-" + std::to_string(::getpid()) + "-" + std::to_string(++rigs_) + ".bin";
  memory::Topology topology;
  memory::AddressSpace memory{topology, topology.container("system", 0), "memory"};
  memory::AddressSpace ports{topology, topology.container("io", 0x10000), "ports"};
  event::FakeClock clock;
  event::Loop loop;
  RecordingEvents events;
  RecordingCpu cpus[2];
  RecordingAccelerator accelerator;

 private:
  static inline int rigs_ = 0;  // for a file name of one's own
  const Irqchip irqchip_;
  const std::uint64_t ram_size_;
  memory::RegionPtr low_ram_;
  memory::RegionPtr ram_;
};

}  // namespace doppel::hw
