// Character backends: where a serial port, a debug console or a monitor's bytes go and come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace doppel::chardev {

enum class CharEvent : std::uint8_t {
  kOpened,
  kClosed,
  kBreak,
  kFocusIn,  // a multiplexer now sends what is typed to this frontend, or no longer does
  kFocusOut,
};

/// One backend, used by at most one frontend at a time.
/// Threads: write() from any thread; everything else, and every callback, on the loop's thread. Callbacks are made with
/// no lock held. write(), connect() and accept_input() never call back before they return, so a frontend may hold its
/// own lock around them.
class Chardev {
 public:
  virtual ~Chardev() = default;

  /// The id on the command line, such as "serial0".
  [[nodiscard]] virtual const std::string& id() const = 0;
  /// As query-chardev shows it: "stdio", "pty:/dev/pts/3", "unix:/tmp/s,server=on".
  [[nodiscard]] virtual std::string filename() const = 0;

  /// Takes as many bytes as it can without blocking and returns how many. After a short count can_write is called once
  /// room is there again. A backend nobody is connected to takes (and drops) everything.
  [[nodiscard]] virtual std::size_t write(std::span<const std::byte> bytes) = 0;

  /// The frontend: RECEIVE gets at most what CAN_RECEIVE said it takes; call accept_input() when that grows.
  struct Frontend {
    std::function<std::size_t()> can_receive;
    std::function<void(std::span<const std::byte>)> receive;
    std::function<void()> can_write;
    std::function<void(CharEvent)> event;
  };
  /// An empty Frontend disconnects.
  virtual void connect(Frontend frontend) = 0;
  /// Any thread: the frontend has room again.
  virtual void accept_input() = 0;
};

}  // namespace doppel::chardev
