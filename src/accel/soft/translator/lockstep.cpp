#include "accel/soft/translator/lockstep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace doppel::accel::soft {

namespace {

/// Parts of FpuState::legacy; MXCSR is compared on its own.
struct LegacyField {
  std::string_view name;
  std::size_t offset = 0;
  std::size_t size = 0;
};
constexpr std::array kLegacyFields = {
    LegacyField{"fcw", FpuState::kFcw, 2},       LegacyField{"fsw", FpuState::kFsw, 2},
    LegacyField{"fop", FpuState::kFop, 2},       LegacyField{"fip", FpuState::kFip, 8},
    LegacyField{"fdp", FpuState::kFdp, 8},       LegacyField{"ftw", FpuState::kFtw, 1},
    LegacyField{"st0", FpuState::kSt0, 10},      LegacyField{"st1", FpuState::kSt0 + 16, 10},
    LegacyField{"st2", FpuState::kSt0 + 32, 10}, LegacyField{"st3", FpuState::kSt0 + 48, 10},
    LegacyField{"st4", FpuState::kSt0 + 64, 10}, LegacyField{"st5", FpuState::kSt0 + 80, 10},
    LegacyField{"st6", FpuState::kSt0 + 96, 10}, LegacyField{"st7", FpuState::kSt0 + 112, 10},
};

constexpr std::array<std::string_view, x86::kGprCount> kGprNames = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

bool same_x87(const FpuState& a, const FpuState& b) {
  constexpr std::size_t kUsed = FpuState::kSt0 + std::size_t{8} * 16;
  if (std::memcmp(a.legacy.data(), b.legacy.data(), kUsed) == 0) return true;
  for (const LegacyField& field : kLegacyFields)
    if (std::memcmp(a.legacy.data() + field.offset, b.legacy.data() + field.offset, field.size) != 0) return false;
  return true;
}

/// As a number, the highest byte first.
std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (std::size_t i = bytes.size(); i-- > 0;) text += fmt::format("{:02x}", static_cast<unsigned>(bytes[i]));
  return text;
}

/// Collects values of the three states.
class Values {
 public:
  void number(std::string_view name, std::uint64_t before, std::uint64_t interpreted, std::uint64_t translated,
              std::uint64_t compared = ~std::uint64_t{0}) {
    values_.push_back({.name = std::string(name),
                       .before = fmt::format("{:016x}", before),
                       .interpreted = fmt::format("{:016x}", interpreted),
                       .translated = fmt::format("{:016x}", translated),
                       .differs = ((interpreted ^ translated) & compared) != 0});
  }
  /// If they differ.
  void bytes(std::string_view name, std::span<const std::byte> before, std::span<const std::byte> interpreted,
             std::span<const std::byte> translated) {
    if (std::memcmp(interpreted.data(), translated.data(), interpreted.size()) == 0) return;
    values_.push_back({.name = std::string(name),
                       .before = hex(before),
                       .interpreted = hex(interpreted),
                       .translated = hex(translated),
                       .differs = true});
  }
  std::vector<ComparedValue> take() { return std::move(values_); }

 private:
  std::vector<ComparedValue> values_;
};

}  // namespace

void GuestRegisters::take(const Cpu& cpu) {
  gpr = cpu.gpr;
  rip = cpu.rip;
  rflags = cpu.rflags;
  gs_base = cpu.segment[x86::kGs].base;
  kernel_gs_base = cpu.msrs.kernel_gs_base;
  fpu = cpu.fpu;
}

void GuestRegisters::put(Cpu& cpu) const {
  cpu.gpr = gpr;
  cpu.rip = rip;
  cpu.rflags = rflags;
  if (cpu.segment[x86::kGs].base != gs_base || cpu.msrs.kernel_gs_base != kernel_gs_base) {
    cpu.segment[x86::kGs].base = gs_base;
    cpu.msrs.kernel_gs_base = kernel_gs_base;
    cpu.update_view(x86::kGs);
  }
  cpu.fpu = fpu;
}

bool same(const GuestRegisters& a, const GuestRegisters& b, const Ignored& ignored) {
  const auto same_gpr = [&](std::uint64_t one, std::uint64_t other) { return ((one ^ other) & ~ignored.gpr) == 0; };
  return std::ranges::equal(a.gpr, b.gpr, same_gpr) && a.rip == b.rip &&
         ((a.rflags ^ b.rflags) & ~ignored.rflags) == 0 && a.gs_base == b.gs_base &&
         a.kernel_gs_base == b.kernel_gs_base && ((a.fpu.mxcsr() ^ b.fpu.mxcsr()) & ~ignored.mxcsr) == 0 &&
         std::memcmp(&a.fpu.vector, &b.fpu.vector, sizeof a.fpu.vector) == 0 && a.fpu.mask == b.fpu.mask &&
         (ignored.x87 || same_x87(a.fpu, b.fpu));
}

void Journal::add(const Place& place) {
  places_.push_back(place);
  before_.insert(before_.end(), place.host, place.host + place.size);
}

void Journal::undo() const {
  const std::byte* at = before_.data() + before_.size();
  for (std::size_t i = places_.size(); i-- > 0;) {
    at -= places_[i].size;
    std::memcpy(places_[i].host, at, places_[i].size);
  }
}

void Journal::read(Contents& contents) const {
  contents.clear();
  for (const Place& place : places_) contents.insert(contents.end(), place.host, place.host + place.size);
}

std::vector<ComparedValue> compared_registers(const GuestRegisters& before, const GuestRegisters& interpreted,
                                              const GuestRegisters& translated, const Ignored& ignored) {
  Values values;
  for (unsigned n = 0; n < x86::kGprCount; ++n)
    values.number(kGprNames.at(n), before.gpr.at(n), interpreted.gpr.at(n), translated.gpr.at(n), ~ignored.gpr);
  values.number("rip", before.rip, interpreted.rip, translated.rip);
  values.number("rflags", before.rflags, interpreted.rflags, translated.rflags, ~ignored.rflags);
  values.number("gs_base", before.gs_base, interpreted.gs_base, translated.gs_base);
  values.number("kernel_gs_base", before.kernel_gs_base, interpreted.kernel_gs_base, translated.kernel_gs_base);
  const FpuState& was = before.fpu;
  const FpuState& expected = interpreted.fpu;
  const FpuState& actual = translated.fpu;
  if (((expected.mxcsr() ^ actual.mxcsr()) & ~ignored.mxcsr) != 0)
    values.number("mxcsr", was.mxcsr(), expected.mxcsr(), actual.mxcsr(), ~std::uint64_t{ignored.mxcsr});
  for (std::size_t n = 0; n < expected.mask.size(); ++n)
    if (expected.mask.at(n) != actual.mask.at(n))
      values.number(fmt::format("k{}", n), was.mask.at(n), expected.mask.at(n), actual.mask.at(n));
  for (std::size_t n = 0; n < expected.vector.size(); ++n)
    values.bytes(fmt::format("zmm{}", n), was.vector.at(n), expected.vector.at(n), actual.vector.at(n));
  for (const LegacyField& field : kLegacyFields) {
    if (ignored.x87) break;
    const auto part = [&](const FpuState& fpu) { return std::span(fpu.legacy).subspan(field.offset, field.size); };
    values.bytes(field.name, part(was), part(expected), part(actual));
  }
  return values.take();
}

std::vector<ComparedValue> compared_memory(const Journal& journal, const Journal::Contents& interpreted,
                                           const Journal::Contents& translated) {
  Values values;
  std::size_t at = 0;
  for (const Journal::Place& place : journal.places()) {
    const auto part = [&](const Journal::Contents& contents) { return std::span(contents).subspan(at, place.size); };
    values.bytes(fmt::format("[{:x}]", place.linear), part(journal.before()), part(interpreted), part(translated));
    at += place.size;
  }
  return values.take();
}

}  // namespace doppel::accel::soft
