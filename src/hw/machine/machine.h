// A machine: a board with its chips wired up. Who runs it (vm/) knows only this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "block/disk.h"
#include "chardev/chardev.h"
#include "event/clock.h"
#include "event/loop.h"
#include "hw/core/irq_line.h"
#include "hw/intc/local_apic.h"
#include "hw/pci/msi.h"
#include "memory/address_space.h"
#include "ui/screen.h"
#include "x86/cpu_state.h"

namespace doppel::hw {

/// What a board reports. Any thread; must not call back into the machine.
class MachineEvents {
 public:
  virtual ~MachineEvents() = default;
  virtual void reset_requested() = 0;
  virtual void power_off_requested() = 0;
  /// ACPI S3.
  virtual void suspend_requested() = 0;
  /// isa-debug-exit: the process is to end with STATUS.
  virtual void exit_requested(int status) = 0;
  virtual void guest_panicked() = 0;
};

/// Which interrupt chips the board brings itself; the accelerator has the others.
struct InterruptHardware {
  bool pic_and_ioapic = true;
  bool local_apics = true;
  IrqSink* accelerator_gsi = nullptr;  // takes the 24 GSIs if the PIC and I/O APIC are the accelerator's
  IrqPin accelerator_intr;             // the 8259s' output if only the local APICs are the accelerator's
  MsiSink* accelerator_msi = nullptr;  // takes MSIs if the local APICs are the accelerator's
  std::vector<LocalApicClient*> cpus;  // one per CPU, if the local APICs are ours
};

/// One CPU as the firmware tables describe it.
struct CpuSlot {
  std::uint32_t apic_id = 0;
  unsigned numa_node = 0;
  bool present = true;  // false: room for a later CPU
};

/// A node's share of RAM.
struct NumaMemory {
  unsigned node = 0;
  std::uint64_t ram_start = 0;  // bytes from the start of all RAM
  std::uint64_t size = 0;
};

/// `-object iothread`: a loop that runs in a thread of its own whenever the machine can run, and the disks that live
/// there.
struct IoThread {
  event::Loop* loop = nullptr;
  std::function<Result<block::Disk*>(std::string_view id)> find_disk{};
};

/// Everything a board is built from; injected, owned by who runs it, and outliving the board.
struct MachineParts {
  memory::Topology& topology;
  memory::AddressSpace& memory;
  memory::AddressSpace& ports;
  event::Clock& clock;
  MachineEvents& events;
  Logger log;
  memory::RegionPtr ram{};      // all of it, from offset 0
  memory::RegionPtr low_ram{};  // a kRam region over its first part, at least 1 MiB
  std::uint64_t ram_size = 0;
  InterruptHardware interrupts{};
  std::vector<CpuSlot> cpus{};
  std::vector<NumaMemory> numa_memory{};
  std::vector<std::uint8_t> numa_distances{};
  std::uint64_t tsc_hz = 0;
  std::function<std::uint64_t()> tsc_now{};  // the guest's TSC
  unsigned physical_address_bits = 40;
  /// A character backend by id; an unknown one is an error that names the nearest.
  std::function<Result<chardev::Chardev*>(std::string_view id)> find_chardev{};
  /// A disk image by its drive's id, for one device alone, which works on the main thread's loop; an unknown one is an
  /// error that names the nearest.
  std::function<Result<block::Disk*>(std::string_view id)> find_disk{};
  /// The main thread's loop, for devices that work on it.
  event::Loop* loop = nullptr;
  /// An iothread by its id, for devices that have iothread=; an unknown one is an error.
  std::function<Result<IoThread>(std::string_view id)> find_iothread{};
  /// All that is on a disk so found, before the machine runs.
  std::function<Result<std::vector<std::byte>>(const block::Disk& disk)> read_disk{};
};

using DeviceProperties = std::vector<std::pair<std::string, std::string>>;

class Machine {
 public:
  virtual ~Machine() = default;

  /// Power-on state of every chip, and the firmware tables laid out again. All vCPUs paused.
  virtual void reset() = 0;
  /// Ends a suspend to RAM: resets all chips, but firmware finds out that it is to resume and the guest what woke it,
  /// the power button. After suspend_requested(), all vCPUs paused.
  virtual void wake() = 0;
  /// Where the boot processor starts, if not at the firmware's reset vector. After reset().
  [[nodiscard]] virtual std::optional<x86::CpuState> boot_entry() = 0;
  /// `-device DRIVER,PROPERTIES`. Before the first reset().
  virtual Result<> add_device(std::string_view driver, const DeviceProperties& properties) = 0;

  virtual void power_button() = 0;
  /// What there is to be seen, or nullptr if the machine has no display adapter.
  [[nodiscard]] virtual ui::ScreenSource* screen() = 0;
  /// The keyboard, or nullptr.
  [[nodiscard]] virtual ui::KeySink* keyboard() = 0;
  /// A level-triggered VECTOR was acknowledged by a local APIC of the accelerator (split interrupt controller).
  virtual void end_of_interrupt(std::uint8_t vector) = 0;

  /// Our local APIC of CPU, or nullptr if the accelerator has it.
  [[nodiscard]] virtual LocalApic* local_apic(std::size_t cpu) = 0;
  /// Our 8259s' acknowledge cycle, or nullptr if the accelerator has them.
  [[nodiscard]] virtual InterruptAcknowledge* pic() = 0;

  /// All devices' state, in a fixed order; to load it, no iothread may run.
  virtual void save(state::Writer& writer) = 0;
  virtual Result<> load(state::Reader& reader) = 0;
};

}  // namespace doppel::hw
