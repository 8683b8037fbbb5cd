// For the tests of this folder: drivers of our own for both formats of a queue, over a piece of guest memory.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "hw/pci/pci_test_rig.h"
#include "hw/virtio/virtio_registers.h"
#include "hw/virtio/virtqueue.h"

namespace doppel::hw::test {

/// RAM at address 0.
struct GuestRam {
  static constexpr std::uint64_t kSize = 8 << 20;
  explicit GuestRam(PciRig& rig) : pci(rig) { pci.memory->add(pci.topology.ram("ram", block, 0, kSize), 0); }

  // Indices and flags of rings are 16 bits, which a device in another thread may be looking at.
  template <class T>
  void put(std::uint64_t at, T value) {
    if constexpr (std::is_same_v<T, std::uint16_t>)
      if (at % 2 == 0) return std::atomic_ref(word(at)).store(value, std::memory_order_release);
    std::memcpy(block->host() + at, &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t at) const {
    if constexpr (std::is_same_v<T, std::uint16_t>)
      if (at % 2 == 0) return std::atomic_ref(word(at)).load(std::memory_order_acquire);
    T value;
    std::memcpy(&value, block->host() + at, sizeof value);
    return value;
  }
  void fill(std::uint64_t at, std::span<const std::byte> bytes) { std::ranges::copy(bytes, block->host() + at); }
  [[nodiscard]] std::vector<std::byte> bytes(std::uint64_t at, std::size_t size) const {
    return {block->host() + at, block->host() + at + size};
  }
  [[nodiscard]] memory::DmaSpace dma() const { return memory::DmaSpace(pci.memory_space); }
  [[nodiscard]] std::uint16_t& word(std::uint64_t at) const {
    return *reinterpret_cast<std::uint16_t*>(block->host() + at);
  }

  PciRig& pci;
  std::shared_ptr<memory::RamBlock> block = memory::RamBlock::create({.size = kSize}).value();
};

/// A buffer that a driver offers.
struct Piece {
  std::uint64_t address;
  std::uint32_t length;
  bool writable = false;
};

struct Used {
  std::uint32_t id;
  std::uint32_t length;
  bool operator==(const Used&) const = default;
};

/// The driver's side of a queue: keeps to the rules, but lets tests at the memory. Descriptors are used round and
/// round: no more than SIZE may be on their way.
class QueueDriver {
 public:
  QueueDriver(GuestRam& ram, std::uint64_t base, std::uint16_t size, const RingFeatures& features)
      : ram_(ram), size_(size), features_(features) {
    addresses_ = {.descriptors = base, .driver = base + 0x8000, .device = base + 0xa000};
    ram_.fill(base, std::vector<std::byte>(0xc000));
  }
  virtual ~QueueDriver() = default;

  /// Offers PIECES as one chain and returns its id; with TABLE, by an indirect table there.
  virtual std::uint16_t offer(const std::vector<Piece>& pieces, std::uint64_t table = 0) = 0;
  /// The next chain that the device has given back.
  virtual std::optional<Used> take() = 0;
  /// Does the device want to be told of what was offered since the last time?
  virtual bool wants_kick() = 0;
  /// Asks for an interrupt at the next chain that comes back / for none.
  virtual void want_interrupts(bool on) = 0;

  [[nodiscard]] const RingAddresses& addresses() const { return addresses_; }
  [[nodiscard]] std::uint16_t size() const { return size_; }
  static std::unique_ptr<QueueDriver> create(GuestRam& ram, std::uint64_t base, std::uint16_t size,
                                             const RingFeatures& features);

 protected:
  static bool passed(unsigned event, unsigned now, unsigned count) {
    return static_cast<std::uint16_t>(now - event - 1) < count;
  }
  GuestRam& ram_;
  const std::uint16_t size_;
  const RingFeatures features_;
  RingAddresses addresses_;
};

class SplitDriver final : public QueueDriver {
 public:
  using QueueDriver::QueueDriver;

  std::uint16_t offer(const std::vector<Piece>& pieces, std::uint64_t table) override {
    const std::uint16_t head = next_;
    if (table != 0) {
      for (std::uint16_t i = 0; i < pieces.size(); ++i)
        write_descriptor(table + 16U * i, pieces[i], i + 1U < pieces.size(), static_cast<std::uint16_t>(i + 1));
      const auto length = static_cast<std::uint32_t>(16 * pieces.size());
      write_raw(addresses_.descriptors + 16U * head, table, length, virtio::descriptor::kIndirect, 0);
      next_ = static_cast<std::uint16_t>((next_ + 1) % size_);
    } else {
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::uint16_t at = next_;
        next_ = static_cast<std::uint16_t>((next_ + 1) % size_);
        write_descriptor(addresses_.descriptors + 16U * at, pieces[i], i + 1 < pieces.size(), next_);
      }
    }
    offer_head(head);
    return head;
  }
  /// Whatever HEAD is.
  void offer_head(std::uint16_t head) {
    ram_.put<std::uint16_t>(addresses_.driver + 4 + 2U * (index_ % size_), head);
    ram_.put<std::uint16_t>(addresses_.driver + 2, ++index_);
  }
  void write_raw(std::uint64_t at, std::uint64_t address, std::uint32_t length, std::uint16_t flags,
                 std::uint16_t next) {
    ram_.put(at, SplitDescriptor{.address = address, .length = length, .flags = flags, .next = next});
  }
  std::optional<Used> take() override {
    if (ram_.get<std::uint16_t>(addresses_.device + 2) == taken_) return std::nullopt;
    const std::uint64_t at = addresses_.device + 4 + 8U * (taken_++ % size_);
    const Used used{ram_.get<std::uint32_t>(at), ram_.get<std::uint32_t>(at + 4)};
    if (features_.event_index && interrupts_) want_interrupts(true);
    return used;
  }
  bool wants_kick() override {
    const auto count = static_cast<std::uint16_t>(index_ - std::exchange(asked_, index_));
    if (!features_.event_index) return ram_.get<std::uint16_t>(addresses_.device) == 0;
    return passed(ram_.get<std::uint16_t>(addresses_.device + 4 + 8U * size_), index_, count);
  }
  void want_interrupts(bool on) override {
    interrupts_ = on;
    if (features_.event_index)
      ram_.put<std::uint16_t>(addresses_.driver + 4 + 2U * size_,
                              static_cast<std::uint16_t>(on ? taken_ : taken_ + 0x8000));
    else
      ram_.put<std::uint16_t>(addresses_.driver, on ? 0 : 1);
  }

 private:
  void write_descriptor(std::uint64_t at, const Piece& piece, bool more, std::uint16_t next) {
    const auto flags = static_cast<std::uint16_t>((piece.writable ? virtio::descriptor::kWrite : 0) |
                                                  (more ? virtio::descriptor::kNext : 0));
    write_raw(at, piece.address, piece.length, flags, more ? next : std::uint16_t{0});
  }
  std::uint16_t next_ = 0;   // descriptor
  std::uint16_t index_ = 0;  // of the available ring
  std::uint16_t asked_ = 0;
  std::uint16_t taken_ = 0;
  bool interrupts_ = true;
};

class PackedDriver final : public QueueDriver {
 public:
  using QueueDriver::QueueDriver;

  std::uint16_t offer(const std::vector<Piece>& pieces, std::uint64_t table) override {
    const std::uint16_t id = next_id_;
    next_id_ = static_cast<std::uint16_t>((next_id_ + 1) % size_);
    slots_[id] = table != 0 ? std::uint16_t{1} : static_cast<std::uint16_t>(pieces.size());
    const std::uint16_t head = next_;
    std::uint16_t head_flags = 0;
    const auto place = [&](std::uint64_t address, std::uint32_t length, std::uint16_t flags, bool first) {
      const std::uint64_t at = addresses_.descriptors + 16U * next_;
      const std::uint16_t ours = wrap_ ? virtio::descriptor::kAvailable : virtio::descriptor::kUsed;
      const auto all = static_cast<std::uint16_t>(flags | ours);
      if (first) {
        // Its flags come last, and are not touched before: the device may be looking at them.
        ram_.put<std::uint64_t>(at, address);
        ram_.put<std::uint32_t>(at + 8, length);
        ram_.put<std::uint16_t>(at + 12, id);
      } else {
        ram_.put(at, PackedDescriptor{.address = address, .length = length, .id = id, .flags = all});
      }
      if (first) head_flags = all;
      if (++next_ == size_) {
        next_ = 0;
        wrap_ = !wrap_;
      }
      ++offered_;
    };
    if (table != 0) {
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::uint16_t flags = pieces[i].writable ? virtio::descriptor::kWrite : std::uint16_t{0};
        ram_.put(table + 16 * i,
                 PackedDescriptor{.address = pieces[i].address, .length = pieces[i].length, .id = {}, .flags = flags});
      }
      place(table, static_cast<std::uint32_t>(16 * pieces.size()), virtio::descriptor::kIndirect, true);
    } else {
      for (std::size_t i = 0; i < pieces.size(); ++i)
        place(pieces[i].address, pieces[i].length,
              static_cast<std::uint16_t>((pieces[i].writable ? virtio::descriptor::kWrite : 0) |
                                         (i + 1 < pieces.size() ? virtio::descriptor::kNext : 0)),
              i == 0);
    }
    ram_.put<std::uint16_t>(addresses_.descriptors + 16U * head + 14, head_flags);
    return id;
  }
  std::optional<Used> take() override {
    const std::uint64_t at = addresses_.descriptors + 16U * taken_;
    const auto flags = ram_.get<std::uint16_t>(at + 14);
    const bool available = (flags & virtio::descriptor::kAvailable) != 0;
    const bool used = (flags & virtio::descriptor::kUsed) != 0;
    if (available != taken_wrap_ || used != taken_wrap_) return std::nullopt;
    const Used result{ram_.get<std::uint16_t>(at + 12), ram_.get<std::uint32_t>(at + 8)};
    taken_ = static_cast<std::uint16_t>(taken_ + slots_.at(result.id));
    if (taken_ >= size_) {
      taken_ = static_cast<std::uint16_t>(taken_ - size_);
      taken_wrap_ = !taken_wrap_;
    }
    if (interrupts_) want_interrupts(true);
    return result;
  }
  bool wants_kick() override {
    const unsigned count = std::exchange(offered_, std::uint16_t{0});
    const auto flags = ram_.get<std::uint16_t>(addresses_.device + 2);
    if (flags != 2) return flags == 0;
    const auto place = ram_.get<std::uint16_t>(addresses_.device);
    unsigned event = place & 0x7fffU;
    if (((place & 0x8000U) != 0) != wrap_) event -= size_;
    return passed(event, next_, count);
  }
  void want_interrupts(bool on) override {
    interrupts_ = on;
    if (on && features_.event_index) {
      ram_.put<std::uint16_t>(addresses_.driver, static_cast<std::uint16_t>(taken_ | (taken_wrap_ ? 0x8000U : 0U)));
      ram_.put<std::uint16_t>(addresses_.driver + 2, 2);
    } else {
      ram_.put<std::uint16_t>(addresses_.driver + 2, on ? 0 : 1);
    }
  }

 private:
  std::uint16_t next_ = 0;
  bool wrap_ = true;
  std::uint16_t next_id_ = 0;
  std::uint16_t offered_ = 0;
  std::uint16_t taken_ = 0;
  bool taken_wrap_ = true;
  bool interrupts_ = true;
  std::array<std::uint16_t, 1024> slots_{};  // of each id
};

inline std::unique_ptr<QueueDriver> QueueDriver::create(GuestRam& ram, std::uint64_t base, std::uint16_t size,
                                                        const RingFeatures& features) {
  if (features.packed) return std::make_unique<PackedDriver>(ram, base, size, features);
  return std::make_unique<SplitDriver>(ram, base, size, features);
}

}  // namespace doppel::hw::test
