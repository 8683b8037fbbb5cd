#include "hw/serial/uart16550.h"

#include <algorithm>
#include <span>

#include "base/bits.h"

namespace doppel::hw {

using namespace uart;

namespace {

struct LegacyPort {
  std::uint16_t iobase;
  std::uint8_t irq;
};
constexpr std::array<LegacyPort, 4> kLegacyPorts = {{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}};
constexpr std::array<std::uint8_t, 4> kTriggerLevels = {1, 4, 8, 14};
constexpr std::uint8_t kConnectedLines = msr::kCts | msr::kDsr | msr::kDcd;
constexpr std::uint32_t kUnset = 0xffffffff;
/// What the firmware of a PC leaves behind: 9600 baud.
constexpr std::uint16_t kResetDivisor = 12;

}  // namespace

const PropertyTable<IsaSerialConfig> kIsaSerialProperties = {
    {"index", &IsaSerialConfig::index, "0 to 3 for COM1 to COM4"},
    {"iobase", &IsaSerialConfig::iobase, "first I/O port"},
    {"irq", &IsaSerialConfig::irq, "ISA interrupt"},
    {"chardev", &IsaSerialConfig::chardev, "id of the character backend"},
};

Result<IsaSerialConfig> resolve_isa_serial(IsaSerialConfig config, std::uint32_t next_index) {
  if (config.index == kUnset) config.index = next_index;
  if (config.index >= kLegacyPorts.size())
    return fail(ErrorKind::kInvalidArgument, "isa-serial: a machine has at most {} serial ports", kLegacyPorts.size());
  if (config.iobase == kUnset) config.iobase = kLegacyPorts[config.index].iobase;
  if (config.irq == kUnset) config.irq = kLegacyPorts[config.index].irq;
  if (config.iobase > 0x10000 - Uart16550::kPortCount)
    return fail(ErrorKind::kInvalidArgument, "isa-serial: there is no I/O port {:#x}", config.iobase);
  if (config.irq > 15) return fail(ErrorKind::kInvalidArgument, "isa-serial: there is no ISA interrupt {}", config.irq);
  return config;
}

Uart16550::Uart16550(IrqPin irq, event::Clock& clock, chardev::Chardev* chardev, Logger log)
    : log_(std::move(log)),
      clock_(clock),
      chardev_(chardev),
      irq_(*this, irq),
      modem_lines_(kConnectedLines),
      timeout_timer_(clock.create_timer([this] { timeout_fired(); })) {
  power_on();
  connect();
}

Uart16550::~Uart16550() {
  if (chardev_ != nullptr) chardev_->connect({});
}

void Uart16550::connect() {
  if (chardev_ == nullptr) return;
  chardev_->connect({
      .can_receive =
          [this] {
            const DeviceGuard guard(*this);
            return room();
          },
      .receive =
          [this](std::span<const std::byte> bytes) {
            const DeviceGuard guard(*this);
            for (const std::byte byte : bytes) receive(static_cast<std::uint8_t>(byte), 0);
            update_interrupt();
          },
      .can_write =
          [this] {
            const DeviceGuard guard(*this);
            transmit();
            update_interrupt();
          },
      .event =
          [this](chardev::CharEvent event) {
            if (event != chardev::CharEvent::kBreak) return;
            const DeviceGuard guard(*this);
            if (!loopback() && receive_fifo_.size() < fifo_depth()) receive(0, lsr::kBreak | lsr::kFramingError);
            update_interrupt();
          },
  });
}

void Uart16550::reset() {
  const DeviceGuard guard(*this);
  power_on();
}

void Uart16550::power_on() {
  divisor_ = kResetDivisor;
  ier_ = fcr_ = lcr_ = scr_ = 0;
  mcr_ = mcr::kOut2;  // the chip says 0, but some guests never open the gate and PCs' firmware has
  lsr_ = lsr::kHoldingEmpty | lsr::kTransmitterEmpty;
  msr_ = modem_lines_;
  last_data_ = 0;
  thre_pending_ = false;
  transmit_fifo_.clear();
  clear_receiver();
  update_interrupt();
  if (chardev_ != nullptr) chardev_->accept_input();
}

std::uint64_t Uart16550::read(std::uint64_t offset, unsigned /*size*/) {
  const DeviceGuard guard(*this);
  return read_register(static_cast<Register>(offset & 7));
}

void Uart16550::write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) {
  const DeviceGuard guard(*this);
  write_register(static_cast<Register>(offset & 7), static_cast<std::uint8_t>(value));
}

std::uint8_t Uart16550::read_register(Register which) {
  const bool latch = (lcr_ & lcr::kDivisorLatch) != 0;
  switch (which) {
    case Register::kData: return latch ? static_cast<std::uint8_t>(divisor_) : read_data();
    case Register::kInterruptEnable: return latch ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_;
    case Register::kInterruptId: return read_interrupt_id();
    case Register::kLineControl: return lcr_;
    case Register::kModemControl: return mcr_;
    case Register::kLineStatus: return read_line_status();
    case Register::kModemStatus: {
      const std::uint8_t value = msr_;
      msr_ = static_cast<std::uint8_t>(msr_ & ~msr::kDeltas);
      update_interrupt();
      return value;
    }
    case Register::kScratch: return scr_;
  }
  return 0xff;
}

void Uart16550::write_register(Register which, std::uint8_t value) {
  const bool latch = (lcr_ & lcr::kDivisorLatch) != 0;
  switch (which) {
    case Register::kData:
      if (latch)
        divisor_ = with_bits<std::uint16_t>(divisor_, 7, 0, value);
      else
        write_data(value);
      return;
    case Register::kInterruptEnable:
      if (latch)
        divisor_ = with_bits<std::uint16_t>(divisor_, 15, 8, value);
      else
        write_interrupt_enable(value);
      return;
    case Register::kInterruptId: return write_fifo_control(value);
    case Register::kLineControl: lcr_ = value; return;
    case Register::kModemControl: return write_modem_control(value);
    case Register::kLineStatus:
    case Register::kModemStatus: return log_.guest_error("write of {:#x} to a status register", value);
    case Register::kScratch: scr_ = value; return;
  }
}

// The receiver.

std::size_t Uart16550::trigger_level() const {
  return fifos_enabled() ? kTriggerLevels[fcr_ >> fcr::kTriggerShift] : 1;
}

/// In loopback the pin is cut off; what comes meanwhile waits in the chardev. So does what goes beyond the trigger
/// level, for the sake of drivers that empty the FIFO into less than it holds: SeaBIOS's terminal has 15 keys' room.
std::size_t Uart16550::room() const {
  return loopback() ? 0 : trigger_level() - std::min(trigger_level(), receive_fifo_.size());
}

void Uart16550::receive(std::uint8_t byte, std::uint8_t errors) {
  if (receive_fifo_.size() >= fifo_depth()) {
    lsr_ |= lsr::kOverrun;
    // Without FIFOs the new character takes the place of the old one; a full FIFO keeps what it has.
    if (!fifos_enabled()) receive_fifo_.front() = byte;
  } else {
    receive_fifo_.push_back(static_cast<std::uint16_t>(byte | errors << 8));
  }
  // A character's errors show once it is at the top.
  if (receive_fifo_.size() == 1) lsr_ = static_cast<std::uint8_t>(lsr_ | receive_fifo_.front() >> 8);
  arm_timeout();
}

std::uint8_t Uart16550::read_data() {
  if (receive_fifo_.empty()) return last_data_;
  last_data_ = static_cast<std::uint8_t>(receive_fifo_.front());
  receive_fifo_.pop_front();
  if (!receive_fifo_.empty()) lsr_ = static_cast<std::uint8_t>(lsr_ | receive_fifo_.front() >> 8);
  timeout_pending_ = false;
  arm_timeout();
  update_interrupt();
  if (chardev_ != nullptr && room() != 0) chardev_->accept_input();
  return last_data_;
}

std::uint8_t Uart16550::read_line_status() {
  std::uint8_t value = lsr_;
  if (!receive_fifo_.empty()) value |= lsr::kDataReady;
  const auto in_error = [](std::uint16_t entry) { return entry >> 8 != 0; };
  if (fifos_enabled() && std::ranges::any_of(receive_fifo_, in_error)) value |= lsr::kErrorInFifo;
  lsr_ = static_cast<std::uint8_t>(lsr_ & ~lsr::kErrors);
  // An error seen is an error gone, also for the character still at the top.
  if (!receive_fifo_.empty()) receive_fifo_.front() &= 0xff;
  update_interrupt();
  return value;
}

void Uart16550::clear_receiver() {
  receive_fifo_.clear();
  lsr_ = static_cast<std::uint8_t>(lsr_ & ~lsr::kCharacterErrors);
  timeout_pending_ = false;
  arm_timeout();
}

/// Start bit, data, parity and stop bits at the present speed.
std::int64_t Uart16550::character_time_ns() const {
  const unsigned parity = (lcr_ & lcr::kParity) != 0 ? 1 : 0;
  const unsigned stop = (lcr_ & lcr::kTwoStopBits) != 0 ? 2 : 1;
  const unsigned bits = 1U + 5U + (lcr_ & lcr::kWordLength) + parity + stop;
  const std::uint32_t divisor = divisor_ != 0 ? divisor_ : kResetDivisor;
  return event::ticks_to_ns(std::uint64_t{bits} * divisor, kBaudBase);
}

/// Section 8.4: four character times without a character moving while the FIFO holds some.
void Uart16550::arm_timeout() {
  if (!fifos_enabled() || receive_fifo_.empty()) {
    timeout_deadline_ns_ = -1;
    timeout_timer_->cancel();
    return;
  }
  timeout_deadline_ns_ = clock_.now_ns() + 4 * character_time_ns();
  // A timer that fires too early is armed again then: cheaper than once per character.
  if (!timeout_timer_->armed()) timeout_timer_->arm(timeout_deadline_ns_);
}

void Uart16550::timeout_fired() {
  const DeviceGuard guard(*this);
  if (timeout_deadline_ns_ < 0) return;
  if (clock_.now_ns() < timeout_deadline_ns_) return timeout_timer_->arm(timeout_deadline_ns_);
  timeout_deadline_ns_ = -1;
  timeout_pending_ = !receive_fifo_.empty();
  update_interrupt();
}

// The transmitter.

void Uart16550::write_data(std::uint8_t value) {
  thre_pending_ = false;
  // A driver that does not look at THRE first loses the newest.
  if (transmit_fifo_.size() < fifo_depth())
    transmit_fifo_.push_back(value);
  else
    log_.guest_error("write to a full transmitter");
  lsr_ = static_cast<std::uint8_t>(lsr_ & ~(lsr::kHoldingEmpty | lsr::kTransmitterEmpty));
  update_interrupt();
  transmit();
  update_interrupt();
}

void Uart16550::transmit() {
  if (transmit_fifo_.empty()) return;
  if (loopback()) {
    for (const std::uint8_t byte : transmit_fifo_) receive(byte, 0);
    transmit_fifo_.clear();
  } else if (chardev_ == nullptr) {
    transmit_fifo_.clear();
  } else {
    std::array<std::byte, kFifoSize> bytes;
    const std::size_t count = std::min(transmit_fifo_.size(), bytes.size());
    std::ranges::transform(transmit_fifo_, bytes.begin(), [](std::uint8_t byte) { return std::byte{byte}; });
    const std::size_t taken = chardev_->write(std::span(bytes).first(count));
    transmit_fifo_.erase(transmit_fifo_.begin(), transmit_fifo_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  if (transmit_fifo_.empty()) transmitter_drained();
}

void Uart16550::transmitter_drained() {
  lsr_ |= lsr::kHoldingEmpty | lsr::kTransmitterEmpty;
  thre_pending_ = true;
}

// Interrupts and modem lines.

void Uart16550::write_interrupt_enable(std::uint8_t value) {
  const std::uint8_t rising = static_cast<std::uint8_t>(value & ~ier_);
  ier_ = value & ier::kWritable;
  // Drivers rely on it: enabling the interrupt while the holding register is empty raises it anew.
  if ((rising & ier::kTransmitterEmpty) != 0 && (lsr_ & lsr::kHoldingEmpty) != 0) thre_pending_ = true;
  update_interrupt();
}

void Uart16550::write_fifo_control(std::uint8_t value) {
  const bool toggled = ((value ^ fcr_) & fcr::kEnable) != 0;
  // The other bits are programmed only together with the enable bit (section 8.3).
  fcr_ = (value & fcr::kEnable) != 0
             ? static_cast<std::uint8_t>(value & ~(fcr::kResetReceiver | fcr::kResetTransmitter))
             : std::uint8_t{0};
  if (toggled || (value & fcr::kResetReceiver) != 0) clear_receiver();
  if ((toggled || (value & fcr::kResetTransmitter) != 0) && !transmit_fifo_.empty()) {
    transmit_fifo_.clear();
    transmitter_drained();
  }
  update_interrupt();
  if (chardev_ != nullptr && room() != 0) chardev_->accept_input();
}

void Uart16550::write_modem_control(std::uint8_t value) {
  const bool was_loopback = loopback();
  mcr_ = value & mcr::kWritable;
  update_modem_lines();
  if (!was_loopback && loopback()) transmit();  // what the chardev had no room for comes back instead
  update_interrupt();
  if (was_loopback && !loopback() && chardev_ != nullptr) chardev_->accept_input();
}

void Uart16550::set_modem_lines(std::uint8_t lines) {
  const DeviceGuard guard(*this);
  modem_lines_ = static_cast<std::uint8_t>(lines & ~msr::kDeltas);
  update_modem_lines();
  update_interrupt();
}

void Uart16550::update_modem_lines() {
  std::uint8_t lines = modem_lines_;
  if (loopback()) {
    lines = 0;
    if ((mcr_ & mcr::kRts) != 0) lines |= msr::kCts;
    if ((mcr_ & mcr::kDtr) != 0) lines |= msr::kDsr;
    if ((mcr_ & mcr::kOut1) != 0) lines |= msr::kRi;
    if ((mcr_ & mcr::kOut2) != 0) lines |= msr::kDcd;
  }
  const auto old = static_cast<std::uint8_t>(msr_ & ~msr::kDeltas);
  std::uint8_t changed = lines ^ old;
  // Of RI only the end of a ring counts.
  if ((lines & msr::kRi) != 0) changed = static_cast<std::uint8_t>(changed & ~msr::kRi);
  msr_ = static_cast<std::uint8_t>(lines | (msr_ & msr::kDeltas) | changed >> 4);
}

/// By priority, table IV.
std::uint8_t Uart16550::interrupt_cause() const {
  if ((ier_ & ier::kLineStatus) != 0 && (lsr_ & lsr::kErrors) != 0) return iir::kLineStatus;
  if ((ier_ & ier::kReceived) != 0) {
    if (receive_fifo_.size() >= trigger_level()) return iir::kReceived;
    if (timeout_pending_) return iir::kTimeout;
  }
  if ((ier_ & ier::kTransmitterEmpty) != 0 && thre_pending_) return iir::kTransmitterEmpty;
  if ((ier_ & ier::kModemStatus) != 0 && (msr_ & msr::kDeltas) != 0) return iir::kModemStatus;
  return iir::kNone;
}

void Uart16550::update_interrupt() {
  irq_.set((mcr_ & mcr::kOut2) != 0 && interrupt_cause() != iir::kNone);
}

std::uint8_t Uart16550::read_interrupt_id() {
  const std::uint8_t cause = interrupt_cause();
  if (cause == iir::kTransmitterEmpty) thre_pending_ = false;
  update_interrupt();
  return static_cast<std::uint8_t>(cause | (fifos_enabled() ? iir::kFifosEnabled : 0));
}

// Saved state.

void Uart16550::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, Uart16550State{
                          .divisor = divisor_,
                          .ier = ier_,
                          .fcr = fcr_,
                          .lcr = lcr_,
                          .mcr = mcr_,
                          .lsr = lsr_,
                          .msr = msr_,
                          .scr = scr_,
                          .last_data = last_data_,
                          .thre_pending = thre_pending_,
                          .timeout_pending = timeout_pending_,
                          .timeout_deadline_ns = timeout_deadline_ns_,
                          .receive_fifo = {receive_fifo_.begin(), receive_fifo_.end()},
                          .transmit_fifo = {transmit_fifo_.begin(), transmit_fifo_.end()},
                      });
}

Result<> Uart16550::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto saved, state::load<Uart16550State>(reader));
  if (saved.receive_fifo.size() > kFifoSize || saved.transmit_fifo.size() > kFifoSize)
    return fail(ErrorKind::kCorrupt, "isa-serial: the saved FIFO is longer than {} bytes", kFifoSize);
  const DeviceGuard guard(*this);
  divisor_ = saved.divisor;
  ier_ = saved.ier & ier::kWritable;
  fcr_ = saved.fcr;
  lcr_ = saved.lcr;
  mcr_ = saved.mcr & mcr::kWritable;
  lsr_ = saved.lsr;
  msr_ = saved.msr;
  scr_ = saved.scr;
  last_data_ = saved.last_data;
  thre_pending_ = saved.thre_pending;
  timeout_pending_ = saved.timeout_pending;
  receive_fifo_.assign(saved.receive_fifo.begin(), saved.receive_fifo.end());
  transmit_fifo_.assign(saved.transmit_fifo.begin(), saved.transmit_fifo.end());
  timeout_deadline_ns_ = saved.timeout_deadline_ns;
  if (timeout_deadline_ns_ >= 0)
    timeout_timer_->arm(timeout_deadline_ns_);
  else
    timeout_timer_->cancel();
  transmit();
  update_interrupt();
  if (chardev_ != nullptr) chardev_->accept_input();
  return {};
}

}  // namespace doppel::hw
