#include "hw/intc/ioapic82093.h"

#include <utility>

#include "base/bits.h"
#include "hw/intc/ioapic82093_registers.h"

namespace doppel::hw {

using namespace ioapic;

namespace {

DeliveryMode delivery_mode(std::uint64_t entry) {
  return static_cast<DeliveryMode>(bits(entry, 10, 8));
}

/// Only interrupts with a vector can be level-triggered: nobody would end the others.
bool is_level(std::uint64_t entry) {
  const DeliveryMode mode = delivery_mode(entry);
  return test_bit(entry, kLevelBit) && (mode == DeliveryMode::kFixed || mode == DeliveryMode::kLowestPriority);
}

ApicMessage to_message(std::uint64_t entry) {
  ApicMessage message;
  message.destination = widen_destination(static_cast<std::uint32_t>(bits(entry, 55, 49) << 8U | bits(entry, 63, 56)));
  message.destination_mode = test_bit(entry, kLogicalBit) ? DestinationMode::kLogical : DestinationMode::kPhysical;
  message.delivery_mode = delivery_mode(entry);
  message.trigger_mode = is_level(entry) ? TriggerMode::kLevel : TriggerMode::kEdge;
  message.vector = static_cast<std::uint8_t>(entry);
  return message;
}

}  // namespace

Ioapic82093::Ioapic82093(IoapicVersion version, ApicMessageSink& bus, Logger log)
    : version_(version), bus_(bus), log_(std::move(log)) {
  state_.redirection.fill(kEntryReset);
}

void Ioapic82093::reset() {
  const EffectGuard guard(*this);
  const std::uint32_t lines = state_.lines;  // the wires are not ours to reset
  state_ = {};
  state_.lines = lines;
  state_.redirection.fill(kEntryReset);
}

void Ioapic82093::save(state::Writer& writer) {
  const EffectGuard guard(*this);
  state::save(writer, state_);
}

Result<> Ioapic82093::load(state::Reader& reader) {
  DOPPEL_ASSIGN(auto saved, state::load<Ioapic82093State>(reader));
  for (const std::uint64_t entry : saved.redirection)
    if ((entry & ~(kEntryWritable | bit(kRemoteIrrBit))) != 0)
      return fail(ErrorKind::kCorrupt, "redirection entry {:#x} has reserved bits", entry);
  const EffectGuard guard(*this);
  saved.lines &= static_cast<std::uint32_t>(low_mask(kPins));
  saved.id &= 0xf;
  state_ = saved;
  return {};
}

void Ioapic82093::perform(const Effects& effects) {
  for (unsigned i = 0; i < effects.count; ++i) bus_.deliver(effects.messages[i]);
}

void Ioapic82093::set_irq(unsigned pin, bool level) {
  if (pin >= kPins) return;
  const EffectGuard guard(*this);
  const bool rising = level && !test_bit(state_.lines, pin);
  state_.lines = with_bit(state_.lines, pin, level);
  if (!rising) return;
  const std::uint64_t entry = state_.redirection[pin];
  if (is_level(entry))
    serve_level(pin);
  else if (!test_bit(entry, kMaskBit))  // an edge on a masked pin is lost (3.2.4)
    send(pin);
}

void Ioapic82093::serve_level(unsigned pin) {
  std::uint64_t& entry = state_.redirection[pin];
  if (!test_bit(state_.lines, pin) || test_bit(entry, kMaskBit) || test_bit(entry, kRemoteIrrBit)) return;
  entry = with_bit(entry, kRemoteIrrBit, true);
  send(pin);
}

void Ioapic82093::send(unsigned pin) {
  const ApicMessage message = to_message(state_.redirection[pin]);
  if (message.delivery_mode == DeliveryMode::kRemoteRead || message.delivery_mode == DeliveryMode::kStartUp) {
    log_.guest_error("pin {} has the reserved delivery mode {}", pin, static_cast<unsigned>(message.delivery_mode));
    return;
  }
  effects_.messages[effects_.count++] = message;  // one per pin and entry at most
}

void Ioapic82093::end_of_interrupt(std::uint8_t vector) {
  const EffectGuard guard(*this);
  finish(vector);
}

void Ioapic82093::finish(std::uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    std::uint64_t& entry = state_.redirection[pin];
    if (static_cast<std::uint8_t>(entry) != vector || !test_bit(entry, kRemoteIrrBit)) continue;
    entry = with_bit(entry, kRemoteIrrBit, false);
    if (is_level(entry)) serve_level(pin);
  }
}

std::uint64_t Ioapic82093::read(std::uint64_t offset, unsigned size) {
  const EffectGuard guard(*this);
  switch (offset) {
    case kSelectOffset: return state_.select;
    case kWindowOffset: return read_window() & low_mask(8 * size);
    case kEoiOffset:
      if (version_ == IoapicVersion::k20) return 0;
      break;
    default: break;
  }
  log_.guest_error("read of {} bytes at reserved offset {:#x}", size, offset);
  return low_mask(8 * size);
}

void Ioapic82093::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const EffectGuard guard(*this);
  switch (offset) {
    case kSelectOffset: state_.select = static_cast<std::uint8_t>(value); return;
    case kWindowOffset: write_window(static_cast<std::uint32_t>(value & low_mask(8 * size))); return;
    case kEoiOffset:
      if (version_ != IoapicVersion::k20) break;
      finish(static_cast<std::uint8_t>(value));
      return;
    default: break;
  }
  log_.guest_error("write of {:#x} at reserved offset {:#x}", value, offset);
}

std::uint32_t Ioapic82093::read_window() const {
  const std::uint8_t index = state_.select;
  switch (index) {
    case kIdIndex:
    case kArbitrationIndex: return static_cast<std::uint32_t>(state_.id) << 24U;
    case kVersionIndex: return (kPins - 1) << 16U | static_cast<std::uint32_t>(version_);
    default: break;
  }
  if (index >= kRedirectionIndex && index < kRedirectionIndex + 2 * kPins) {
    const std::uint64_t entry = state_.redirection[(index - kRedirectionIndex) / 2U];
    return static_cast<std::uint32_t>((index & 1U) != 0 ? entry >> 32U : entry);
  }
  log_.guest_error("read of reserved register {:#x}", index);
  return 0xffffffff;
}

void Ioapic82093::write_window(std::uint32_t value) {
  const std::uint8_t index = state_.select;
  if (index == kIdIndex) {
    state_.id = static_cast<std::uint8_t>(bits(value, 27, 24));
  } else if (index >= kRedirectionIndex && index < kRedirectionIndex + 2 * kPins) {
    write_redirection((index - kRedirectionIndex) / 2U, (index & 1U) != 0, value);
  } else {
    log_.guest_error("write of {:#x} to read-only or reserved register {:#x}", value, index);
  }
}

void Ioapic82093::write_redirection(unsigned pin, bool high, std::uint32_t value) {
  std::uint64_t& entry = state_.redirection[pin];
  const std::uint64_t half = high ? low_mask(32) << 32U : low_mask(32);
  const std::uint64_t writable = kEntryWritable & half;
  entry = (entry & ~writable) | ((high ? static_cast<std::uint64_t>(value) << 32U : value) & writable);
  // Turning an entry to edge and back is how a guest without EOI register forgets a level interrupt.
  if (!is_level(entry))
    entry = with_bit(entry, kRemoteIrrBit, false);
  else
    serve_level(pin);
}

}  // namespace doppel::hw
