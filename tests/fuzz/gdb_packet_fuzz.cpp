// A hostile gdb: whatever bytes arrive, the stub neither crashes nor grows. The machine behind it is the unit tests'
// fake; each 0xff in the input lets that machine stop at a breakpoint.
#include <cstddef>
#include <cstdint>
#include <span>

#include "gdbstub/fake_target.h"
#include "gdbstub/packet.h"
#include "gdbstub/session.h"

namespace doppel::gdbstub {
namespace {

void run(std::span<const std::byte> input) {
  FakeTarget target;
  std::size_t sent = 0;
  Session session(target, {.send = [&](std::string_view payload) { sent += frame_packet(payload).size(); },
                           .stop_acknowledging = [] {}});
  PacketDecoder decoder({
      .packet = [&](std::string_view payload) { session.packet(payload); },
      .damaged = [] {},
      .ack = [] {},
      .nack = [] {},
      .interrupt = [&] { session.interrupt(); },
  });
  decoder.check_sums(false);
  session.opened();
  for (const std::byte byte : input) {
    decoder.feed(std::span(&byte, 1));
    if (byte == std::byte{0xff} && target.run_state == vm::RunState::kRunning)
      target.stop_at(0, target.cpus[0].rip, sent & 0xfU, sent % 2 == 0 ? x86::kDebug : x86::kBreakpoint);
  }
  session.closed();
}

}  // namespace
}  // namespace doppel::gdbstub

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  doppel::gdbstub::run(std::as_bytes(std::span(data, size)));
  return 0;
}
