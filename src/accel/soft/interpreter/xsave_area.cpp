#include "accel/soft/interpreter/xsave_area.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/endian.h"

namespace doppel::accel::soft::xsave {

namespace {

constexpr std::size_t kX87Size = 160;
constexpr std::size_t kX87RegisterSize = 10;  // of 16 bytes

/// The part of vector registers that a component is made of.
struct Slice {
  unsigned first_register = 0;
  unsigned count = 0;
  std::size_t offset = 0;  // bytes
  std::size_t size = 0;
};

Slice slice_of(unsigned index, const View& view) {
  const unsigned count = view.long_code ? 16 : 8;
  switch (index) {
    case kSse: return {.count = count, .offset = 0, .size = 16};
    case kAvx: return {.count = count, .offset = 16, .size = 16};
    case kZmmHigh: return {.count = count, .offset = 32, .size = 32};
    case kZmmHigh16: return {.first_register = 16, .count = view.long_code ? 16U : 0U, .offset = 0, .size = 64};
    default: return {};
  }
}

/// FUNCTION(bytes of a register, offset in the component) for the registers of SLICE.
template <class Fpu, class Function>
void for_each_register(Fpu& fpu, const Slice& slice, Function function) {
  for (unsigned n = 0; n < slice.count; ++n)
    function(std::span(fpu.vector.at(slice.first_register + n)).subspan(slice.offset, slice.size), n * slice.size);
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void save_x87(const FpuState& fpu, const View& view, std::byte* out) {
  std::memcpy(out, fpu.legacy.data(), FpuState::kMxcsr);
  if (!view.wide_pointers) {
    store_le(out + FpuState::kFip + 4, std::uint32_t{fpu.fcs});
    store_le(out + FpuState::kFdp + 4, std::uint32_t{fpu.fds});
  }
  for (std::size_t at = FpuState::kSt0; at < kX87Size; at += 16) {
    std::memcpy(out + at, fpu.legacy.data() + at, kX87RegisterSize);
    std::memset(out + at + kX87RegisterSize, 0, 16 - kX87RegisterSize);
  }
}

void load_x87(FpuState& fpu, const View& view, const std::byte* in) {
  constexpr std::uint16_t kOpcodeBits = 0x7ff;
  std::memcpy(fpu.legacy.data() + FpuState::kSt0, in + FpuState::kSt0, kX87Size - FpuState::kSt0);
  fpu.set_x87_words(load_le<std::uint16_t>(in + FpuState::kFcw), load_le<std::uint16_t>(in + FpuState::kFsw));
  fpu.set_legacy_field(FpuState::kFtw, load_le<std::uint8_t>(in + FpuState::kFtw));
  fpu.set_legacy_field(FpuState::kFop,
                       static_cast<std::uint16_t>(load_le<std::uint16_t>(in + FpuState::kFop) & kOpcodeBits));
  const std::uint64_t pointer_mask = view.wide_pointers ? ~std::uint64_t{0} : 0xffff'ffffU;
  fpu.set_legacy_field(FpuState::kFip, load_le<std::uint64_t>(in + FpuState::kFip) & pointer_mask);
  fpu.set_legacy_field(FpuState::kFdp, load_le<std::uint64_t>(in + FpuState::kFdp) & pointer_mask);
  fpu.fcs = view.wide_pointers ? std::uint16_t{0} : load_le<std::uint16_t>(in + FpuState::kFip + 4);
  fpu.fds = view.wide_pointers ? std::uint16_t{0} : load_le<std::uint16_t>(in + FpuState::kFdp + 4);
}

bool x87_in_use(const FpuState& fpu) {
  std::array<std::byte, kX87Size> image{};
  save_x87(fpu, {.wide_pointers = true}, image.data());
  FpuState initial;
  initial.init_x87();
  std::array<std::byte, kX87Size> initial_image{};
  save_x87(initial, {.wide_pointers = true}, initial_image.data());
  return image != initial_image || fpu.fcs != 0 || fpu.fds != 0;
}

}  // namespace

std::size_t accessed_size(unsigned index, const View& view) {
  switch (index) {
    case kX87: return kX87Size;
    case kOpmask: return sizeof(FpuState::mask);
    case kPkru: return 8;
    default: {
      const Slice slice = slice_of(index, view);
      return slice.count * slice.size;
    }
  }
}

bool in_use(const FpuState& fpu, unsigned index, const View& view) {
  switch (index) {
    case kX87: return x87_in_use(fpu);
    case kOpmask: return !is_zero(std::as_bytes(std::span(fpu.mask)));
    case kPkru: return fpu.pkru != 0;
    default: {
      bool used = false;
      for_each_register(fpu, slice_of(index, view), [&](auto bytes, std::size_t) { used = used || !is_zero(bytes); });
      return used;
    }
  }
}

void save(const FpuState& fpu, unsigned index, const View& view, std::span<std::byte> component) {
  switch (index) {
    case kX87: return save_x87(fpu, view, component.data());
    case kOpmask: std::memcpy(component.data(), fpu.mask.data(), sizeof fpu.mask); return;
    case kPkru: return store_le(component.data(), std::uint64_t{fpu.pkru});
    default:
      for_each_register(fpu, slice_of(index, view), [&](auto bytes, std::size_t at) {
        std::ranges::copy(bytes, component.begin() + static_cast<std::ptrdiff_t>(at));
      });
  }
}

void load(FpuState& fpu, unsigned index, const View& view, std::span<const std::byte> component) {
  switch (index) {
    case kX87: return load_x87(fpu, view, component.data());
    case kOpmask: std::memcpy(fpu.mask.data(), component.data(), sizeof fpu.mask); return;
    case kPkru: fpu.pkru = load_le<std::uint32_t>(component.data()); return;
    default:
      for_each_register(fpu, slice_of(index, view), [&](auto bytes, std::size_t at) {
        std::ranges::copy(component.subspan(at, bytes.size()), bytes.begin());
      });
  }
}

void initialize(FpuState& fpu, unsigned index, const View& view) {
  switch (index) {
    case kX87: return fpu.init_x87();
    case kOpmask: fpu.mask = {}; return;
    case kPkru: fpu.pkru = 0; return;
    default:
      for_each_register(fpu, slice_of(index, view),
                        [](auto bytes, std::size_t) { std::ranges::fill(bytes, std::byte{0}); });
  }
}

}  // namespace doppel::accel::soft::xsave
