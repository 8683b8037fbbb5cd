// The test guest: a bare-metal 64-bit program, started by PVH, that finds the machine as an operating system would and
// says what it found, a line per fact on COM1. It reaches user mode, then powers off. Uses only what an interpreting
// KVM can run: integer instructions at CPL 0, no INT n, no SYSCALL.

#include <cstddef>
#include <cstdint>

extern "C" {
extern const char trampoline[], trampoline_end[];
extern volatile std::uint32_t application_processors, timer_ticks, level_interrupts;
void timer_handler();
void level_handler();
void invalid_opcode_handler();
std::uint64_t enter_user(void (*function)());
void guest_main(std::uintptr_t start_info);
}

namespace {

// ---- Ports and memory

void out8(std::uint16_t port, std::uint8_t value) {
  asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
void out16(std::uint16_t port, std::uint16_t value) {
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
void out32(std::uint16_t port, std::uint32_t value) {
  asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
std::uint8_t in8(std::uint16_t port) {
  std::uint8_t value;
  asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
std::uint32_t in32(std::uint16_t port) {
  std::uint32_t value;
  asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

template <class T>
volatile T& at(std::uintptr_t address) {
  return *reinterpret_cast<volatile T*>(address);
}

// ---- Text on COM1

constexpr std::uint16_t kCom1 = 0x3f8;

void put(char c) {
  while ((in8(kCom1 + 5) & 0x20) == 0) {
  }
  out8(kCom1, static_cast<std::uint8_t>(c));
}

void put(const char* text) {
  for (; *text != 0; ++text) put(*text);
}

void put_hex(std::uint64_t value, unsigned digits) {
  for (unsigned i = digits; i-- > 0;) put("0123456789abcdef"[(value >> (4 * i)) & 15]);
}

void put_number(std::uint64_t value) {
  if (value >= 10) put_number(value / 10);
  put(static_cast<char>('0' + value % 10));
}

void begin_line() {
  put("doppel-guest: ");
}

void line(const char* text) {
  begin_line();
  put(text);
  put("\n");
}

// ---- What PVH's start info says

struct StartInfo {
  std::uint32_t magic, version, flags, module_count;
  std::uint64_t modules, command_line, rsdp, memory_map;
  std::uint32_t memory_map_entries, reserved;
};

struct MemoryMapEntry {
  std::uint64_t address, size;
  std::uint32_t type, reserved;
};

void report_memory(const StartInfo& info) {
  const auto* entries = reinterpret_cast<const MemoryMapEntry*>(info.memory_map);
  std::uint64_t usable = 0;
  for (std::uint32_t i = 0; i < info.memory_map_entries; ++i)
    if (entries[i].type == 1) usable += entries[i].size;
  begin_line();
  put("memory: ");
  put_number((usable + 0xfffff) >> 20);
  put(" MiB\n");
}

// ---- ACPI: how many processors, and where power-off is

bool starts_with(std::uintptr_t address, const char* signature) {
  for (std::size_t i = 0; signature[i] != 0; ++i)
    if (at<char>(address + i) != signature[i]) return false;
  return true;
}

std::uintptr_t find_rsdp(const StartInfo& info) {
  if (info.rsdp != 0) return info.rsdp;
  for (std::uintptr_t p = 0xe0000; p < 0x100000; p += 16)
    if (starts_with(p, "RSD PTR ")) return p;
  return 0;
}

std::uintptr_t find_table(std::uintptr_t rsdp, const char* signature) {
  if (rsdp == 0) return 0;
  const std::uintptr_t rsdt = at<std::uint32_t>(rsdp + 16);
  const std::uint32_t length = at<std::uint32_t>(rsdt + 4);
  for (std::uint32_t offset = 36; offset + 4 <= length; offset += 4)
    if (const std::uintptr_t table = at<std::uint32_t>(rsdt + offset); starts_with(table, signature)) return table;
  return 0;
}

/// Enabled local APIC entries of the MADT (ACPI 5.2.12.2).
unsigned count_processors(std::uintptr_t madt) {
  if (madt == 0) return 0;
  unsigned count = 0;
  const std::uint32_t length = at<std::uint32_t>(madt + 4);
  for (std::uint32_t offset = 44; offset + 2 <= length; offset += at<std::uint8_t>(madt + offset + 1)) {
    if (at<std::uint8_t>(madt + offset) == 0 && (at<std::uint32_t>(madt + offset + 4) & 1) != 0) ++count;
    if (at<std::uint8_t>(madt + offset + 1) == 0) break;
  }
  return count;
}

// ---- PCI

void report_pci() {
  for (std::uint32_t device = 0; device < 32; ++device) {
    for (std::uint32_t function = 0; function < 8; ++function) {
      const std::uint32_t address = 0x80000000U | device << 11 | function << 8;
      out32(0xcf8, address);
      const std::uint32_t id = in32(0xcfc);
      if (id == 0xffffffff) {
        if (function == 0) break;
        continue;
      }
      out32(0xcf8, address | 8);
      const std::uint32_t class_code = in32(0xcfc) >> 8;
      begin_line();
      put("pci ");
      put_hex(device, 2);
      put('.');
      put_hex(function, 1);
      put(' ');
      put_hex(id & 0xffff, 4);
      put(':');
      put_hex(id >> 16, 4);
      put(" class ");
      put_hex(class_code, 6);
      put("\n");
    }
  }
}

// ---- Interrupts: PIT through the I/O APIC, processors by INIT and SIPI

constexpr std::uintptr_t kLocalApic = 0xfee00000;
constexpr std::uintptr_t kIoApic = 0xfec00000;
constexpr std::uint8_t kTimerVector = 0x40;
constexpr std::uint8_t kLevelVector = 0x41;

struct [[gnu::packed]] Gate {
  std::uint16_t offset_low, selector;
  std::uint8_t ist, type;
  std::uint16_t offset_middle;
  std::uint32_t offset_high, reserved;
};

Gate idt[256];

void set_gate(unsigned vector, void (*handler)()) {
  const auto address = reinterpret_cast<std::uintptr_t>(handler);
  idt[vector] = {static_cast<std::uint16_t>(address),       8, 0, 0x8e, static_cast<std::uint16_t>(address >> 16),
                 static_cast<std::uint32_t>(address >> 32), 0};
}

void load_idt() {
  set_gate(kTimerVector, timer_handler);
  set_gate(kLevelVector, level_handler);
  set_gate(6, invalid_opcode_handler);
  struct [[gnu::packed]] {
    std::uint16_t limit;
    std::uint64_t base;
  } pointer{sizeof idt - 1, reinterpret_cast<std::uintptr_t>(idt)};
  asm volatile("lidt %0" : : "m"(pointer));
}

void io_apic_write(std::uint32_t index, std::uint32_t value) {
  at<std::uint32_t>(kIoApic) = index;
  at<std::uint32_t>(kIoApic + 0x10) = value;
}

void report_timer() {
  out8(0x21, 0xff);  // both 8259s silent
  out8(0xa1, 0xff);
  at<std::uint32_t>(kLocalApic + 0xf0) = 0x1ff;     // enabled, spurious vector FF
  io_apic_write(0x10 + 2 * 2 + 1, 0);               // pin 2 to APIC 0
  io_apic_write(0x10 + 2 * 2, kTimerVector);        // fixed, edge, unmasked
  constexpr std::uint32_t kReload = 1193182 / 100;  // 100 Hz
  out8(0x43, 0x34);
  out8(0x40, kReload & 0xff);
  out8(0x40, kReload >> 8);
  while (timer_ticks < 10) asm volatile("sti; hlt; cli");
  io_apic_write(0x10 + 2 * 2, 0x10000);
  line("timer: 10 ticks");
}

/// Several level-triggered interrupts: the second comes only if the I/O APIC has heard of the first one's EOI. The HPET
/// makes them (IA-PC HPET 1.0a, 2.3.8).
void report_level_interrupts(bool has_hpet) {
  if (!has_hpet) return;
  constexpr std::uintptr_t kHpet = 0xfed00000;
  constexpr std::uint32_t kInterrupts = 5;
  const std::uint32_t routes = at<std::uint32_t>(kHpet + 0x104);
  std::uint32_t pin = 23;
  while (pin > 0 && (routes >> pin & 1) == 0) --pin;
  io_apic_write(0x10 + 2 * pin + 1, 0);
  io_apic_write(0x10 + 2 * pin, 0x8000 | kLevelVector);
  at<std::uint32_t>(kHpet + 0x10) = 1;                          // count
  at<std::uint32_t>(kHpet + 0x100) = pin << 9 | 0x100 | 4 | 2;  // timer 0: 32-bit, enabled, level-triggered
  for (std::uint32_t done = 0; done < kInterrupts; ++done) {
    at<std::uint32_t>(kHpet + 0x108) = at<std::uint32_t>(kHpet + 0xf0) + 100000;  // in a millisecond
    while (level_interrupts == done) asm volatile("sti; hlt; cli");
  }
  at<std::uint32_t>(kHpet + 0x100) = 0;
  io_apic_write(0x10 + 2 * pin, 0x10000);
  line("hpet: 5 level-triggered interrupts");
}

void spin_for_timer_reads(unsigned reads) {
  for (unsigned i = 0; i < reads; ++i) in8(0x80);
}

void start_processors(unsigned count) {
  constexpr std::uintptr_t kPage = 0x8000;
  for (const char* p = trampoline; p != trampoline_end; ++p)
    at<char>(kPage + static_cast<std::uintptr_t>(p - trampoline)) = *p;
  for (std::uint32_t id = 1; id < count; ++id) {
    const auto send = [id](std::uint32_t command) {
      at<std::uint32_t>(kLocalApic + 0x310) = id << 24;
      at<std::uint32_t>(kLocalApic + 0x300) = command;
    };
    send(0x4500);  // INIT
    spin_for_timer_reads(100);
    send(0x4600 | kPage >> 12);  // start-up
    for (unsigned wait = 0; application_processors < id && wait < 100000; ++wait) spin_for_timer_reads(1);
  }
  begin_line();
  put("processors: ");
  put_number(application_processors + 1);
  put(" of ");
  put_number(count);
  put(" run\n");
}

// ---- User mode

volatile double user_result = 0;

/// At CPL 3, with SSE. UD2 ends it.
[[gnu::target("sse2"), gnu::noinline]] void user_program() {
  double sum = 0;
  asm volatile(
      "cvtsi2sdl %1, %0\n"
      "sqrtsd %0, %0\n"
      : "=x"(sum)
      : "r"(1764));
  asm volatile("movsd %1, %0\nud2" : "=m"(user_result) : "x"(sum));
}

void report_user_mode() {
  const std::uint64_t code_segment = enter_user(user_program);
  constexpr std::uint64_t kFortyTwo = 0x4045000000000000;  // 42.0
  const auto bits = at<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&user_result));
  if ((code_segment & 3) == 3 && bits == kFortyTwo)
    line("user space reached");
  else
    line("user space failed");
}

[[noreturn]] void power_off(std::uintptr_t fadt) {
  constexpr std::uint32_t kHwReducedAcpi = 1U << 20;
  line("powering off");
  if (fadt != 0 && (at<std::uint32_t>(fadt + 112) & kHwReducedAcpi) != 0) {
    at<std::uint8_t>(at<std::uint64_t>(fadt + 248)) = 0x20 | 5 << 2;  // sleep control register: SLP_EN, type 5: S5
  } else {
    const auto pm1a_control = static_cast<std::uint16_t>(fadt == 0 ? 0x604 : at<std::uint32_t>(fadt + 64));
    out16(pm1a_control, 0x2000);  // SLP_EN, type 0: S5 on PIIX4
  }
  while (true) asm volatile("cli; hlt");
}

}  // namespace

void guest_main(std::uintptr_t start_info) {
  const auto& info = *reinterpret_cast<const StartInfo*>(start_info);
  line("hello from long mode");
  load_idt();
  report_memory(info);
  const std::uintptr_t rsdp = find_rsdp(info);
  const unsigned processors = count_processors(find_table(rsdp, "APIC"));
  report_pci();
  report_timer();
  report_level_interrupts(find_table(rsdp, "HPET") != 0);
  if (processors > 0) start_processors(processors);
  report_user_mode();
  power_off(find_table(rsdp, "FACP"));
}
