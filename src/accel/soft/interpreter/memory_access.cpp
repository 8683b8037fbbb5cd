// Memory accesses that the TLB does not let pass inline: TLB misses, page ends, MMIO, ROM, code pages and dirty logs,
// data breakpoints, misalignment.
#include <array>
#include <bit>
#include <cstring>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/paging.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kPage = x86::kPageSize;

/// The part of an access that lies in one page.
struct Piece {
  const TlbInfo* info = nullptr;
  std::uint64_t gpa = 0;
  std::size_t offset = 0;  // in the operand
  std::size_t size = 0;

  [[nodiscard]] bool is_ram(AccessKind kind) const {
    return info->slot != nullptr && !(kind == AccessKind::kWrite && info->slot->read_only());
  }
  [[nodiscard]] std::byte* host() const { return info->slot->host(gpa); }
};

/// An access, translated and checked as a whole before any of it is made. XSAVE's is the largest: 11 KiB.
struct Pieces {
  std::array<Piece, 4> piece;
  unsigned count = 0;

  [[nodiscard]] std::span<const Piece> all() const { return std::span(piece).first(count); }
};

Pieces translate_all(Cpu& cpu, std::uint64_t address, std::uint64_t size, AccessKind kind) {
  Pieces pieces;
  for (std::uint64_t done = 0; done < size;) {
    const TlbInfo& info = translate(cpu, address, kind);
    Piece& piece = pieces.piece.at(pieces.count++);
    piece = {.info = &info,
             .gpa = info.gpa | address % kPage,
             .offset = done,
             .size = std::min(size - done, kPage - address % kPage)};
    done += piece.size;
    address += piece.size;
    // 32-bit addresses wrap; implicit accesses to 64-bit tables by compatibility-mode code are above.
    if (cpu.code_mode != CodeMode::kLong64 && address == std::uint64_t{1} << 32U) address = 0;
  }
  return pieces;
}

/// #AC (SDM 3A table 6-7). Operands of 16 bytes and more have rules of their own, which are not about CR0.AM.
void check_alignment(const Cpu& cpu, std::uint64_t address, std::uint64_t size) {
  if (cpu.alignment_mask == 0 || size > 10) return;
  const std::uint64_t alignment = std::bit_floor(size);
  if ((address & (alignment - 1)) != 0) raise(x86::kAlignmentCheck, 0);
}

/// One T at once, so that other processors never see half of it where the architecture says so (SDM 3A 8.1.1).
template <class T>
void copy_one(void* to, const void* from) {
  static_cast<Place<T>*>(to)->value = static_cast<const Place<T>*>(from)->value;
}

void copy_operand(void* to, const void* from, std::size_t size) {
  switch (size) {
    case 1: return copy_one<std::uint8_t>(to, from);
    case 2: return copy_one<std::uint16_t>(to, from);
    case 4: return copy_one<std::uint32_t>(to, from);
    case 8: return copy_one<std::uint64_t>(to, from);
    case 16: return copy_one<unsigned __int128>(to, from);
    default: std::memcpy(to, from, size);
  }
}

/// Calls ACCESS(gpa, offset, size) for the bus accesses that PIECE is made of.
template <class Access>
void for_each_bus_access(const Piece& piece, Access access) {
  for (std::size_t done = 0; done < piece.size;) {
    const std::size_t size = std::min<std::size_t>(8, piece.size - done);
    access(piece.gpa + done, piece.offset + done, static_cast<std::uint8_t>(size));
    done += size;
  }
}

void read_bus(Cpu& cpu, const Piece& piece, std::byte* out) {
  for_each_bus_access(piece, [&](std::uint64_t gpa, std::size_t offset, std::uint8_t size) {
    const BusAccess* answer =
        cpu.bus.next({.kind = BusAccess::Kind::kMemory, .direction = IoDirection::kIn, .address = gpa, .size = size});
    if (answer == nullptr) throw BusWait{};
    std::memcpy(out + offset, &answer->value, size);
  });
}

void write_bus(Cpu& cpu, const Piece& piece, const std::byte* data) {
  for_each_bus_access(piece, [&](std::uint64_t gpa, std::size_t offset, std::uint8_t size) {
    BusAccess access{.kind = BusAccess::Kind::kMemory, .direction = IoDirection::kOut, .address = gpa, .size = size};
    std::memcpy(&access.value, data + offset, size);
    if (cpu.bus.next(access) == nullptr) throw BusWait{};
  });
}

/// After a store to RAM.
void note_store(Cpu& cpu, const Piece& piece) {
  const TlbInfo& info = *piece.info;
  if (cpu.tlb.entry(cpu.mmu_index, info.linear).write_tag == info.linear) return;
  if (info.slot->note_store(info.gpa)) {
    cpu.leave_block = true;
    cpu.machine.code_changed(cpu, info.gpa);
  }
  set_tags(cpu, info);  // the next store needs no note, most likely
}

void read_pieces(Cpu& cpu, const Pieces& pieces, std::byte* out) {
  for (const Piece& piece : pieces.all())
    if (piece.is_ram(AccessKind::kRead))
      copy_operand(out + piece.offset, piece.host(), piece.size);
    else
      read_bus(cpu, piece, out);
}

/// The bus first: its accesses have the instruction executed again, which must find RAM as it was.
void write_pieces(Cpu& cpu, const Pieces& pieces, const std::byte* data) {
  for (const Piece& piece : pieces.all())
    if (!piece.is_ram(AccessKind::kWrite)) write_bus(cpu, piece, data);
  for (const Piece& piece : pieces.all())
    if (piece.is_ram(AccessKind::kWrite)) {
      copy_operand(piece.host(), data + piece.offset, piece.size);
      note_store(cpu, piece);
    }
}

void note_breakpoints(Cpu& cpu, std::uint64_t address, std::uint64_t size, AccessKind kind) {
  const std::uint64_t hits = data_breakpoints_hit(cpu, address, size, kind);
  if (hits == 0) return;
  cpu.pending_dr6 |= hits;
  cpu.leave_block = true;
}

bool all_ram(const Pieces& pieces) {
  for (const Piece& piece : pieces.all())
    if (!piece.is_ram(AccessKind::kWrite)) return false;
  return true;
}

/// One stretch of host memory, so that an operation on it is as atomic as the host's.
bool is_contiguous(const Pieces& pieces) {
  const Piece& first = pieces.piece[0];
  return pieces.count == 1 || (pieces.count == 2 && first.host() + first.size == pieces.piece[1].host());
}

using Operation = void (*)(void* place, void* context);

/// On a copy of the operand. What OPERATION did to the registers is undone if the write has to wait: it will be done
/// again.
void modify_copy(Cpu& cpu, const Pieces& pieces, Operation operation, void* context) {
  alignas(64) std::array<std::byte, 64> copy{};
  read_pieces(cpu, pieces, copy.data());
  const auto gpr = cpu.gpr;
  const std::uint64_t rflags = cpu.rflags;
  operation(copy.data(), context);
  try {
    write_pieces(cpu, pieces, copy.data());
  } catch (const BusWait&) {
    cpu.gpr = gpr;
    cpu.rflags = rflags;
    throw;
  }
}

}  // namespace

void Cpu::read_slow(std::uint64_t address, std::span<std::byte> out) {
  check_alignment(*this, address, out.size());
  read_pieces(*this, translate_all(*this, address, out.size(), AccessKind::kRead), out.data());
  note_breakpoints(*this, address, out.size(), AccessKind::kRead);
}

void Cpu::write_slow(std::uint64_t address, std::span<const std::byte> data) {
  check_alignment(*this, address, data.size());
  write_pieces(*this, translate_all(*this, address, data.size(), AccessKind::kWrite), data.data());
  note_breakpoints(*this, address, data.size(), AccessKind::kWrite);
}

void Cpu::modify_slow(std::uint64_t address, std::uint64_t size, bool atomic, Operation operation, void* context) {
  check_alignment(*this, address, size);
  const Pieces pieces = translate_all(*this, address, size, AccessKind::kWrite);
  if (!all_ram(pieces)) {
    modify_copy(*this, pieces, operation, context);
  } else if (is_contiguous(pieces)) {
    operation(pieces.piece[0].host(), context);
    for (const Piece& piece : pieces.all()) note_store(*this, piece);
  } else if (atomic && machine.cpus.size() > 1) {
    // What was translated may have changed by the time that the others stand still.
    machine.rendezvous.exclusive(
        true, [&] { modify_copy(*this, translate_all(*this, address, size, AccessKind::kWrite), operation, context); });
    leave_block = true;
  } else {
    modify_copy(*this, pieces, operation, context);
  }
  note_breakpoints(*this, address, size, AccessKind::kWrite);
}

void Cpu::probe(std::uint64_t address, std::uint64_t size, AccessKind kind) {
  if (kind != AccessKind::kFetch) check_alignment(*this, address, size);
  (void)translate_all(*this, address, size, kind);
}

std::byte* Cpu::direct(std::uint64_t address, std::uint64_t size, AccessKind kind) {
  check_alignment(*this, address, size);
  const Pieces pieces = translate_all(*this, address, size, kind);
  const Piece& piece = pieces.piece[0];
  if (pieces.count != 1 || !piece.is_ram(kind) || data_breakpoints_hit(*this, address, size, kind) != 0) return nullptr;
  return piece.host();
}

void Cpu::wrote(std::uint64_t address, std::uint64_t size) {
  const TlbEntry& entry = tlb.entry(mmu_index, address);
  if (entry.write_tag == (address & ~(kPage - 1))) return;
  const Pieces pieces = translate_all(*this, address, size, AccessKind::kWrite);
  for (const Piece& piece : pieces.all())
    if (piece.is_ram(AccessKind::kWrite)) note_store(*this, piece);
}

}  // namespace doppel::accel::soft
