#include "hw/input/ps2_mouse.h"

#include <algorithm>
#include <array>

namespace doppel::hw {
namespace {

enum : std::uint8_t {
  kScaling1To1 = 0xe6,
  kScaling2To1 = 0xe7,
  kSetResolution = 0xe8,
  kStatus = 0xe9,
  kStreamMode = 0xea,
  kReadData = 0xeb,
  kLeaveWrap = 0xec,
  kEnterWrap = 0xee,
  kRemoteMode = 0xf0,
  kReadId = 0xf2,
  kSetSampleRate = 0xf3,
  kEnable = 0xf4,
  kDisable = 0xf5,
  kDefaults = 0xf6,
  kResendLast = 0xfe,
  kReset = 0xff,
};

/// What is summed up stays far from overflow.
constexpr std::int32_t kMostMovement = 1 << 20;

std::int32_t add_movement(std::int32_t sum, std::int32_t delta) {
  return std::clamp(sum + std::clamp(delta, -kMostMovement, kMostMovement), -kMostMovement, kMostMovement);
}

/// Takes out of REST what one packet can carry.
std::int32_t take_part(std::int32_t& rest, std::int32_t lowest, std::int32_t highest) {
  const std::int32_t part = std::clamp(rest, lowest, highest);
  rest -= part;
  return part;
}

/// Scaling 2:1, by the table in the technical reference.
std::int32_t scale(std::int32_t counts) {
  constexpr std::array<std::int32_t, 6> kSmall = {0, 1, 1, 3, 6, 9};
  const std::int32_t size = counts < 0 ? -counts : counts;
  const std::int32_t scaled = size < 6 ? kSmall[static_cast<std::size_t>(size)] : 2 * size;
  return counts < 0 ? -scaled : scaled;
}

}  // namespace

void Ps2Mouse::set_defaults() {
  sample_rate_ = 100;
  resolution_ = 2;
  mode_ = Mode::kStream;
  enabled_ = scaling_ = false;
  dx_ = dy_ = dz_ = 0;
  changed_ = false;
  clear_events();
}

void Ps2Mouse::reset() {
  set_defaults();
  clear_output();
  type_ = kStandard;
  knock_ = 0;
  wrap_ = false;
  reply({ps2::kSelfTestPassed, kStandard});
}

void Ps2Mouse::host_byte(std::uint8_t byte) {
  if (wrap_ && byte != kLeaveWrap && byte != kReset) return reply({byte});
  const std::uint8_t pending = pending_command();
  expect_argument_of(0);
  if (pending != 0)
    argument(pending, byte);
  else
    command(byte);
}

void Ps2Mouse::command(std::uint8_t byte) {
  switch (byte) {
    case kScaling1To1:
    case kScaling2To1: scaling_ = byte == kScaling2To1; break;
    case kSetResolution:
    case kSetSampleRate: expect_argument_of(byte); break;
    case kStatus: return send_status();
    case kStreamMode: mode_ = Mode::kStream; break;
    case kRemoteMode: mode_ = Mode::kRemote; break;
    case kLeaveWrap:
    case kEnterWrap: wrap_ = byte == kEnterWrap; break;
    case kReadId: return reply({ps2::kAck, type_});
    case kReadData: {
      reply({ps2::kAck});
      for (const std::uint8_t part : next_packet()) reply({part});
      return;
    }
    case kEnable: enabled_ = true; break;
    case kDisable: enabled_ = false; break;
    case kDefaults: set_defaults(); break;
    case kResendLast: return resend_last();
    case kReset:
      reset();
      clear_output();
      return reply({ps2::kAck, ps2::kSelfTestPassed, kStandard});
    default: return reply({ps2::kResend});
  }
  reply({ps2::kAck});
}

void Ps2Mouse::argument(std::uint8_t command, std::uint8_t byte) {
  if (command == kSetResolution) {
    if (byte > 3) return reply({ps2::kResend});
    resolution_ = byte;
  } else {
    set_sample_rate(byte);
  }
  reply({ps2::kAck});
}

/// Rates of 200, 100, 80 turn on the wheel; 200, 200, 80 the side buttons too.
void Ps2Mouse::set_sample_rate(std::uint8_t rate) {
  enum : std::uint8_t { kNothing, k200, k200Then100, k200Then200 };
  const std::uint8_t before = knock_;
  knock_ = rate == 200 ? (before == k200 || before == k200Then200 ? k200Then200 : k200)
                       : (rate == 100 && before == k200 ? k200Then100 : kNothing);
  if (rate == 80 && before == k200Then100) type_ = kWheel;
  if (rate == 80 && before == k200Then200) type_ = kExplorer;
  sample_rate_ = rate;
}

void Ps2Mouse::send_status() {
  std::uint8_t flags = static_cast<std::uint8_t>((buttons_ & 1) << 2 | (buttons_ & 2) >> 1 | (buttons_ & 4) >> 1);
  if (scaling_) flags |= 0x10;
  if (enabled_) flags |= 0x20;
  if (mode_ == Mode::kRemote) flags |= 0x40;
  reply({ps2::kAck, flags, resolution_, sample_rate_});
}

void Ps2Mouse::move(std::int32_t dx, std::int32_t dy, std::int32_t dz) {
  if (!enabled_ && mode_ == Mode::kStream) return;
  dx_ = add_movement(dx_, dx);
  dy_ = add_movement(dy_, dy);
  dz_ = add_movement(dz_, dz);
  pump();
}

void Ps2Mouse::button(MouseButton button, bool pressed) {
  const auto mask = static_cast<std::uint8_t>(1U << static_cast<unsigned>(button));
  const auto buttons = static_cast<std::uint8_t>(pressed ? buttons_ | mask : buttons_ & ~mask);
  if (buttons == buttons_) return;
  pump();  // what moved before the click belongs before it
  buttons_ = buttons;
  changed_ = true;
  pump();
}

std::vector<std::uint8_t> Ps2Mouse::next_packet() {
  std::int32_t x = take_part(dx_, -255, 255);
  std::int32_t y = -take_part(dy_, -255, 255);
  if (scaling_ && mode_ == Mode::kStream) {
    x = std::clamp(scale(x), -255, 255);
    y = std::clamp(scale(y), -255, 255);
  }
  changed_ = false;
  const auto first = static_cast<std::uint8_t>(0x08 | (buttons_ & 7) | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0));
  std::vector<std::uint8_t> packet = {first, static_cast<std::uint8_t>(x), static_cast<std::uint8_t>(y)};
  if (type_ == kWheel) {
    packet.push_back(static_cast<std::uint8_t>(take_part(dz_, -128, 127)));
  } else if (type_ == kExplorer) {
    const std::int32_t z = take_part(dz_, -8, 7);
    packet.push_back(static_cast<std::uint8_t>((z & 0x0f) | (buttons_ & 0x18) << 1));
  } else {
    dz_ = 0;
  }
  return packet;
}

void Ps2Mouse::pump() {
  if (!enabled_ || mode_ != Mode::kStream) return;
  if (type_ == kStandard) dz_ = 0;
  const std::size_t packet_size = type_ == kStandard ? 3 : 4;
  while ((changed_ || dx_ != 0 || dy_ != 0 || dz_ != 0) && queued_events() + packet_size <= kMostEvents)
    push_event(next_packet(), kMostEvents);
}

Ps2MouseState Ps2Mouse::save() const {
  return {.port = save_port(),
          .type = type_,
          .mode = static_cast<std::uint8_t>(mode_),
          .resolution = resolution_,
          .sample_rate = sample_rate_,
          .knock = knock_,
          .buttons = buttons_,
          .enabled = enabled_,
          .scaling = scaling_,
          .wrap = wrap_,
          .changed = changed_,
          .dx = dx_,
          .dy = dy_,
          .dz = dz_};
}

void Ps2Mouse::load(const Ps2MouseState& state) {
  load_port(state.port, kMostEvents);
  type_ = state.type == kWheel || state.type == kExplorer ? state.type : std::uint8_t{kStandard};
  mode_ = state.mode == 0 ? Mode::kStream : Mode::kRemote;
  resolution_ = state.resolution & 3;
  sample_rate_ = state.sample_rate;
  knock_ = state.knock;
  buttons_ = state.buttons & 0x1f;
  enabled_ = state.enabled;
  scaling_ = state.scaling;
  wrap_ = state.wrap;
  changed_ = state.changed;
  dx_ = add_movement(0, state.dx);
  dy_ = add_movement(0, state.dy);
  dz_ = add_movement(0, state.dz);
}

}  // namespace doppel::hw
