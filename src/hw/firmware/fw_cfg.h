// The firmware configuration device (fw_cfg): how tables, kernels and settings reach the guest's firmware.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/fw_cfg_registers.h"
#include "memory/dma.h"
#include "memory/io_handler.h"

namespace doppel::hw {

/// What may happen to an item besides being read. Both run on the vCPU's thread with no device lock held.
struct FwCfgHooks {
  /// Called when the guest selects the item; what it returns becomes the contents, cut or zero-filled to the size the
  /// item was added with. ACPI tables that depend on what the firmware did to the chipset are built here.
  std::function<Bytes()> on_select;
  /// Makes the item writable by DMA; called after the guest wrote LENGTH bytes at OFFSET, with the whole contents.
  std::function<void(std::uint32_t offset, std::uint32_t length, std::span<const std::byte> contents)> on_write;
};

/// What most machines put into the numbered items.
struct FwCfgBasics {
  std::array<std::byte, 16> uuid{};
  std::uint64_t ram_size = 0;  // bytes
  bool no_graphic = false;
  std::uint16_t cpu_count = 1;
  std::uint32_t max_apic_id = 0;
  bool boot_menu = false;
  std::uint16_t boot_menu_wait = 0;             // ms; 0: the firmware's own default
  std::optional<std::uint32_t> reboot_timeout;  // ms to wait after no device could boot; empty: wait for ever
  bool s3 = true;                               // suspend to RAM is offered
  bool s4 = true;
  std::uint8_t s4_value = 2;
  std::optional<bool> screen_and_debug;  // whether SeaBIOS shows its screen output on its debug port, too
  bool hpet = true;
  std::vector<std::uint64_t> cpu_nodes;    // the NUMA node of each APIC id up to max_apic_id
  std::vector<std::uint64_t> node_memory;  // bytes of each NUMA node
};

/// Items are added while the machine is built: before the first guest access and never after. The I/O entry points may
/// run on any vCPU's thread; the device's lock guards the selection and the contents of writable items.
class FwCfg final : public Device, public memory::IoHandler {
 public:
  /// DMA: where descriptors and data live; without it only the data port is offered.
  explicit FwCfg(std::optional<memory::DmaSpace> dma, Logger log = {});

  void add(FwCfgKey key, Blob data) { add_item(static_cast<std::uint16_t>(key), std::move(data), {}); }
  template <std::unsigned_integral T>
  void add_number(FwCfgKey key, T value) {
    add(key, le_bytes(value));
  }
  /// A file of the directory. The name is at most 55 bytes and new.
  Result<> add_file(std::string_view name, Blob data, FwCfgHooks hooks = {});
  /// Replaces what add_file() added before, for a file such as "bootorder" that several parts contribute to.
  Result<> set_file(std::string_view name, Blob data);
  void add_basics(const FwCfgBasics& basics);

  [[nodiscard]] bool has_file(std::string_view name) const { return find_file(name) != nullptr; }
  /// The file's present contents; empty if there is none.
  [[nodiscard]] Bytes file(std::string_view name);
  [[nodiscard]] Bytes item(FwCfgKey key);
  /// Each file's name, sorted: `info` commands and tests.
  [[nodiscard]] std::vector<std::string> file_names() const;

  [[nodiscard]] std::string_view name() const override { return "fw_cfg"; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  /// The ports, kFwCfgPortCount of them from kFwCfgBasePort; any size from 1 to 8, aligned or not.
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
  static constexpr memory::IoSizes kPortSizes{.min = 1, .max = 8, .unaligned = true};

  /// The MMIO variant, kFwCfgMmioSize bytes; any size from 1 to 8.
  [[nodiscard]] memory::IoHandler& mmio() { return mmio_; }

 private:
  struct Item {
    Blob data;
    std::optional<Bytes> writable;  // the contents of an item with on_write
    FwCfgHooks hooks;
    [[nodiscard]] std::span<const std::byte> bytes() const { return writable ? std::span(*writable) : data.bytes(); }
  };
  struct File {
    std::string name;
    std::shared_ptr<Item> item;
  };
  struct Descriptor;
  class Mmio final : public memory::IoHandler {
   public:
    explicit Mmio(FwCfg& device) : device_(device) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    FwCfg& device_;
  };

  void add_item(std::uint16_t key, Blob data, FwCfgHooks hooks);
  [[nodiscard]] std::shared_ptr<Item> find_item(std::uint16_t key);
  [[nodiscard]] const File* find_file(std::string_view name) const;
  [[nodiscard]] Blob directory() const;

  // Each takes and drops the lock itself, because hooks run between.
  void select(std::uint16_t key);
  [[nodiscard]] std::uint64_t read_data(unsigned size);
  void write_dma_address(unsigned byte_offset, unsigned size, std::uint64_t big_endian_value);
  void run_dma(memory::GuestPhysAddr descriptor);

  // Under the lock.
  [[nodiscard]] std::uint32_t transfer(Descriptor& descriptor);
  [[nodiscard]] bool read_to_guest(memory::GuestPhysAddr address, std::uint32_t length);
  [[nodiscard]] bool write_from_guest(memory::GuestPhysAddr address, std::uint32_t length);

  std::optional<memory::DmaSpace> dma_;
  Logger log_;
  Mmio mmio_{*this};
  std::map<std::uint16_t, std::shared_ptr<Item>> items_;  // by key
  std::vector<File> files_;                               // by name; the row is the key, less kFirstFile
  std::uint16_t key_ = 0;
  std::shared_ptr<Item> current_;  // null while the selected key has no item
  std::uint64_t offset_ = 0;       // of the next byte read
  std::uint64_t dma_address_ = 0;
};

}  // namespace doppel::hw
