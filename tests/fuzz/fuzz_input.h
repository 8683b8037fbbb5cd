// What the fuzz targets share: drawing from the input, and what can be done to any device.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

#include "base/endian.h"
#include "event/fake_clock.h"
#include "hw/core/device.h"
#include "memory/io_handler.h"

namespace doppel::fuzz {

/// Hands out the fuzzer's bytes; zeroes once they are used up.
class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  template <std::unsigned_integral T>
  T take() {
    std::array<std::byte, sizeof(T)> bytes{};
    std::ranges::copy(take_bytes(sizeof(T)), bytes.begin());
    return load_le<T>(bytes.data());
  }
  bool take_bool() { return (take<std::uint8_t>() & 1U) != 0; }
  /// A number below LIMIT, which is not 0.
  std::uint32_t below(std::uint64_t limit) {
    const std::uint32_t value = limit <= 0x100 ? take<std::uint8_t>() : take<std::uint32_t>();
    return static_cast<std::uint32_t>(value % limit);
  }
  /// COUNT bytes, or what is left.
  std::span<const std::byte> take_bytes(std::size_t count) {
    const auto taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string_view take_text(std::size_t count) {
    const auto bytes = take_bytes(count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  std::span<const std::byte> take_rest() { return take_bytes(rest_.size()); }
  std::string_view take_rest_text() { return take_text(rest_.size()); }

 private:
  std::span<const std::byte> rest_;
};

/// Ends the run if a promise was broken.
inline void require(bool promise, const char* what) {
  if (promise) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

/// One guest access to HANDLER, RANGE bytes wide, as the bus would make it.
inline void access(FuzzInput& input, memory::IoHandler& handler, std::uint64_t range, memory::IoSizes sizes) {
  const auto kind = input.take<std::uint8_t>();
  unsigned size = std::clamp(1U << (kind >> 1U & 3U), sizes.min, sizes.max);
  while (size > range) size /= 2;
  std::uint64_t offset = input.below(range - size + 1);
  if (!sizes.unaligned) offset -= offset % size;
  if ((kind & 1U) == 0) return static_cast<void>(handler.read(offset, size));
  const std::uint64_t value = input.take<std::uint64_t>();
  handler.write(offset, size, size == 8 ? value : value & ((1ULL << (8 * size)) - 1));
}

/// Time passes: up to 30 ms with every timer in time, or up to 13 days during which none fires.
inline void pass_time(FuzzInput& input, event::FakeClock& clock) {
  const auto kind = input.take<std::uint8_t>();
  const auto amount = input.take<std::uint16_t>();
  if ((kind & 1U) == 0) return clock.advance(static_cast<std::int64_t>(amount) << (kind >> 1U) % 10);
  clock.stall(static_cast<std::int64_t>(amount) << (kind >> 1U) % 35);
  clock.advance(1);
}

inline std::vector<std::byte> saved(hw::Device& device) {
  state::Writer writer;
  device.save(writer);
  return writer.bytes();
}

/// What a device saves it takes back, and is then as before.
inline void round_trip(hw::Device& device) {
  const auto before = saved(device);
  state::Reader reader(before);
  require(device.load(reader).has_value(), "a device loads what it saved");
  require(saved(device) == before, "a loaded device saves what it loaded");
}

/// Loads a damaged state: refused, after which the owner resets the device, or good enough to go on with.
inline void corrupt(FuzzInput& input, hw::Device& device) {
  auto bytes = saved(device);
  if (bytes.empty()) return;
  for (unsigned damages = 1 + input.below(8); damages > 0; --damages)
    bytes[input.below(bytes.size())] = static_cast<std::byte>(input.take<std::uint8_t>());
  state::Reader reader(bytes);
  if (!device.load(reader)) device.reset();
}

/// The operations that every device's target offers, by number below kCommonOperations.
inline void common_operation(FuzzInput& input, hw::Device& device, unsigned kind) {
  if (kind == 0) device.reset();
  if (kind == 1) round_trip(device);
  if (kind == 2) corrupt(input, device);
}
inline constexpr unsigned kCommonOperations = 3;

}  // namespace doppel::fuzz
