#include "hw/firmware/boot_rom.h"

#include <algorithm>

namespace doppel::hw {

namespace {

constexpr std::size_t kSizeOffset = 2;  // in 512 bytes
constexpr std::size_t kPnpPointer = 0x1a;
constexpr std::size_t kPnpChecksum = 9;
constexpr std::size_t kPnpSize = 32;

constexpr std::uint32_t kPlanMagic = 0x4e4c5044;
constexpr std::size_t kMaxPieces = 128;

struct PlanPart {
  std::uint64_t address;
  std::uint64_t size;
  Blob data;  // empty: zeroes
};

/// Data first, zeroes after: the ROM takes zeroes from behind the end of the file.
std::vector<PlanPart> parts_of(const BootPlan& plan) {
  std::vector<PlanPart> parts;
  for (const BootPiece& piece : plan.pieces)
    if (!piece.data.empty()) parts.push_back({piece.address, piece.data.size(), piece.data});
  for (const BootPiece& piece : plan.pieces)
    if (piece.size > piece.data.size())
      parts.push_back({piece.address + piece.data.size(), piece.size - piece.data.size(), {}});
  return parts;
}

}  // namespace

Bytes boot_rom() {
  const auto code = boot_rom_code();
  Bytes rom(std::size_t{code[kSizeOffset]} * 512);
  std::ranges::transform(code, rom.begin(), [](std::uint8_t byte) { return static_cast<std::byte>(byte); });
  const auto pnp = std::span(rom).subspan(load_le<std::uint16_t>(rom.data() + kPnpPointer), kPnpSize);
  pnp[kPnpChecksum] = static_cast<std::byte>(checksum_of(pnp));
  rom.back() = static_cast<std::byte>(checksum_of(rom));
  return rom;
}

Result<Bytes> encode_boot_plan(const BootPlan& plan) {
  if (plan.mode != BootMode::kProtected32)
    return fail(ErrorKind::kUnsupported, "firmware can start a kernel only in 32-bit mode");
  const std::vector<PlanPart> parts = parts_of(plan);
  if (parts.size() > kMaxPieces)
    return fail(ErrorKind::kUnsupported, "the kernel has {} segments and modules; the boot ROM loads at most {}",
                parts.size(), kMaxPieces);
  const BootMapSlot& map = plan.map_slot;
  ByteWriter writer;
  writer.u32(kPlanMagic).u32(plan.entry).u32(plan.eax).u32(plan.ebx).u32(plan.rsi);
  writer.u32(map.entries).u32(map.lead).u32(map.count).u32(map.unit).u32(map.rsdp).u32(parts.size()).u32(0);
  for (const PlanPart& part : parts) {
    if (part.address + part.size > 0xffffffff)
      return fail(ErrorKind::kUnsupported, "the boot ROM loads nothing at or above 4 GiB");
    writer.u32(part.address).u32(part.size);
  }
  for (const PlanPart& part : parts) writer.bytes(part.data.bytes());
  return writer.take();
}

Result<> prepend_boot_order(FwCfg& fw_cfg, std::string_view line) {
  Bytes order = text_bytes(line);
  const Bytes rest = fw_cfg.file("bootorder");
  order.push_back(static_cast<std::byte>(rest.empty() ? '\0' : '\n'));
  order.insert(order.end(), rest.begin(), rest.end());
  return fw_cfg.set_file("bootorder", std::move(order));
}

Result<> add_boot_rom(FwCfg& fw_cfg) {
  DOPPEL_TRY(fw_cfg.set_file(kBootRomFile, boot_rom()));
  return prepend_boot_order(fw_cfg, kBootRomOrder);
}

}  // namespace doppel::hw
