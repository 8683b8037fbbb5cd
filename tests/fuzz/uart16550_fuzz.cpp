// The serial port, with a backend that takes and gives as little as it likes.
#include "fuzz/fuzz_input.h"
#include "hw/serial/uart16550.h"

using namespace doppel;

namespace {
class Backend final : public chardev::Chardev {
 public:
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] std::string filename() const override { return id_; }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override {
    const std::size_t before = room;
    room -= std::min(bytes.size(), room);
    return before - room;
  }
  void connect(Frontend wanted) override { frontend = std::move(wanted); }
  void accept_input() override {}
  void make_room(std::size_t bytes) { room = bytes, frontend.can_write(); }

  Frontend frontend;
  std::size_t room = 1;

 private:
  const std::string id_;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  Backend backend;
  hw::IrqFunction irq([](unsigned, bool) {});
  hw::Uart16550 uart({&irq, 4}, clock, &backend);
  uart.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 3: fuzz::pass_time(input, clock); break;
      case 4: backend.make_room(input.below(20)); break;
      case 5: backend.frontend.receive(input.take_bytes(backend.frontend.can_receive())); break;
      case 6: backend.frontend.event(static_cast<chardev::CharEvent>(input.below(5))); break;
      case 7: uart.set_modem_lines(input.take<std::uint8_t>()); break;
      default: fuzz::access(input, uart, hw::Uart16550::kPortCount, hw::Uart16550::kIoSizes); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, uart, kind);
    }
  }
  return 0;
}
