#include "hw/input/i8042.h"

#include "base/bits.h"

namespace doppel::hw {

using namespace i8042;

namespace {

constexpr std::size_t kMostReplies = 16;
constexpr std::uint8_t kBreakPrefix = 0xf0;
constexpr std::uint8_t kResetConfig = config::kKeyboardInterrupt | config::kAuxInterrupt | config::kTranslate;

}  // namespace

I8042::I8042(const I8042Pins& pins, event::Clock& clock, Logger log)
    : log_(std::move(log)),
      clock_(clock),
      keyboard_irq_(*this, pins.keyboard_irq),
      aux_irq_(*this, pins.aux_irq),
      a20_(*this, pins.a20),
      reset_(*this, pins.reset),
      repeat_timer_(clock.create_timer([this] { repeat_key(); })) {
  power_on();
}

void I8042::reset() {
  const DeviceGuard guard(*this);
  power_on();
}

void I8042::power_on() {
  ram_.fill(0);
  config() = kResetConfig;
  status_ = status::kCommand | status::kUnlocked;
  output_ = 0;
  output_source_ = Source::kController;
  pending_command_ = 0;
  translating_break_ = false;
  replies_.clear();
  keyboard_.reset();
  mouse_.reset();
  // The self-tests of both are long over when the first instruction runs, and nobody has asked for their results.
  while (keyboard_.has_output()) (void)keyboard_.take();
  while (mouse_.has_output()) (void)mouse_.take();
  a20_.raise();
  reset_.lower();
  update();
}

std::uint64_t I8042::DataPort::read(std::uint64_t /*offset*/, unsigned /*size*/) {
  const DeviceGuard guard(chip_);
  return chip_.read_data();
}

void I8042::DataPort::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
  std::uint8_t before = 0;
  std::uint8_t after = 0;
  {
    const DeviceGuard guard(chip_);
    before = chip_.keyboard_.leds();
    chip_.write_data(static_cast<std::uint8_t>(value));
    after = chip_.keyboard_.leds();
  }
  if (before != after) chip_.tell_lights(after);
}

std::uint64_t I8042::CommandPort::read(std::uint64_t /*offset*/, unsigned /*size*/) {
  const DeviceGuard guard(chip_);
  return chip_.status_;
}

void I8042::CommandPort::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
  const DeviceGuard guard(chip_);
  chip_.write_command(static_cast<std::uint8_t>(value));
}

void I8042::tell_lights(std::uint8_t leds) {
  if (lights_) lights_(leds);
}

/// An empty buffer reads as what was in it last.
std::uint8_t I8042::read_data() {
  const std::uint8_t value = output_;
  status_ = static_cast<std::uint8_t>(status_ & ~(status::kOutputFull | status::kAuxOutputFull));
  // Low first, so that the next byte makes an edge of its own.
  keyboard_irq_.lower();
  aux_irq_.lower();
  update();
  return value;
}

void I8042::write_data(std::uint8_t value) {
  const std::uint8_t command = pending_command_;
  pending_command_ = 0;
  status_ = static_cast<std::uint8_t>(status_ & ~status::kCommand);
  switch (command) {
    case 0:
      // Talking to the keyboard opens its interface again.
      config() = static_cast<std::uint8_t>(config() & ~config::kKeyboardDisabled);
      keyboard_.host_byte(value);
      break;
    case kWriteOutputPort: write_output_port(value); break;
    case kWriteKeyboardOutput: reply(value, Source::kKeyboard); break;
    case kWriteAuxOutput: reply(value, Source::kAux); break;
    case kWriteAux:
      config() = static_cast<std::uint8_t>(config() & ~config::kAuxDisabled);
      mouse_.host_byte(value);
      break;
    default: write_ram(command & (kRamSize - 1), value); break;
  }
  update();
}

void I8042::write_ram(std::uint8_t address, std::uint8_t value) {
  ram_[address] = value;
  if (address == 0) status_ = with_bit<std::uint8_t>(status_, 2, (value & config::kSystemFlag) != 0);
}

void I8042::write_command(std::uint8_t command) {
  pending_command_ = 0;
  status_ |= status::kCommand;
  switch (command) {
    case kTestPassword: reply(kNoPassword); break;
    case kDisableAux: config() |= config::kAuxDisabled; break;
    case kEnableAux: config() = static_cast<std::uint8_t>(config() & ~config::kAuxDisabled); break;
    case kTestAux:
    case kTestKeyboard: reply(kInterfaceGood); break;
    case kSelfTest:
      status_ |= status::kSystemFlag;
      config() |= config::kSystemFlag;
      reply(kSelfTestPassed);
      break;
    case kDisableKeyboard: config() |= config::kKeyboardDisabled; break;
    case kEnableKeyboard: config() = static_cast<std::uint8_t>(config() & ~config::kKeyboardDisabled); break;
    case kReadInputPort: reply(kInputPort); break;
    case kReadOutputPort: reply(read_output_port()); break;
    case kWriteOutputPort:
    case kWriteKeyboardOutput:
    case kWriteAuxOutput:
    case kWriteAux: pending_command_ = command; break;
    case kDisableA20: a20_.lower(); break;
    case kEnableA20: a20_.raise(); break;
    case kReadTestInputs: reply(0); break;
    default:
      if (command >= kPulseOutput) {
        if ((command & output_port::kNotReset) == 0) request_reset();
      } else if (command >= kWriteRam && command < kWriteRam + kRamSize) {
        pending_command_ = command;
      } else if (command >= kReadRam && command < kReadRam + kRamSize) {
        reply(ram_[command & (kRamSize - 1)]);
      } else {
        log_.guest_error("unknown command {:#x}", command);
      }
      break;
  }
  update();
}

void I8042::write_output_port(std::uint8_t value) {
  a20_.set((value & output_port::kA20) != 0);
  if ((value & output_port::kNotReset) == 0) request_reset();
}

void I8042::request_reset() {
  reset_.edge();
  reset_.lower();
}

std::uint8_t I8042::read_output_port() const {
  std::uint8_t value = output_port::kHigh | output_port::kNotReset;
  if (a20_.level()) value |= output_port::kA20;
  if ((status_ & status::kOutputFull) != 0)
    value |= output_source_ == Source::kAux ? output_port::kAuxInterrupt : output_port::kKeyboardInterrupt;
  return value;
}

/// The controller's own words wait for the buffer, but before any device's.
void I8042::reply(std::uint8_t value, Source source) {
  if (replies_.size() < kMostReplies) replies_.push_back({value, source});
}

void I8042::set_output(std::uint8_t value, Source source) {
  output_ = value;
  output_source_ = source;
  status_ |= status::kOutputFull;
  if (source == Source::kAux) status_ |= status::kAuxOutputFull;
}

void I8042::fill_output() {
  if ((status_ & status::kOutputFull) != 0) return;
  if (!replies_.empty()) {
    const Reply next = replies_.front();
    replies_.pop_front();
    return set_output(next.value, next.source);
  }
  if ((config() & config::kKeyboardDisabled) == 0 && fill_from_keyboard()) return;
  if ((config() & config::kAuxDisabled) == 0 && mouse_.has_output()) {
    set_output(mouse_.take(), Source::kAux);
    mouse_.pump();
  }
}

bool I8042::fill_from_keyboard() {
  while (keyboard_.has_output()) {
    std::uint8_t value = keyboard_.take();
    if ((config() & config::kTranslate) != 0) {
      if (value == kBreakPrefix) {
        translating_break_ = true;
        continue;
      }
      value = static_cast<std::uint8_t>(translate_set2(value) | (translating_break_ ? 0x80 : 0));
      translating_break_ = false;
    }
    set_output(value, Source::kKeyboard);
    return true;
  }
  return false;
}

void I8042::update() {
  fill_output();
  const bool full = (status_ & status::kOutputFull) != 0;
  const bool aux = output_source_ == Source::kAux;
  keyboard_irq_.set(full && !aux && (config() & config::kKeyboardInterrupt) != 0);
  aux_irq_.set(full && aux && (config() & config::kAuxInterrupt) != 0);
}

void I8042::key_event(KeyCode code, bool pressed) {
  const DeviceGuard guard(*this);
  keyboard_.key(code, pressed, clock_.now_ns());
  if (keyboard_.repeat_deadline_ns() >= 0)
    repeat_timer_->arm(keyboard_.repeat_deadline_ns());
  else
    repeat_timer_->cancel();
  update();
}

void I8042::repeat_key() {
  const DeviceGuard guard(*this);
  keyboard_.repeat(clock_.now_ns());
  if (keyboard_.repeat_deadline_ns() >= 0) repeat_timer_->arm(keyboard_.repeat_deadline_ns());
  update();
}

void I8042::mouse_move(std::int32_t dx, std::int32_t dy, std::int32_t dz) {
  const DeviceGuard guard(*this);
  mouse_.move(dx, dy, dz);
  update();
}

void I8042::mouse_button(MouseButton button, bool pressed) {
  const DeviceGuard guard(*this);
  mouse_.button(button, pressed);
  update();
}

void I8042::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  I8042State saved{.ram = ram_,
                   .status = status_,
                   .output = output_,
                   .output_source = static_cast<std::uint8_t>(output_source_),
                   .pending_command = pending_command_,
                   .translating_break = translating_break_,
                   .a20 = a20_.level(),
                   .keyboard = keyboard_.save(),
                   .mouse = mouse_.save()};
  for (const Reply& reply : replies_) {
    saved.replies.push_back(reply.value);
    saved.replies.push_back(static_cast<std::uint8_t>(reply.source));
  }
  state::save(writer, saved);
}

Result<> I8042::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto saved, state::load<I8042State>(reader));
  const auto source_of = [](std::uint8_t value) {
    return value <= 2 ? static_cast<Source>(value) : Source::kController;
  };
  if (saved.replies.size() % 2 != 0 || saved.replies.size() > 2 * kMostReplies)
    return fail(ErrorKind::kCorrupt, "i8042: the saved replies are damaged");
  const DeviceGuard guard(*this);
  ram_ = saved.ram;
  status_ = saved.status;
  output_ = saved.output;
  output_source_ = source_of(saved.output_source);
  pending_command_ = saved.pending_command;
  translating_break_ = saved.translating_break;
  a20_.set(saved.a20);
  replies_.clear();
  for (std::size_t i = 0; i < saved.replies.size(); i += 2)
    replies_.push_back({saved.replies[i], source_of(saved.replies[i + 1])});
  keyboard_.load(saved.keyboard);
  mouse_.load(saved.mouse);
  repeat_timer_->cancel();
  update();
  return {};
}

}  // namespace doppel::hw
