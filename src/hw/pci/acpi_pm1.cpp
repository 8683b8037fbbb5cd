#include "hw/pci/acpi_pm1.h"

#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr unsigned kStatusEnable = 0;
constexpr unsigned kControl = 4;
constexpr unsigned kTimer = 8;

constexpr std::uint16_t kStatusClearable = 0x8531;
constexpr std::uint16_t kEnableWritable = 0x0521;
constexpr std::uint16_t kControlWritable = 0x1c03;  // SLP_TYP, BM_RLD, SCI_EN; GBL_RLS and SLP_EN read as zero
constexpr std::uint16_t kSciEnable = 0x0001;
constexpr std::uint16_t kSleepEnable = 0x2000;
constexpr std::uint64_t kCarry = bit(23);  // the timer's event is a change of this bit

constexpr std::uint16_t bits_of(PmEvent event) {
  return static_cast<std::uint16_t>(event);
}

}  // namespace

AcpiPm1::AcpiPm1(event::Clock& clock, std::function<void()> timer_due)
    : clock_(clock), timer_(clock.create_timer(std::move(timer_due))) {
  expect_next_carry();
}

std::uint64_t AcpiPm1::ticks() const {
  return event::ns_to_ticks(clock_.now_ns(), kTimerHz);
}

void AcpiPm1::expect_next_carry() {
  next_carry_ = align_down(ticks(), kCarry) + kCarry;
}

void AcpiPm1::update() {
  if (ticks() >= next_carry_) {
    state_.status |= bits_of(PmEvent::kTimer);
    expect_next_carry();
  }
  const bool wanted = (state_.enable & ~state_.status & bits_of(PmEvent::kTimer)) != 0;
  if (wanted)
    timer_->arm(event::ticks_to_ns(next_carry_, kTimerHz) + 1);
  else
    timer_->cancel();
}

std::uint32_t AcpiPm1::read(unsigned offset, unsigned size) {
  const std::uint32_t dword = read_dword(align_down(offset, 4U));
  return static_cast<std::uint32_t>((dword >> (8 * (offset % 4))) & low_mask(8 * size));
}

std::uint32_t AcpiPm1::read_dword(unsigned offset) {
  switch (offset) {
    case kStatusEnable: update(); return state_.status | std::uint32_t{state_.enable} << 16U;
    case kControl: return state_.control;
    case kTimer: return static_cast<std::uint32_t>(ticks() & low_mask(24));
    default: return 0;
  }
}

std::optional<unsigned> AcpiPm1::write(unsigned offset, unsigned size, std::uint32_t value) {
  const unsigned shift = 8 * (offset % 4);
  const auto mask = static_cast<std::uint32_t>(low_mask(8 * size) << shift);
  const std::uint32_t written = (value << shift) & mask;
  const unsigned dword = align_down(offset, 4U);
  if (dword == kStatusEnable) {
    update();
    state_.status = static_cast<std::uint16_t>(state_.status & ~(written & kStatusClearable));
    const std::uint32_t enable_mask = mask >> 16U & kEnableWritable;
    state_.enable = static_cast<std::uint16_t>((state_.enable & ~enable_mask) | (written >> 16U & enable_mask));
    update();
  }
  if (dword != kControl) return std::nullopt;
  const std::uint32_t control_mask = mask & kControlWritable;
  state_.control = static_cast<std::uint16_t>((state_.control & ~control_mask) | (written & control_mask));
  if ((written & kSleepEnable) == 0) return std::nullopt;
  return bits(state_.control, 12, 10);
}

void AcpiPm1::set_status(PmEvent event) {
  state_.status |= bits_of(event);
}

void AcpiPm1::set_acpi_mode(bool on) {
  state_.control = static_cast<std::uint16_t>(on ? state_.control | kSciEnable : state_.control & ~kSciEnable);
}

bool AcpiPm1::acpi_mode() const {
  return (state_.control & kSciEnable) != 0;
}

bool AcpiPm1::event_pending() const {
  return (state_.status & state_.enable & kEnableWritable) != 0;
}

void AcpiPm1::reset() {
  state_ = {};
  expect_next_carry();
  update();
}

AcpiPm1::State AcpiPm1::state() {
  update();
  return state_;
}

void AcpiPm1::set_state(const State& state) {
  state_.status = state.status & kStatusClearable;
  state_.enable = state.enable & kEnableWritable;
  state_.control = state.control & kControlWritable;
  expect_next_carry();
  update();
}

}  // namespace doppel::hw
