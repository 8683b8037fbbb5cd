// A PS/2 mouse, with the wheel of Microsoft's IntelliMouse and the five buttons of its Explorer.
#pragma once

#include <cstdint>

#include "hw/input/ps2_port.h"

namespace doppel::hw {

enum class MouseButton : std::uint8_t { kLeft, kRight, kMiddle, kSide, kExtra };

struct Ps2MouseState {
  Ps2PortState port{};
  std::uint8_t type = 0;
  std::uint8_t mode = 0;
  std::uint8_t resolution = 2;
  std::uint8_t sample_rate = 100;
  std::uint8_t knock = 0;
  std::uint8_t buttons = 0;
  bool enabled = false;
  bool scaling = false;
  bool wrap = false;
  bool changed = false;
  std::int32_t dx = 0, dy = 0, dz = 0;
  void describe(auto& fields) {
    fields("port", port);
    fields("type", type);
    fields("mode", mode);
    fields("resolution", resolution);
    fields("sample_rate", sample_rate);
    fields("knock", knock);
    fields("buttons", buttons);
    fields("enabled", enabled);
    fields("scaling", scaling);
    fields("wrap", wrap);
    fields("changed", changed);
    fields("dx", dx);
    fields("dy", dy);
    fields("dz", dz);
  }
};

/// Movement is summed up while the queue is full, so none is lost and none is stale. No lock: the controller holds its
/// own.
class Ps2Mouse final : public Ps2Port {
 public:
  static constexpr std::size_t kMostEvents = 16;

  Ps2Mouse() { reset(); }
  /// Power-on: the self-test's result and the type are waiting.
  void reset();

  void host_byte(std::uint8_t byte) override;

  /// In counts: DX to the right, DY down, DZ the wheel towards the user.
  void move(std::int32_t dx, std::int32_t dy, std::int32_t dz);
  void button(MouseButton button, bool pressed);
  /// Queues a packet if something has happened and there is room; after bytes were taken.
  void pump();

  [[nodiscard]] Ps2MouseState save() const;
  void load(const Ps2MouseState& state);

 private:
  enum class Mode : std::uint8_t { kStream, kRemote };
  /// The identities it answers to.
  enum : std::uint8_t { kStandard = 0, kWheel = 3, kExplorer = 4 };

  void set_defaults();
  void command(std::uint8_t byte);
  void argument(std::uint8_t command, std::uint8_t byte);
  void set_sample_rate(std::uint8_t rate);
  [[nodiscard]] std::vector<std::uint8_t> next_packet();
  void send_status();

  std::uint8_t type_ = kStandard;
  Mode mode_ = Mode::kStream;
  std::uint8_t resolution_ = 2;
  std::uint8_t sample_rate_ = 100;
  std::uint8_t knock_ = 0;  // how far the secret sequence of sample rates has come
  std::uint8_t buttons_ = 0;
  bool enabled_ = false;
  bool scaling_ = false;
  bool wrap_ = false;
  bool changed_ = false;  // a button has, since the last packet
  std::int32_t dx_ = 0, dy_ = 0, dz_ = 0;
};

}  // namespace doppel::hw
