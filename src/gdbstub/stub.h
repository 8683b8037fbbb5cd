// The gdb stub of a machine: a character backend, packets on it, and the session behind them.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "chardev/chardev.h"
#include "gdbstub/packet.h"
#include "gdbstub/session.h"
#include "gdbstub/vm_target.h"
#include "vm/virtual_machine.h"

namespace doppel::gdbstub {

/// Moves packets between a backend and a Session: checksums, acknowledgements, what the backend cannot take yet.
/// Loop's thread.
class Connection {
 public:
  Connection(chardev::Chardev& chardev, DebugTarget& target, Logger log);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

 private:
  void event(chardev::CharEvent event);
  void packet(std::string_view payload);
  void send(std::string_view payload);
  void put(std::string_view bytes);
  void flush();

  chardev::Chardev& chardev_;
  Logger log_;
  bool open_ = false;
  bool acknowledging_ = true;
  std::string last_sent_;  // framed; to be sent again when it arrived damaged
  std::string unsent_;
  Session session_;
  PacketDecoder decoder_;
};

class GdbStub {
 public:
  /// OPTION is that of -gdb: tcp:[HOST]:PORT and unix:PATH are listened on; chardev:ID and stdio are taken as they are.
  /// MACHINE must outlive the stub. Loop's thread.
  static Result<std::unique_ptr<GdbStub>> create(vm::VirtualMachine& machine, const std::string& option, Logger log);
  ~GdbStub();

 private:
  GdbStub(vm::VirtualMachine& machine, std::string chardev_id, bool owns_chardev);

  vm::VirtualMachine& machine_;
  const std::string chardev_id_;
  const bool owns_chardev_;
  VmTarget target_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace doppel::gdbstub
