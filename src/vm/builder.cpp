#include "vm/builder.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/text.h"
#include "hw/firmware/acpi.h"
#include "hw/machine/microvm.h"
#include "hw/machine/pc.h"
#include "hw/timer/rtc_calendar.h"
#include "vm/accelerator_irqs.h"
#include "vm/accelerators.h"
#include "vm/apic_port.h"
#include "vm/host_tsc.h"
#include "vm/pic_port.h"
#include "vm/smp.h"
#include "x86/cpuid_builder.h"
#include "x86/cpuid_table.h"

namespace doppel::vm {

namespace {

constexpr std::uint64_t kLargestFwCfgFile = 64ULL << 20U;

/// The MSRs that belong to a local APIC of ours: IA32_APIC_BASE, IA32_TSC_DEADLINE, the x2APIC's.
std::vector<std::uint32_t> local_apic_msrs() {
  std::vector<std::uint32_t> msrs{0x1b, 0x6e0};
  for (std::uint32_t index = 0x800; index < 0x900; ++index) msrs.push_back(index);
  return msrs;
}

/// "00112233-4455-..." as the 16 bytes it writes out.
std::array<std::byte, 16> parse_uuid(std::string_view text) {
  std::array<std::byte, 16> bytes{};
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-' || digits == 32) continue;
    const int value = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    auto& byte = bytes[digits++ / 2];
    byte = static_cast<std::byte>(std::to_integer<int>(byte) << 4 | value);
  }
  return bytes;
}

/// RESULT, its error with OPTION and its VALUE in front.
template <class T>
Result<T> of_option(std::string_view option, std::string_view value, Result<T> result) {
  if (!result) return std::unexpected(std::move(result).error().wrap(fmt::format("{} {}", option, value)));
  return result;
}

const x86::CpuidEntry* find_leaf(const x86::CpuidTable& table, std::uint32_t leaf) {
  for (const x86::CpuidEntry& entry : table)
    if (entry.leaf == leaf) return &entry;
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<VirtualMachine>> VirtualMachine::create(VmConfig config, event::Loop& loop, LogSink& sink,
                                                               AcceleratorOpener opener) {
  return VirtualMachineBuilder(std::move(config), loop, sink, std::move(opener)).build();
}

VirtualMachineBuilder::VirtualMachineBuilder(VmConfig config, event::Loop& loop, LogSink& sink,
                                             AcceleratorOpener opener)
    : vm_(new VirtualMachine(std::move(config), loop, sink)),
      opener_(std::move(opener)),
      config_(vm_->config_),
      log_(vm_->log_) {}

Result<std::unique_ptr<VirtualMachine>> VirtualMachineBuilder::build() && {
  DOPPEL_TRY(read_machine_properties());
  DOPPEL_TRY(open_accelerator());
  DOPPEL_TRY(choose_irqchip());
  DOPPEL_TRY(choose_cpu());
  DOPPEL_TRY(create_memory());
  DOPPEL_TRY(create_chardevs());
  DOPPEL_TRY(open_disks());
  DOPPEL_TRY(create_machine());
  DOPPEL_TRY(create_vcpus());
  vm_->machine_->reset();
  vm_->memory_->add_listener(*vm_->slots_);  // only now: the accelerator sees the memory map once, complete
  vm_->ports_->add_listener(*vm_->port_slots_);
  vm_->reset_vcpus();
  vm_->iothreads_->start();
  DOPPEL_TRY(create_display());  // last: until then errors are told on the terminal
  return std::move(vm_);
}

Result<> VirtualMachineBuilder::read_machine_properties() {
  DOPPEL_ASSIGN(type_, find_machine_type(config_.machine.type));
  for (const auto& [name, value] : config_.machine.properties) {
    auto set = hw::kPcProperties.set(machine_, name, value);
    if (!set) return std::unexpected(std::move(set).error().wrap("-machine"));
  }
  return {};
}

Result<> VirtualMachineBuilder::open_accelerator() {
  DOPPEL_ASSIGN(vm_->accelerator_, opener_(config_.accelerators, log_, config_.profile));
  DOPPEL_ASSIGN(vm_->vm_, vm_->accelerator_->create_vm());
  const unsigned most = std::min(type_->max_cpus, vm_->accelerator_->capabilities().max_vcpus);
  DOPPEL_ASSIGN(smp_, resolve_smp(config_.smp, most));
  topology_ = {.sockets = smp_.sockets, .dies = smp_.dies, .cores = smp_.cores, .threads = smp_.threads};
  return {};
}

Result<accel::IrqchipMode> VirtualMachineBuilder::wanted_irqchip() const {
  using accel::IrqchipMode;
  std::string_view wanted = machine_.kernel_irqchip;
  for (const AccelConfig& accel : config_.accelerators)
    for (const auto& [name, value] : accel.properties)
      if (name == "kernel-irqchip" || name == "kernel_irqchip") wanted = value;
  const accel::Capabilities& offered = vm_->accelerator_->capabilities();
  if (wanted == "auto" && type_->irqchip == IrqchipMode::kSplit && offered.split_irqchip) return IrqchipMode::kSplit;
  if (wanted == "auto" || wanted == "on") return offered.irqchip ? IrqchipMode::kKernel : IrqchipMode::kOff;
  if (wanted == "off") return IrqchipMode::kOff;
  if (wanted != "split")
    return fail(ErrorKind::kInvalidArgument, "-machine kernel-irqchip= expects on, split or off, not '{}'", wanted);
  if (!offered.split_irqchip)
    return fail(ErrorKind::kUnsupported, "accelerator {} has no split interrupt controller; write kernel-irqchip=off",
                vm_->accelerator_->name());
  return IrqchipMode::kSplit;
}

Result<> VirtualMachineBuilder::choose_irqchip() {
  using accel::IrqchipMode;
  DOPPEL_ASSIGN(irqchip_, wanted_irqchip());
  DOPPEL_TRY(vm_->vm_->create_irqchip(irqchip_));
  vm_->accelerator_irqs_ = std::make_unique<AcceleratorIrqs>(*vm_->vm_, irqchip_, log_.named("irq"),
                                                             vm_->accelerator_->capabilities().irqfd);
  if (irqchip_ == IrqchipMode::kKernel) {
    DOPPEL_ASSIGN(vm_->irqchip_at_reset_, vm_->vm_->save_irqchip());
    return vm_->vm_->set_irq_routing(pc_irq_routes());
  }
  if (irqchip_ == IrqchipMode::kOff) return vm_->vm_->exit_on_msrs(local_apic_msrs(), false);
  return {};
}

Result<> VirtualMachineBuilder::choose_cpu() {
  DOPPEL_ASSIGN(auto config,
                of_option("-cpu", config_.cpu, x86::parse_cpu_option(config_.cpu.empty() ? "qemu64" : config_.cpu)));
  DOPPEL_ASSIGN(supported_cpuid_, vm_->accelerator_->supported_cpuid());
  x86::CpuSupport support;
  support.cpuid = supported_cpuid_;
  support.kvm = x86::find_cpuid(supported_cpuid_, x86::kKvmSignatureLeaf) != nullptr;
  support.kernel_lapic = irqchip_ != accel::IrqchipMode::kOff;
  DOPPEL_ASSIGN(auto resolved, x86::resolve_cpu(config, support));
  cpu_ = std::move(resolved.model);
  for (const std::string& note : config.notes) log_.warn("{}", note);
  // The default model is nobody's wish: what it lacks here is worth no warning.
  if (!config_.cpu.empty())
    for (const std::string& warning : resolved.warnings) log_.warn("{}", warning);
  return {};
}

Result<> VirtualMachineBuilder::create_memory() {
  memory::Topology& topology = vm_->topology_;
  vm_->memory_ =
      std::make_unique<memory::AddressSpace>(topology, topology.container("system", 0), "memory", log_.named("memory"));
  vm_->ports_ =
      std::make_unique<memory::AddressSpace>(topology, topology.container("io", 0x10000), "ports", log_.named("ports"));
  DOPPEL_ASSIGN(vm_->guest_memory_, create_guest_memory(config_, machine_.memory_backend, smp_.maxcpus, topology));
  const auto failed = [log = log_](const Error& error) { log.error("guest memory: {}", error.describe()); };
  vm_->slots_ = std::make_unique<accel::SlotTable>(
      *vm_->vm_, accel::SlotTable::Options{.capabilities = vm_->accelerator_->capabilities()}, failed);
  vm_->port_slots_ =
      std::make_unique<accel::SlotTable>(*vm_->vm_,
                                         accel::SlotTable::Options{.space = accel::SlotTable::Space::kPorts,
                                                                   .capabilities = vm_->accelerator_->capabilities()},
                                         failed);
  if (vm_->accelerator_->name() == "kvm") {
    vm_->stepper_ = std::make_unique<InstructionStepper>(VcpuBuses{*vm_->memory_, *vm_->ports_}, log_.named("stepper"));
    vm_->vm_->set_fallback(vm_->stepper_.get());
  }
  return {};
}

Result<> VirtualMachineBuilder::create_chardevs() {
  vm_->chardevs_ = std::make_unique<chardev::ChardevSet>(
      vm_->loop_, log_.named("chardev"),
      chardev::MuxActions{.exit = [vm = vm_.get()] { vm->quit(0); }, .save_disks = {}});
  for (const chardev::ChardevConfig& config : config_.chardevs) DOPPEL_TRY(vm_->chardevs_->add(config));
  return {};
}

Result<> VirtualMachineBuilder::open_disks() {
  vm_->iothreads_ = std::make_unique<IoThreadSet>(config_.iothreads, config_.process.debug_threads);
  DOPPEL_ASSIGN(DiskHomes homes, DiskHomes::plan(config_));
  DiskSet::Events events{.stopped = [vm = vm_.get()](const std::string& why) { vm->disk_stopped(why); },
                         .fatal =
                             [vm = vm_.get(), log = log_](const Error& error) {
                               log.error("{}", error.describe());
                               vm->quit(1);
                             }};
  vm_->disks_ = std::make_unique<DiskSet>(vm_->loop_, std::move(events), *vm_->iothreads_, std::move(homes));
  for (const BlockObjectConfig& object : config_.block_objects) DOPPEL_TRY(vm_->disks_->add_object(object));
  DOPPEL_TRY(vm_->disks_->open_nodes(config_.nodes));
  for (const DriveConfig& drive : config_.drives) DOPPEL_TRY(vm_->disks_->open(drive));
  return {};
}

hw::InterruptHardware VirtualMachineBuilder::interrupt_hardware() {
  using accel::IrqchipMode;
  hw::InterruptHardware hardware;
  hardware.pic_and_ioapic = irqchip_ != IrqchipMode::kKernel;
  hardware.local_apics = irqchip_ == IrqchipMode::kOff;
  if (!hardware.pic_and_ioapic) hardware.accelerator_gsi = vm_->accelerator_irqs_.get();
  if (hardware.local_apics) {
    for (unsigned i = 0; i < smp_.cpus; ++i)
      hardware.cpus.push_back(vm_->apic_ports_.emplace_back(std::make_unique<ApicPort>()).get());
  } else {
    hardware.accelerator_msi = vm_->accelerator_irqs_.get();
  }
  if (irqchip_ == IrqchipMode::kSplit) {
    vm_->pic_port_ = std::make_unique<PicPort>();
    hardware.accelerator_intr = {vm_->pic_port_.get(), 0};
  }
  return hardware;
}

std::vector<hw::CpuSlot> VirtualMachineBuilder::cpu_slots() const {
  std::vector<hw::CpuSlot> slots;
  for (unsigned i = 0; i < smp_.maxcpus; ++i) {
    hw::CpuSlot slot{.apic_id = x86::apic_id_of(topology_, i), .numa_node = 0, .present = i < smp_.cpus};
    for (const NumaNode& node : vm_->guest_memory_.nodes)
      if (std::ranges::find(node.cpus, i) != node.cpus.end()) slot.numa_node = node.id;
    slots.push_back(slot);
  }
  return slots;
}

hw::MachineParts VirtualMachineBuilder::machine_parts() {
  hw::MachineParts parts{.topology = vm_->topology_,
                         .memory = *vm_->memory_,
                         .ports = *vm_->ports_,
                         .clock = vm_->loop_.virtual_clock(),
                         .events = *vm_,
                         .log = log_,
                         .ram = vm_->guest_memory_.ram};
  parts.ram_size = vm_->guest_memory_.size;
  parts.low_ram = vm_->guest_memory_.low_ram;
  parts.interrupts = interrupt_hardware();
  parts.cpus = cpu_slots();
  for (const NumaNode& node : vm_->guest_memory_.nodes)
    parts.numa_memory.push_back({.node = node.id, .ram_start = node.ram_start, .size = node.ram_size});
  parts.numa_distances = vm_->guest_memory_.distances;
  if (parts.interrupts.local_apics) parts.tsc_hz = host_tsc_hz();
  parts.tsc_now = host_tsc;
  parts.physical_address_bits = cpu_.phys_bits;
  parts.find_chardev = [vm = vm_.get()](std::string_view id) -> Result<chardev::Chardev*> {
    if (id.empty()) return nullptr;
    return vm->chardevs_->claim(id);
  };
  parts.loop = &vm_->loop_;
  parts.find_disk = [vm = vm_.get()](std::string_view id) { return vm->disks_->claim(id); };
  parts.find_iothread = [vm = vm_.get()](std::string_view id) -> Result<hw::IoThread> {
    DOPPEL_TRY(check_iothread(vm->config_, id));
    return hw::IoThread{
        .loop = vm->iothreads_->find(id),
        .find_disk = [vm, home = std::string(id)](std::string_view disk) { return vm->disks_->claim(disk, home); }};
  };
  parts.read_disk = [vm = vm_.get()](const block::Disk& disk) { return vm->disks_->read_all(disk); };
  return parts;
}

Result<hw::BoardConfig> VirtualMachineBuilder::board_config() {
  hw::BoardConfig board;
  board.properties = machine_;
  const BootConfig& boot = config_.boot;
  board.kernel = boot.kernel;
  board.initrd = boot.initrd;
  board.command_line = boot.append;
  board.bios = boot.bios;
  board.firmware_directories = boot.firmware_directories;
  board.boot_order = boot.order;
  board.boot_once = boot.once;
  board.offers_s3 = config_.sleep.s3;
  board.offers_s4 = config_.sleep.s4;
  board.has_display = std::ranges::find(config_.devices, "VGA", &DeviceConfig::driver) != config_.devices.end();
  board.boot_menu = boot.menu;
  board.boot_strict = boot.strict;
  board.boot_menu_wait_ms = static_cast<std::uint16_t>(std::min(boot.splash_time_ms, 0xffffU));
  if (boot.reboot_timeout_ms >= 0) board.reboot_timeout_ms = static_cast<std::uint32_t>(boot.reboot_timeout_ms);
  for (const FwCfgFileConfig& file : config_.fw_cfg) {
    if (file.file.empty()) {
      board.fw_cfg_files.push_back({file.name, hw::text_bytes(file.text)});
      continue;
    }
    auto blob = hw::read_blob(file.file, kLargestFwCfgFile);
    if (!blob) return std::unexpected(std::move(blob).error().wrap(fmt::format("-fw_cfg {}", file.name)));
    board.fw_cfg_files.push_back({file.name, std::move(*blob)});
  }
  board.uuid = parse_uuid(config_.uuid);
  board.smbios.uuid = board.uuid;
  board.smbios.sockets = smp_.sockets;
  board.smbios.cores_per_socket = smp_.dies * smp_.cores;
  board.smbios.threads_per_core = smp_.threads;
  for (const std::string& option : config_.tables.smbios)
    DOPPEL_TRY(of_option("-smbios", option, board.smbios.options.parse(option)));
  for (const std::string& option : config_.tables.acpi) {
    DOPPEL_ASSIGN(auto table, of_option("-acpitable", option, hw::parse_acpi_table_option(option)));
    board.acpi_tables.push_back(std::move(table));
  }
  const x86::CpuidTable cpuid = x86::build_cpuid(cpu_, topology_, 0, supported_cpuid_);
  if (const auto* leaf = find_leaf(cpuid, 1)) {
    board.smbios.cpuid_1_eax = leaf->eax;
    board.smbios.cpuid_1_edx = leaf->edx;
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  DOPPEL_ASSIGN(board.rtc_start_ns,
                hw::rtc_start_ns(config_.rtc.base, std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()));
  board.rtc_slew = config_.rtc.slew;
  for (const std::string& id : config_.serial) {
    hw::SerialSlot slot;
    slot.present = !id.empty();
    if (slot.present) {
      DOPPEL_ASSIGN(slot.chardev, vm_->chardevs_->claim(id));
    }
    board.serial.push_back(slot);
  }
  return board;
}

hw::DeviceProperties VirtualMachineBuilder::properties_of(const DeviceConfig& device) const {
  hw::DeviceProperties properties;
  for (const GlobalConfig& global : config_.globals)
    if (global.driver == device.driver) properties.emplace_back(global.property, global.value);
  properties.insert(properties.end(), device.properties.begin(), device.properties.end());
  return properties;
}

Result<> VirtualMachineBuilder::create_machine() {
  if (type_->kind == MachineKind::kNone)
    return fail(ErrorKind::kUnsupported,
                "-machine none has nothing to run; it is for asking questions over QMP, which is not there yet");
  DOPPEL_ASSIGN(auto board, board_config());
  hw::MachineParts parts = machine_parts();
  if (type_->kind == MachineKind::kMicrovm) {
    DOPPEL_ASSIGN(vm_->machine_, hw::MicrovmMachine::create(std::move(parts), std::move(board)));
  } else {
    DOPPEL_ASSIGN(vm_->machine_, hw::PcMachine::create(std::move(parts), std::move(board)));
  }
  for (const DeviceConfig& device : config_.devices) {
    auto added = vm_->machine_->add_device(device.driver, properties_of(device));
    if (!added) return std::unexpected(std::move(added).error().wrap(fmt::format("-device {}", device.driver)));
  }
  return {};
}

Result<std::unique_ptr<accel::Vcpu>> VirtualMachineBuilder::create_vcpu(unsigned index) {
  DOPPEL_ASSIGN(auto vcpu, vm_->vm_->create_vcpu(x86::apic_id_of(topology_, index)));
  DOPPEL_TRY(vcpu->set_cpuid(x86::build_cpuid(cpu_, topology_, index, supported_cpuid_)));
  return vcpu;
}

Result<> VirtualMachineBuilder::create_vcpus() {
  for (unsigned i = 0; i < smp_.cpus; ++i) {
    auto vcpu = create_vcpu(i);
    if (!vcpu) return std::unexpected(std::move(vcpu).error().wrap(fmt::format("cannot create CPU {}", i)));
    VcpuThreadConfig config(VcpuBuses{*vm_->memory_, *vm_->ports_});
    ApicPort* const apic = vm_->apic_ports_.empty() ? nullptr : vm_->apic_ports_[i].get();
    PicPort* const pic = i == 0 ? vm_->pic_port_.get() : nullptr;
    if (apic != nullptr) apic->connect(*vm_->machine_->local_apic(i));
    if (pic != nullptr) pic->connect(*vm_->machine_->pic());
    config.interrupts = apic != nullptr ? static_cast<InterruptPort*>(apic) : pic;
    config.reset.signature = x86::encode_signature(cpu_.signature);
    config.reset.apic_id = (*vcpu)->id();
    config.reset.msrs = vm_->accelerator_->saved_msrs();
    config.reset.xsave_size = x86::xsave_area_size(supported_cpuid_, cpu_.xcr0());
    config.name_threads = config_.process.debug_threads;
    config.log = log_.named(fmt::format("cpu{}", i));
    VcpuObserver& observer = *vm_;
    auto thread = std::make_unique<VcpuThread>(std::move(*vcpu), observer, std::move(config));
    const auto wake = [vcpu_thread = thread.get()] { vcpu_thread->wake(); };
    if (apic != nullptr) apic->set_wake(wake);
    if (pic != nullptr) pic->set_wake(wake);
    vm_->vcpus_.push_back(std::move(thread));
  }
  return {};
}

Result<> VirtualMachineBuilder::create_display() {
  if (config_.display.kind == DisplayKind::kNone) return {};
  ui::ScreenSource* const screen = vm_->machine_->screen();
  if (screen == nullptr)
    return fail(ErrorKind::kInvalidArgument,
                "-display curses has nothing to show, as this machine has no display adapter; write '-vga std' with "
                "'-machine pc'");
  auto display = ui::CursesDisplay::create(vm_->loop_, *screen, vm_->machine_->keyboard(),
                                           [vm = vm_.get()] { vm->quit(EXIT_SUCCESS); });
  if (!display) return std::unexpected(std::move(display).error().wrap("-display curses"));
  vm_->display_ = std::move(*display);
  return {};
}

}  // namespace doppel::vm
