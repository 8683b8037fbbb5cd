// A VM for tests of what stands above it: it remembers what it is told and does nothing.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "accel/accelerator.h"

namespace doppel::accel {

/// Slots are held to KVM's rules: no overlap, whole pages, a size that stays. Everything without meaning for memory
/// slots and doorbells is kUnsupported.
class FakeVm final : public Vm {
 public:
  std::map<unsigned, MemorySlot> slots;
  std::map<unsigned, std::vector<std::uint64_t>> dirty;  // what take_dirty_log() hands out next
  std::vector<IoEventSpec> doorbells;
  unsigned slot_calls = 0;
  bool refuse = false;  // every call fails

  Result<> set_memory_slot(const MemorySlot& slot) override {
    ++slot_calls;
    if (refuse) return fail(ErrorKind::kNoSpace, "no memory slots today");
    if (slot.size == 0) {
      if (slots.erase(slot.slot) == 0) return fail(ErrorKind::kInvalidArgument, "slot {} is empty", slot.slot);
      return {};
    }
    if ((slot.address.value | slot.size | reinterpret_cast<std::uintptr_t>(slot.host)) % memory::kPageSize != 0)
      return fail(ErrorKind::kInvalidArgument, "slot {} is not made of whole pages", slot.slot);
    for (const auto& [number, other] : slots) {
      if (number == slot.slot) {
        if (other.size != slot.size || has(other.flags, SlotFlags::kReadOnly) != has(slot.flags, SlotFlags::kReadOnly))
          return fail(ErrorKind::kInvalidArgument, "slot {} cannot change so", number);
      } else if (slot.address < other.address + other.size && other.address < slot.address + slot.size) {
        return fail(ErrorKind::kAlreadyExists, "slots {} and {} overlap", number, slot.slot);
      }
    }
    slots[slot.slot] = slot;
    return {};
  }

  Result<std::vector<std::uint64_t>> take_dirty_log(unsigned slot) override {
    const auto found = slots.find(slot);
    if (found == slots.end() || !has(found->second.flags, SlotFlags::kLogDirty))
      return fail(ErrorKind::kNotFound, "slot {} has no log", slot);
    std::vector<std::uint64_t> words = std::exchange(dirty[slot], {});
    words.resize((found->second.size / memory::kPageSize + 63) / 64);
    return words;
  }

  Result<> attach_ioeventfd(const IoEventSpec& spec, const event::EventFd&) override {
    if (refuse) return fail(ErrorKind::kUnsupported, "no doorbells today");
    doorbells.push_back(spec);
    return {};
  }
  Result<> detach_ioeventfd(const IoEventSpec& spec, const event::EventFd&) override {
    const auto same = [&](const IoEventSpec& other) {
      return other.address == spec.address && other.is_port == spec.is_port && other.size == spec.size &&
             other.value == spec.value;
    };
    if (std::erase_if(doorbells, same) == 0) return fail(ErrorKind::kNotFound, "no such doorbell");
    return {};
  }

  Result<> create_irqchip(IrqchipMode, unsigned) override { return unsupported(); }
  Result<> create_pit() override { return unsupported(); }
  Result<std::vector<std::byte>> save_irqchip() override { return unsupported(); }
  Result<> load_irqchip(std::span<const std::byte>) override { return unsupported(); }
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned) override { return unsupported(); }
  Result<> set_irq_line(std::uint32_t, bool) override { return unsupported(); }
  Result<> set_irq_routing(std::span<const IrqRoute>) override { return unsupported(); }
  Result<> signal_msi(const MsiMessage&) override { return unsupported(); }
  Result<> attach_irqfd(std::uint32_t, const event::EventFd&, const event::EventFd*) override { return unsupported(); }
  Result<> detach_irqfd(std::uint32_t, const event::EventFd&) override { return unsupported(); }
  Result<> coalesce(memory::GuestPhysAddr, std::uint64_t, bool) override { return unsupported(); }
  Result<> uncoalesce(memory::GuestPhysAddr, std::uint64_t, bool) override { return unsupported(); }
  void drain_coalesced(const CoalescedWrite&) override {}
  Result<> exit_on_msrs(std::span<const std::uint32_t>, bool) override { return unsupported(); }
  Result<std::uint64_t> get_clock() override { return unsupported(); }
  Result<> set_clock(std::uint64_t) override { return unsupported(); }
  void set_fallback(InstructionFallback*) override {}

 private:
  static std::unexpected<Error> unsupported() { return fail(ErrorKind::kUnsupported, "a fake VM has no such thing"); }
};

}  // namespace doppel::accel
