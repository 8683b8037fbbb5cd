// The local APIC's life, priorities and delivery; its registers are in local_apic_access.cpp.
#include "hw/intc/local_apic.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "hw/intc/apic_bus.h"

namespace doppel::hw {

using namespace lapic;

namespace {

constexpr std::array kLintSources = {LocalVector::kLint0, LocalVector::kLint1};

DeliveryMode lvt_delivery(std::uint32_t lvt) {
  return static_cast<DeliveryMode>(bits(lvt, 10, 8));
}

bool is_level_lint(std::uint32_t lvt) {
  return lvt_delivery(lvt) == DeliveryMode::kFixed && test_bit(lvt, kLvtLevelBit);
}

}  // namespace

LocalApic::LocalApic(const LocalApicConfig& config, ApicBus& bus, LocalApicClient& client, event::Clock& clock,
                     std::function<std::uint64_t()> tsc_now, InterruptAcknowledge* pic, Logger log)
    : config_(config),
      bus_(bus),
      client_(client),
      pic_(pic),
      log_(std::move(log)),
      timer_(clock, [this] { on_timer(); }, std::move(tsc_now), config.tsc_hz) {
  LocalApic::reset();
}

void LocalApic::reset() {
  const EffectGuard guard(*this);
  base_ = kDefaultBase | bit(kBaseEnableBit) | (config_.bootstrap ? bit(kBaseBspBit) : 0);
  id_ = static_cast<std::uint8_t>(config_.id);
  clear_registers();
}

void LocalApic::init() {
  const EffectGuard guard(*this);
  clear_registers();
}

/// The state of SDM 3A 11.4.7.1; the pins are what the board makes them.
void LocalApic::clear_registers() {
  timer_.reset();
  tpr_ = 0;
  ldr_ = 0;
  dfr_ = kDfrFlat;
  svr_ = kSvrReset;
  irr_ = {};
  isr_ = {};
  tmr_ = {};
  esr_ = 0;
  errors_ = 0;
  icr_ = 0;
  lvt_.fill(kLvtReset);
  if (config_.bootstrap) lvt(LocalVector::kLint0) = kLvtVirtualWire;
  external_request_ = false;
  publish_address();
  update();
}

void LocalApic::perform(const Effects& effects) {
  // Of these only the bus may come back here, and then into accept(), which sends nothing to the bus.
  if (effects.ipi) bus_.deliver(effects.message, effects.ipi_spares_sender ? this : nullptr);
  if (effects.end_of_interrupt) bus_.broadcast_eoi(*effects.end_of_interrupt);
  if (effects.nmi) client_.nmi();
  if (effects.smi) client_.smi();
  if (effects.init) client_.init();
  if (effects.start_up) client_.start_up(*effects.start_up);
  if (effects.interrupt) client_.interrupt_pending();
}

/// PPR (SDM 3A 11.8.3.1).
std::uint8_t LocalApic::processor_priority() const {
  const auto in_service = static_cast<std::uint8_t>(isr_.highest() & 0xf0U);
  return (tpr() & 0xf0U) >= in_service ? tpr() : in_service;
}

bool LocalApic::external_interrupt() const {
  if (pic_ == nullptr) return false;
  if (mode() == Mode::kDisabled) return lint_[0];  // LINT0 is INTR then
  if (external_request_) return true;
  return std::ranges::any_of(kLintSources, [this](LocalVector source) {
    return lint_[source == LocalVector::kLint0 ? 0 : 1] && !test_bit(lvt(source), kLvtMaskBit) &&
           lvt_delivery(lvt(source)) == DeliveryMode::kExtInt;
  });
}

/// Publishes what follows from IRR, ISR, TPR and the pins; after each change of one.
void LocalApic::update() {
  const std::uint8_t request = irr_.highest();
  const std::uint8_t ppr = processor_priority();
  // APR (SDM 3A 11.6.2.4): the TPR, unless a request or one in service is more urgent.
  const auto urgent = static_cast<std::uint8_t>(std::max(request, isr_.highest()) & 0xf0U);
  apr_.store((tpr() & 0xf0U) >= urgent ? tpr() : urgent, std::memory_order_relaxed);

  std::uint32_t pending = (request & 0xf0U) > (ppr & 0xf0U) ? request : 0U;
  if (external_interrupt()) pending |= kExternal;
  const std::uint32_t before = pending_.load(std::memory_order_relaxed);
  if (pending == before) return;
  pending_.store(pending, std::memory_order_release);
  if (before == 0) effects_.interrupt = true;
}

void LocalApic::publish_address() {
  address_.store({mode(), software_enabled(), id_, ldr_, dfr_, {}}, std::memory_order_release);
}

std::optional<std::uint8_t> LocalApic::pending_vector() const {
  const auto vector = static_cast<std::uint8_t>(pending_.load(std::memory_order_acquire));
  return vector != 0 ? std::optional(vector) : std::nullopt;
}

std::optional<std::uint8_t> LocalApic::acknowledge() {
  {
    const EffectGuard guard(*this);
    const std::uint32_t pending = pending_.load(std::memory_order_relaxed);
    if ((pending & kExternal) == 0) {
      const auto vector = static_cast<std::uint8_t>(pending);
      if (vector == 0) return std::nullopt;
      irr_.erase(vector);
      isr_.insert(vector);
      update();
      return vector;
    }
    external_request_ = false;
    update();
  }
  return pic_->acknowledge();
}

void LocalApic::set_tpr(std::uint8_t value) {
  if (value == tpr()) return;
  const EffectGuard guard(*this);
  tpr_.store(value, std::memory_order_relaxed);
  update();
}

void LocalApic::end_of_interrupt() {
  const EffectGuard guard(*this);
  finish();
}

/// EOI (SDM 3A 11.8.5): the most urgent in service ends; without one nothing happens.
void LocalApic::finish() {
  const std::uint8_t vector = isr_.highest();
  if (vector == 0) return;
  isr_.erase(vector);
  if (tmr_.contains(vector)) {
    if (!test_bit(svr_, kSvrSuppressEoiBit)) effects_.end_of_interrupt = vector;
    for (const LocalVector source : kLintSources)
      if (static_cast<std::uint8_t>(lvt(source)) == vector)
        lvt(source) = with_bit(lvt(source), kLvtRemoteIrrBit, false);
    serve_level_lint();
  }
  update();
}

void LocalApic::accept(const ApicMessage& message) {
  const EffectGuard guard(*this);
  if (mode() != Mode::kDisabled) receive(message);
}

void LocalApic::receive(const ApicMessage& message) {
  switch (message.delivery_mode) {
    case DeliveryMode::kFixed:
    case DeliveryMode::kLowestPriority: receive_vector(message.vector, message.trigger_mode); break;
    case DeliveryMode::kSmi: effects_.smi = true; break;
    case DeliveryMode::kNmi: effects_.nmi = true; break;
    case DeliveryMode::kInit: effects_.init = true; break;
    case DeliveryMode::kStartUp: effects_.start_up = message.vector; break;
    case DeliveryMode::kExtInt:
      external_request_ = true;
      update();
      break;
    case DeliveryMode::kRemoteRead: break;
  }
}

void LocalApic::receive_vector(std::uint8_t vector, TriggerMode trigger) {
  if (vector < kLowestApicVector) return report_error(kEsrReceiveIllegalVector);
  if (!software_enabled()) return;
  irr_.insert(vector);
  if (trigger == TriggerMode::kLevel)
    tmr_.insert(vector);
  else
    tmr_.erase(vector);
  update();
}

/// Only the first error after a write of the ESR interrupts (SDM 3A 11.5.3), so an illegal error vector cannot recurse.
void LocalApic::report_error(std::uint32_t error) {
  log_.guest_error("APIC {} reports error {:#x}", config_.id, error);
  const bool first = errors_ == 0;
  errors_ |= error;
  if (first) fire(LocalVector::kError);
}

/// The local vector's event has occurred (SDM 3A 11.5.1). ExtINT is not an event: update() looks at the pins' levels.
void LocalApic::fire(LocalVector source) {
  const std::uint32_t value = lvt(source);
  if (test_bit(value, kLvtMaskBit)) return;
  const bool always_fixed = source == LocalVector::kTimer || source == LocalVector::kError;
  const DeliveryMode delivery = always_fixed ? DeliveryMode::kFixed : lvt_delivery(value);
  switch (delivery) {
    case DeliveryMode::kFixed: receive_vector(static_cast<std::uint8_t>(value), TriggerMode::kEdge); break;
    case DeliveryMode::kSmi:
    case DeliveryMode::kNmi:
    case DeliveryMode::kInit: receive({.delivery_mode = delivery}); break;
    default: break;
  }
  if (source == LocalVector::kPerformance) lvt(source) = with_bit(value, kLvtMaskBit, true);
}

void LocalApic::signal(LocalVector source) {
  const EffectGuard guard(*this);
  if (mode() != Mode::kDisabled) fire(source);
}

void LocalApic::set_irq(unsigned pin, bool level) {
  if (pin >= lint_.size()) return;
  const EffectGuard guard(*this);
  const bool rising = level && !lint_[pin];
  lint_[pin] = level;
  lint_changed(pin, rising);
}

void LocalApic::lint_changed(unsigned pin, bool rising) {
  if (mode() == Mode::kDisabled) {
    if (pin == 1 && rising) effects_.nmi = true;  // LINT1 is NMI then
  } else {
    if (rising && !is_level_lint(lvt(kLintSources[pin]))) fire(kLintSources[pin]);
    serve_level_lint();
  }
  update();
}

void LocalApic::serve_level_lint() {
  for (unsigned pin = 0; pin < lint_.size(); ++pin) {
    std::uint32_t& value = lvt(kLintSources[pin]);
    if (!lint_[pin] || !is_level_lint(value) || test_bit(value, kLvtMaskBit) || test_bit(value, kLvtRemoteIrrBit))
      continue;
    value = with_bit(value, kLvtRemoteIrrBit, true);
    receive_vector(static_cast<std::uint8_t>(value), TriggerMode::kLevel);
  }
}

void LocalApic::on_timer() {
  const EffectGuard guard(*this);
  if (timer_.expire()) fire(LocalVector::kTimer);
}

void LocalApic::tsc_changed() {
  const EffectGuard guard(*this);
  if (timer_.tsc_changed()) fire(LocalVector::kTimer);
}

/// SDM 3A 11.6.2.2 and, for x2APIC, 11.12.10.2.
bool LocalApic::matches_logical(const Address& address, std::uint32_t destination) {
  if (destination > 0xff) return false;
  const std::uint32_t common = address.ldr & destination;
  if (address.dfr == kDfrFlat) return common != 0;
  return address.dfr == kDfrCluster && (address.ldr ^ destination) < 0x10 && (common & 0xf) != 0;
}

bool LocalApic::matches(const ApicMessage& message) const {
  const Address address = address_.load(std::memory_order_acquire);
  const std::uint32_t destination = message.destination;
  if (address.mode == Mode::kDisabled) return false;
  if (destination == kApicBroadcast) return true;
  if (message.destination_mode == DestinationMode::kPhysical) {
    // An id too large for xAPIC is answered in xAPIC mode as well: how else would that processor be started?
    if (address.mode == Mode::kX2apic || config_.id > 0xff) return destination == config_.id;
    return destination == address.xapic_id;
  }
  if (address.mode == Mode::kXapic) return matches_logical(address, destination);
  const std::uint32_t ldr = x2apic_ldr(config_.id);
  return destination >> 16U == ldr >> 16U && (destination & ldr & 0xffff) != 0;
}

std::uint32_t LocalApic::id() const {
  const Address address = address_.load(std::memory_order_acquire);
  return address.mode == Mode::kX2apic ? config_.id : address.xapic_id;
}

bool LocalApic::takes_part() const {
  return address_.load(std::memory_order_acquire).takes_part;
}

bool LocalApic::is_focus(std::uint8_t vector) {
  const EffectGuard guard(*this);
  return !test_bit(svr_, kSvrNoFocusBit) && (irr_.contains(vector) || isr_.contains(vector));
}

void LocalApic::save(state::Writer& writer) {
  const EffectGuard guard(*this);
  state::save(writer, snapshot());
}

Result<> LocalApic::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto saved, state::load<LocalApicState>(reader));
  const EffectGuard guard(*this);
  return restore(saved);
}

void LocalApic::save_page(LocalApicPage page) {
  const EffectGuard guard(*this);
  to_page(snapshot(), version(), timer_.current_count(), page);
}

Result<> LocalApic::load_page(ConstLocalApicPage page, std::uint64_t apic_base) {
  const EffectGuard guard(*this);
  LocalApicState state = snapshot();
  state.apic_base = apic_base;
  from_page(page, state);
  return restore(state);
}

LocalApicState LocalApic::snapshot() const {
  LocalApicState state;
  state.apic_base = apic_base();
  state.id = mode() == Mode::kX2apic ? config_.id : id_;
  state.tpr = tpr();
  state.ldr = ldr_;
  state.dfr = dfr_;
  state.svr = svr_;
  state.irr = irr_.words();
  state.isr = isr_.words();
  state.tmr = tmr_.words();
  state.esr = esr_;
  state.errors = errors_;
  state.icr = icr_;
  state.lvt = lvt_;
  state.timer = timer_.save();
  state.lint = lint_;
  state.external_request = external_request_;
  return state;
}

Result<> LocalApic::restore(const LocalApicState& state) {
  if (!is_legal_base(state.apic_base))
    return fail(ErrorKind::kCorrupt, "local APIC {}: APIC base {:#x} is impossible", config_.id, state.apic_base);
  base_ = state.apic_base;
  id_ = static_cast<std::uint8_t>(mode() == Mode::kXapic ? state.id : config_.id);
  tpr_ = state.tpr;
  ldr_ = state.ldr;
  dfr_ = state.dfr & 0xf;
  irr_ = VectorSet(state.irr);
  isr_ = VectorSet(state.isr);
  tmr_ = VectorSet(state.tmr);
  svr_ = state.svr & svr_writable();
  esr_ = state.esr & 0xff;
  errors_ = state.errors & 0xff;
  icr_ = state.icr & (low_mask(32) << 32U | kIcrWritable);
  for (unsigned i = 0; i < kLocalVectorCount; ++i)
    lvt_[i] = state.lvt[i] & (lvt_writable(static_cast<LocalVector>(i)) | bit<std::uint32_t>(kLvtRemoteIrrBit));
  lint_ = state.lint;
  external_request_ = state.external_request;
  set_timer_mode();
  timer_.load(state.timer);
  publish_address();
  update();
  return {};
}

}  // namespace doppel::hw
