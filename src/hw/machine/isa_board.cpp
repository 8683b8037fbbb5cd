#include "hw/machine/isa_board.h"

#include <algorithm>

namespace doppel::hw {

namespace {

constexpr int kOverPci = 10;  // region priority: above RAM and PCI

}  // namespace

IsaBoard::IsaBoard(const MachineParts& parts, InterruptBoard& interrupts, PortMap& ports)
    : parts_(parts),
      reset_pin_([&events = parts.events](unsigned, bool level) {
        if (level) events.reset_requested();
      }),
      interrupts_(interrupts),
      ports_(ports) {}

template <class T, class... Args>
T* IsaBoard::make(Args&&... args) {
  auto device = std::make_unique<T>(std::forward<Args>(args)...);
  T* const pointer = device.get();
  devices_.push_back(std::move(device));
  return pointer;
}

Result<std::unique_ptr<IsaBoard>> IsaBoard::create(const MachineParts& parts, const IsaBoardConfig& config,
                                                   InterruptBoard& interrupts, PortMap& ports) {
  std::unique_ptr<IsaBoard> board(new IsaBoard(parts, interrupts, ports));
  if (config.pit) DOPPEL_TRY(board->build_timers());
  if (config.rtc) DOPPEL_TRY(board->build_rtc(config));
  if (config.hpet) DOPPEL_TRY(board->build_hpet());
  DOPPEL_TRY(board->build_controllers(config));
  return board;
}

Result<> IsaBoard::build_timers() {
  pit_ = make<I8254>(parts_.clock, IrqPin{&interrupts_, 0}, parts_.log.named("i8254"));
  DOPPEL_TRY(ports_.add("pit", I8254::kPort, I8254::kPorts, *pit_, I8254::kIoSizes));
  auto* const port61 = make<SystemControlPortB>(*pit_);
  return ports_.add("port61", SystemControlPortB::kPort, SystemControlPortB::kPorts, *port61,
                    SystemControlPortB::kIoSizes);
}

Result<> IsaBoard::build_rtc(const IsaBoardConfig& config) {
  Mc146818Config rtc;
  if (config.rtc_slew) rtc.lost_tick_policy = "slew";
  rtc_ = make<Mc146818>(parts_.clock, config.rtc_start_ns, rtc, IrqPin{&interrupts_, rtc.irq}, Mc146818::TimeSet{},
                        parts_.log.named("rtc"));
  DOPPEL_TRY(fill_cmos(*rtc_, config.cmos));
  return ports_.add("rtc", rtc_->port(), rtc_->ports(), *rtc_, Mc146818::kIoSizes);
}

Result<> IsaBoard::build_hpet() {
  Hpet::Board board;
  board.interrupts = &interrupts_;
  board.legacy_route = [this](bool on) {
    if (pit_ != nullptr) pit_->set_irq_enabled(!on);
    if (rtc_ != nullptr) rtc_->set_irq_enabled(!on);
  };
  board.send_message = [this](std::uint64_t address, std::uint32_t data) { interrupts_.signal(address, data); };
  auto* const hpet = make<Hpet>(parts_.clock, HpetConfig{}, std::move(board), parts_.log.named("hpet"));
  parts_.memory.root().add(parts_.topology.io("hpet", Hpet::kSize, *hpet, Hpet::kIoSizes), Hpet::kBase, kOverPci);
  return {};
}

Result<> IsaBoard::build_controllers(const IsaBoardConfig& config) {
  auto* const post = make<PostCode>(parts_.log.named("post"));
  DOPPEL_TRY(ports_.add("post-code", PostCode::kPort, PostCode::kPorts, *post, PostCode::kIoSizes));
  if (config.dma) {
    dma_ = make<I8237>(memory::DmaSpace(parts_.memory), parts_.log.named("i8237"));
    // Port 80h is the POST code's: the page register behind it belongs to no channel.
    for (const I8237::Ports& range : dma_->ports()) {
      const std::uint64_t taken = range.port <= PostCode::kPort && PostCode::kPort < range.port + range.size ? 1 : 0;
      DOPPEL_TRY(ports_.reserve("dma", range.port + taken, range.size - taken));
      parts_.ports.root().add(parts_.topology.io("dma", range.size, *range.handler, I8237::kIoSizes), range.port, -1);
    }
  }
  if (!config.i8042) return {};
  auto* const port92 =
      make<Port92>(Port92::Board{.set_a20 = {}, .request_reset = [this] { parts_.events.reset_requested(); }});
  DOPPEL_TRY(ports_.add("port92", Port92::kPort, Port92::kPorts, *port92, Port92::kIoSizes));
  const I8042Pins pins{
      .keyboard_irq = {&interrupts_, 1}, .aux_irq = {&interrupts_, 12}, .a20 = {}, .reset = {&reset_pin_, 0}};
  i8042_ = make<I8042>(pins, parts_.clock, parts_.log.named("i8042"));
  DOPPEL_TRY(ports_.add("i8042-data", 0x60, 1, i8042_->data_port(), I8042::kIoSizes));
  return ports_.add("i8042-command", 0x64, 1, i8042_->command_port(), I8042::kIoSizes);
}

Result<> IsaBoard::add_serial(IsaSerialConfig config, chardev::Chardev* chardev) {
  DOPPEL_ASSIGN(config, resolve_isa_serial(std::move(config), static_cast<std::uint32_t>(serial_ports_.size())));
  auto uart =
      std::make_unique<Uart16550>(IrqPin{&interrupts_, config.irq}, parts_.clock, chardev, parts_.log.named("serial"));
  DOPPEL_TRY(ports_.add(fmt::format("serial{}", config.index), config.iobase, Uart16550::kPortCount, *uart,
                        Uart16550::kIoSizes));
  serial_ports_.push_back(
      {.index = config.index, .port = static_cast<std::uint16_t>(config.iobase), .irq = config.irq});
  devices_.push_back(std::move(uart));
  return {};
}

std::vector<Device*> IsaBoard::devices() {
  std::vector<Device*> devices(devices_.size());
  std::ranges::transform(devices_, devices.begin(), &std::unique_ptr<Device>::get);
  return devices;
}

}  // namespace doppel::hw
