#include "hw/nvme/nvme_namespace.h"

#include <algorithm>
#include <charconv>

#include "base/endian.h"

namespace doppel::hw::nvme {

namespace {

Result<std::array<std::byte, 16>> parse_uuid(const std::string& text) {
  constexpr std::size_t kLength = 36;
  std::array<std::byte, 16> bytes{};
  const auto bad = [&] {
    return fail(ErrorKind::kInvalidArgument,
                "uuid={}: write 32 hexadecimal digits in groups, as 6a0fd4c2-1b1e-4d53-8b1c-0b1de8a9f0e1", text);
  };
  if (text.size() != kLength) return bad();
  std::size_t at = 0;
  for (std::byte& byte : bytes) {
    if ((at == 8 || at == 13 || at == 18 || at == 23) && text[at++] != '-') return bad();
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data() + at, text.data() + at + 2, value, 16);
    if (error != std::errc() || end != text.data() + at + 2) return bad();
    byte = static_cast<std::byte>(value);
    at += 2;
  }
  return bytes;
}

}  // namespace

Result<Namespace> Namespace::create(const NvmeNamespaceConfig& config, block::Disk& disk) {
  if (config.logical_block_size != 512 && config.logical_block_size != 4096)
    return fail(ErrorKind::kInvalidArgument, "logical_block_size={}: write 512 or 4096", config.logical_block_size);
  const std::uint32_t physical = config.physical_block_size;
  if (physical != 0 && (!std::has_single_bit(physical) || physical < config.logical_block_size || physical > 1U << 20U))
    return fail(ErrorKind::kInvalidArgument,
                "physical_block_size={}: write a power of two from logical_block_size to 1048576", physical);
  if (config.nsid == 0 || config.nsid > kMostNamespaces)
    return fail(ErrorKind::kOutOfRange, "nsid={}: write a number from 1 to {}", config.nsid, kMostNamespaces);
  if (disk.size() < config.logical_block_size)
    return fail(ErrorKind::kInvalidArgument, "the image is smaller than one block of {} bytes",
                config.logical_block_size);
  std::optional<Uuid> uuid;
  if (!config.uuid.empty()) {
    DOPPEL_ASSIGN(uuid, parse_uuid(config.uuid));
  }
  return Namespace(config, disk, uuid);
}

Namespace::Namespace(const NvmeNamespaceConfig& config, block::Disk& disk, std::optional<Uuid> uuid)
    : config_(config),
      disk_(&disk),
      block_shift_(static_cast<unsigned>(std::countr_zero(config.logical_block_size))),
      blocks_(disk.size() >> block_shift_),
      uuid_(uuid) {}

IdentifyPage Namespace::describe() const {
  constexpr std::byte kThinProvisioning{0x01};    // NSFEAT: deallocating makes sense
  constexpr std::byte kWriteUnits{0x10};          // NSFEAT: NPWG to NOWS are valid
  constexpr std::byte kDeallocatedUnknown{0x08};  // DLFEAT: WRITE ZEROES may deallocate
  constexpr std::byte kWriteProtected{0x01};      // NSATTR
  IdentifyPage page{};
  for (const std::size_t field : {0U, 8U, 16U}) store_le(page.data() + field, blocks_);  // NSZE, NCAP, NUSE
  page[24] = kThinProvisioning | kWriteUnits;
  page[33] = kDeallocatedUnknown;
  const std::uint32_t unit = std::max(config_.physical_block_size, config_.logical_block_size);
  const auto unit_blocks = static_cast<std::uint16_t>((unit >> block_shift_) - 1);
  for (const std::size_t field : {64U, 66U, 68U, 70U, 72U})  // NPWG, NPWA, NPDG, NPDA, NOWS
    store_le(page.data() + field, unit_blocks);
  if (disk_->read_only()) page[99] = kWriteProtected;
  store_be(page.data() + 120, config_.eui64);
  page[130] = static_cast<std::byte>(block_shift_);  // LBAF0, without metadata
  return page;
}

IdentifyPage Namespace::describe_names() const {
  constexpr std::byte kEui64{1};
  constexpr std::byte kUuid{3};
  IdentifyPage page{};
  std::size_t at = 0;
  const auto add = [&](std::byte type, std::size_t size) {
    page[at] = type;
    page[at + 1] = static_cast<std::byte>(size);
    at += 4 + size;
    return page.data() + at - size;
  };
  if (config_.eui64 != 0) store_be(add(kEui64, 8), config_.eui64);
  if (uuid_) std::ranges::copy(*uuid_, add(kUuid, uuid_->size()));
  return page;
}

}  // namespace doppel::hw::nvme
