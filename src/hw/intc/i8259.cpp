#include "hw/intc/i8259.h"

#include <bit>
#include <utility>

#include "base/bits.h"
#include "hw/intc/i8259_registers.h"

namespace doppel::hw {

using namespace i8259;

void I8259::reset() {
  const std::uint8_t inputs = state_.inputs;  // the wires are not ours to reset
  state_ = {};
  state_.inputs = inputs;
}

void I8259::set_input(unsigned pin, bool level) {
  const bool rising = level && !test_bit(state_.inputs, pin);
  state_.inputs = with_bit(state_.inputs, pin, level);
  if (test_bit(state_.elcr, pin))
    state_.irr = with_bit(state_.irr, pin, level);
  else if (rising)
    state_.irr = with_bit(state_.irr, pin, true);
}

/// The priority of the most urgent of REQUESTS: 0 is highest, 8 stands for none.
unsigned I8259::priority(std::uint8_t requests) const {
  if (requests == 0) return 8;
  return static_cast<unsigned>(std::countr_zero(std::rotr(requests, (state_.lowest_priority + 1) & 7)));
}

/// The pin to be served next, if it may interrupt what is in service.
std::optional<unsigned> I8259::most_urgent() const {
  if (!state_.ready || state_.init_step != 0) return std::nullopt;
  const unsigned wanted = priority(static_cast<std::uint8_t>(state_.irr & ~state_.imr));
  std::uint8_t blocking = state_.isr;
  if (state_.special_mask) blocking = static_cast<std::uint8_t>(blocking & ~state_.imr);
  const unsigned limit = priority(blocking);
  if (wanted < limit) return pin_at(wanted);
  // Special fully nested: the slave may interrupt itself.
  const bool nests = state_.special_fully_nested && role_ == Role::kMaster;
  return nests && wanted == limit && wanted < 8 && pin_at(wanted) == kCascadePin ? std::optional(kCascadePin)
                                                                                 : std::nullopt;
}

std::optional<unsigned> I8259::acknowledge() {
  const auto pin = most_urgent();
  if (!pin) return std::nullopt;
  if (!test_bit(state_.elcr, *pin)) state_.irr = with_bit(state_.irr, *pin, false);
  if (!state_.auto_eoi)
    state_.isr = with_bit(state_.isr, *pin, true);
  else if (state_.rotate_on_auto_eoi)
    state_.lowest_priority = static_cast<std::uint8_t>(*pin);
  return pin;
}

/// A read after OCW3's poll bit serves as the INTA pulse.
std::uint8_t I8259::poll() {
  state_.poll = false;
  const auto pin = acknowledge();
  return pin ? static_cast<std::uint8_t>(kPollPending | *pin) : std::uint8_t{0};
}

std::uint8_t I8259::read_command() {
  if (state_.poll) return poll();
  return state_.read_isr ? state_.isr : state_.irr;
}

std::uint8_t I8259::read_data() {
  return state_.poll ? poll() : state_.imr;
}

void I8259::write_command(std::uint8_t value) {
  if ((value & kIsIcw1) != 0) return begin_initialisation(value);
  if ((value & kIsOcw3) == 0) return operation(value);
  if ((value & kOcw3Poll) != 0) state_.poll = true;
  if ((value & kOcw3Read) != 0) state_.read_isr = (value & kOcw3ReadIsr) != 0;
  if ((value & kOcw3SetSpecialMask) != 0) state_.special_mask = (value & kOcw3SpecialMask) != 0;
}

/// ICW1: everything but the ELCR starts over; an edge must come anew, a level that still stands counts.
void I8259::begin_initialisation(std::uint8_t icw1) {
  const I8259State old = state_;
  state_ = {};
  state_.inputs = old.inputs;
  state_.elcr = old.elcr;
  state_.irr = old.inputs & old.elcr;
  state_.base = old.base;
  state_.needs_icw4 = (icw1 & kIcw1NeedsIcw4) != 0;
  state_.single = (icw1 & kIcw1Single) != 0;
  state_.init_step = 2;
}

void I8259::write_data(std::uint8_t value) {
  switch (state_.init_step) {
    case 2:
      state_.base = value & kIcw2BaseMask;
      state_.init_step = state_.single ? (state_.needs_icw4 ? 4 : 0) : 3;
      break;
    case 3:
      state_.icw3 = value;
      state_.init_step = state_.needs_icw4 ? 4 : 0;
      break;
    case 4:
      state_.auto_eoi = (value & kIcw4AutoEoi) != 0;
      state_.special_fully_nested = (value & kIcw4SpecialFullyNested) != 0;
      state_.init_step = 0;
      break;
    default: state_.imr = value; return;
  }
  if (state_.init_step == 0) state_.ready = true;
}

void I8259::operation(std::uint8_t ocw2) {
  const unsigned pin = ocw2 & 7U;
  switch (static_cast<Ocw2>(ocw2 >> 5U)) {
    case Ocw2::kClearRotateOnAutoEoi: state_.rotate_on_auto_eoi = false; break;
    case Ocw2::kSetRotateOnAutoEoi: state_.rotate_on_auto_eoi = true; break;
    case Ocw2::kEoi: end_of_interrupt(std::nullopt, false); break;
    case Ocw2::kRotateOnEoi: end_of_interrupt(std::nullopt, true); break;
    case Ocw2::kSpecificEoi: end_of_interrupt(pin, false); break;
    case Ocw2::kRotateOnSpecificEoi: end_of_interrupt(pin, true); break;
    case Ocw2::kSetPriority: state_.lowest_priority = static_cast<std::uint8_t>(pin); break;
    case Ocw2::kNothing: break;
  }
}

/// Without PIN the most urgent one in service ends; in special mask mode only one that is not masked.
void I8259::end_of_interrupt(std::optional<unsigned> pin, bool rotate) {
  if (!pin) {
    const auto candidates = static_cast<std::uint8_t>(state_.special_mask ? state_.isr & ~state_.imr : state_.isr);
    if (candidates == 0) return;
    pin = pin_at(priority(candidates));
  }
  state_.isr = with_bit(state_.isr, *pin, false);
  if (rotate) state_.lowest_priority = static_cast<std::uint8_t>(*pin);
}

void I8259::set_elcr(std::uint8_t value) {
  state_.elcr = value & (role_ == Role::kMaster ? kMasterElcrMask : kSlaveElcrMask);
  state_.irr = static_cast<std::uint8_t>((state_.irr & ~state_.elcr) | (state_.inputs & state_.elcr));
}

Result<> I8259::set_state(const I8259State& state) {
  const std::uint8_t elcr_mask = role_ == Role::kMaster ? kMasterElcrMask : kSlaveElcrMask;
  if (state.lowest_priority > 7 || state.init_step == 1 || state.init_step > 4 || (state.elcr & ~elcr_mask) != 0)
    return fail(ErrorKind::kCorrupt, "no 8259A can be in the saved state");
  state_ = state;
  return {};
}

I8259Pair::I8259Pair(IrqPin intr, Logger log) : log_(std::move(log)), intr_(*this, intr) {}

void I8259Pair::reset() {
  const DeviceGuard guard(*this);
  master_.reset();
  slave_.reset();
  update();
}

void I8259Pair::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, I8259PairState{{master_.state(), slave_.state()}});
}

Result<> I8259Pair::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto saved, state::load<I8259PairState>(reader));
  const DeviceGuard guard(*this);
  DOPPEL_TRY(master_.set_state(saved.chips[0]));
  DOPPEL_TRY(slave_.set_state(saved.chips[1]));
  update();
  return {};
}

/// Carries the slave's INT to the master and the master's to INTR.
void I8259Pair::update() {
  master_.set_input(kCascadePin, slave_.output());
  intr_.set(master_.output());
}

void I8259Pair::set_irq(unsigned pin, bool level) {
  if (pin >= kPins || pin == kCascadePin) return;
  const DeviceGuard guard(*this);
  (pin < 8 ? master_ : slave_).set_input(pin & 7U, level);
  update();
}

std::uint8_t I8259Pair::acknowledge() {
  const DeviceGuard guard(*this);
  const unsigned pin = master_.acknowledge().value_or(kSpuriousPin);
  std::uint8_t vector = master_.vector_of(pin);
  if (pin == kCascadePin) {
    vector = slave_.vector_of(slave_.acknowledge().value_or(kSpuriousPin));
    master_.set_input(kCascadePin, false);  // INT drops at INTA; another request of the slave is a new edge
  }
  update();
  return vector;
}

std::uint64_t I8259Pair::ChipPorts::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(pair_);
  if (offset >= kPorts || size != 1) {
    pair_.log_.guest_error("read of {} bytes at offset {:#x}", size, offset);
    return low_mask(8 * size);
  }
  const std::uint8_t value = offset == 0 ? chip_.read_command() : chip_.read_data();
  pair_.update();
  return value;
}

void I8259Pair::ChipPorts::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(pair_);
  if (offset >= kPorts || size != 1) {
    pair_.log_.guest_error("write of {} bytes at offset {:#x}", size, offset);
    return;
  }
  const auto byte = static_cast<std::uint8_t>(value);
  if (offset != 0) {
    chip_.write_data(byte);
  } else {
    // A slave that still asserts INT is a new request to a master that starts over.
    if (&chip_ == &pair_.master_ && (byte & kIsIcw1) != 0) pair_.master_.set_input(kCascadePin, false);
    chip_.write_command(byte);
  }
  pair_.update();
}

std::uint64_t I8259Pair::ElcrPorts::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(pair_);
  if (offset >= kPorts || size != 1) return low_mask(8 * size);
  return offset == 0 ? pair_.master_.elcr() : pair_.slave_.elcr();
}

void I8259Pair::ElcrPorts::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(pair_);
  if (offset >= kPorts || size != 1) return;
  (offset == 0 ? pair_.master_ : pair_.slave_).set_elcr(static_cast<std::uint8_t>(value));
  pair_.update();
}

}  // namespace doppel::hw
