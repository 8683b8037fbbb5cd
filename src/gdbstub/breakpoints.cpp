#include "gdbstub/breakpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/bits.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

namespace {

constexpr std::byte kInt3{0xcc};

constexpr std::string_view kKindNames[] = {"software breakpoint", "hardware breakpoint", "write watchpoint",
                                           "read watchpoint", "access watchpoint"};

std::string_view name_of(BreakKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

bool is_watchpoint(BreakKind kind) {
  return kind != BreakKind::kSoftware && kind != BreakKind::kHardware;
}

/// The R/W and LEN fields of DR7 (SDM 3B 18.2.4).
std::uint64_t dr7_fields(BreakKind kind, unsigned size) {
  if (!is_watchpoint(kind)) return 0;
  const std::uint64_t access = kind == BreakKind::kWrite ? 1 : 3;
  constexpr std::uint64_t kLengthCodes[] = {0, 1, 3, 2};  // of 1, 2, 4 and 8 bytes
  return access | kLengthCodes[static_cast<unsigned>(std::countr_zero(size)) & 3U] << 2U;
}

}  // namespace

std::vector<Breakpoints::Break>::iterator Breakpoints::find(BreakKind kind, std::uint64_t address,
                                                            std::uint64_t length) {
  return std::ranges::find_if(breaks_, [&](const Break& b) {
    return b.kind == kind && b.address == address && (!is_watchpoint(kind) || b.length == length);
  });
}

Result<> Breakpoints::check_kind(BreakKind kind) const {
  if (!is_watchpoint(kind)) return {};
  if (kind == BreakKind::kRead) return fail(ErrorKind::kUnsupported, "x86 cannot watch reads alone");
  if (!target_.traits().data_watchpoints)
    return fail(ErrorKind::kUnsupported, "data watchpoints do not work with this host's accelerator");
  return {};
}

Result<> Breakpoints::insert(BreakKind kind, std::uint64_t address, std::uint64_t length, unsigned cpu) {
  DOPPEL_TRY(check_kind(kind));
  if (is_watchpoint(kind) && (length == 0 || length > 8 * kDebugRegisters || address + length < address))
    return fail(ErrorKind::kOutOfRange, "a watchpoint of {} bytes does not fit into the debug registers", length);
  if (find(kind, address, length) != breaks_.end()) return {};
  if (breaks_.size() >= kMaxCount) return fail(ErrorKind::kNoSpace, "too many breakpoints");

  Break entry{.kind = kind, .address = address, .length = is_watchpoint(kind) ? length : 1, .planted = {}};
  if (kind == BreakKind::kSoftware && target_.traits().software_breakpoints) {
    DOPPEL_ASSIGN(entry.planted, plan_planting(address, cpu));
    DOPPEL_TRY(plant_one(*entry.planted));
  }
  breaks_.push_back(entry);
  if (slots().size() > kDebugRegisters) {
    breaks_.pop_back();
    return fail(ErrorKind::kNoSpace, "no debug register is left for a {}: there are {}", name_of(kind),
                kDebugRegisters);
  }
  return {};
}

Result<> Breakpoints::remove(BreakKind kind, std::uint64_t address, std::uint64_t length) {
  const auto found = find(kind, address, length);
  if (found == breaks_.end()) return fail(ErrorKind::kNotFound, "there is no {} at {:#x}", name_of(kind), address);
  if (found->planted) unplant(*found->planted);
  breaks_.erase(found);
  return {};
}

void Breakpoints::clear() {
  for (Break& entry : breaks_)
    if (entry.planted) unplant(*entry.planted);
  breaks_.clear();
  lifted_.reset();
}

/// Two linear addresses may be one byte of memory: the original is what lay under the first.
Result<Breakpoints::Planted> Breakpoints::plan_planting(std::uint64_t address, unsigned cpu) {
  DOPPEL_ASSIGN(const memory::GuestPhysAddr physical, target_.translate(cpu, address));
  Planted planted{.address = physical};
  DOPPEL_TRY(read_memory(physical, std::span(&planted.original, 1)));
  return planted;
}

Result<> Breakpoints::plant_one(Planted& planted) {
  std::byte now{};
  DOPPEL_TRY(target_.read_memory(planted.address, std::span(&now, 1)));
  if (now != kInt3) {
    if (planted.in_place) planted.original = now;  // the guest loaded new code over it
    DOPPEL_TRY(target_.write_memory(planted.address, std::span(&kInt3, 1)));
    DOPPEL_TRY(target_.read_memory(planted.address, std::span(&now, 1)));
    if (now != kInt3) return fail(ErrorKind::kUnsupported, "no breakpoint can be planted in what is no memory");
  }
  planted.in_place = true;
  return {};
}

/// Memory that is no longer ours to restore, or another's INT3 at the same byte, is left alone.
void Breakpoints::unplant(Planted& planted) {
  if (!std::exchange(planted.in_place, false)) return;
  const bool shared = std::ranges::any_of(breaks_, [&](const Break& b) {
    return b.planted && b.planted->in_place && b.planted->address == planted.address;
  });
  std::byte now{};
  if (shared || !target_.read_memory(planted.address, std::span(&now, 1)) || now != kInt3) return;
  std::ignore = target_.write_memory(planted.address, std::span(&planted.original, 1));
}

bool Breakpoints::stops_at(std::uint64_t linear) const {
  return std::ranges::any_of(breaks_, [&](const Break& b) { return !is_watchpoint(b.kind) && b.address == linear; });
}

void Breakpoints::lift(std::uint64_t linear) {
  lifted_ = linear;
  for (Break& entry : breaks_)
    if (entry.planted && entry.address == linear) unplant(*entry.planted);
}

void Breakpoints::plant() {
  lifted_.reset();
  for (Break& entry : breaks_)
    if (entry.planted) std::ignore = plant_one(*entry.planted);
}

/// A watchpoint's bytes are cut into naturally aligned pieces.
std::vector<Breakpoints::Slot> Breakpoints::slots() const {
  std::vector<Slot> all;
  for (const Break& entry : breaks_) {
    if (entry.planted) continue;
    if (!is_watchpoint(entry.kind)) {
      if (entry.address != lifted_) all.push_back({&entry, entry.address, 1});
      continue;
    }
    std::uint64_t address = entry.address;
    std::uint64_t left = entry.length;
    while (left != 0) {
      const std::uint64_t aligned = address == 0 ? 8 : std::uint64_t{1} << std::countr_zero(address);
      const auto size = std::min({aligned, std::bit_floor(left), std::uint64_t{8}});
      all.push_back({&entry, address, static_cast<unsigned>(size)});
      address += size;
      left -= size;
    }
  }
  return all;
}

accel::DebugRequest Breakpoints::request() const {
  accel::DebugRequest request;
  request.software_breakpoints = std::ranges::any_of(breaks_, [](const Break& b) { return b.planted.has_value(); });
  const auto all = slots();
  for (unsigned i = 0; i < all.size() && i < kDebugRegisters; ++i) {
    request.address[i] = all[i].address;
    request.dr7 |= std::uint64_t{2} << (2 * i);  // Gi
    request.dr7 |= dr7_fields(all[i].owner->kind, all[i].size) << (16 + 4 * i);
  }
  return request;
}

std::optional<Breakpoints::Hit> Breakpoints::find_hit(const accel::DebugExit& exit) const {
  if (exit.vector == x86::kBreakpoint) {
    const auto found = std::ranges::find_if(
        breaks_, [&](const Break& b) { return b.planted && b.planted->in_place && b.address == exit.pc; });
    if (found == breaks_.end()) return std::nullopt;
    return Hit{found->kind, found->address};
  }
  const auto all = slots();
  for (unsigned i = 0; i < all.size() && i < kDebugRegisters; ++i)
    if (test_bit(exit.dr6, i)) return Hit{all[i].owner->kind, all[i].owner->address};
  return std::nullopt;
}

Result<> Breakpoints::read_memory(memory::GuestPhysAddr address, std::span<std::byte> out) const {
  DOPPEL_TRY(target_.read_memory(address, out));
  for (const Break& entry : breaks_) {
    if (!entry.planted || !entry.planted->in_place || entry.planted->address < address) continue;
    const std::uint64_t offset = entry.planted->address - address;
    if (offset < out.size() && out[offset] == kInt3) out[offset] = entry.planted->original;
  }
  return {};
}

Result<> Breakpoints::write_memory(memory::GuestPhysAddr address, std::span<const std::byte> data) {
  std::vector<std::byte> planted(data.begin(), data.end());
  for (Break& entry : breaks_) {
    if (!entry.planted || !entry.planted->in_place || entry.planted->address < address) continue;
    const std::uint64_t offset = entry.planted->address - address;
    if (offset >= data.size()) continue;
    entry.planted->original = data[offset];
    planted[offset] = kInt3;
  }
  return target_.write_memory(address, planted);
}

std::string Breakpoints::describe() const {
  std::string text;
  for (const Break& entry : breaks_)
    fmt::format_to(std::back_inserter(text), "{:#018x} {}, {}\n", entry.address, name_of(entry.kind),
                   entry.planted ? "INT3 in memory" : "debug register");
  const accel::Traits& traits = target_.traits();
  if (!traits.software_breakpoints) text += "software breakpoints take debug registers: INT3 does not reach Doppel\n";
  if (!traits.data_watchpoints) text += "data watchpoints do not work with this host's accelerator\n";
  if (!traits.user_mode_debug) text += "user-mode code can be neither stepped nor stopped by debug registers\n";
  return text.empty() ? "no breakpoints\n" : text;
}

}  // namespace doppel::gdbstub
