// What a unit tells of itself: INQUIRY with its pages, MODE SENSE, capacities, and of a CD-ROM its contents.
#include <algorithm>
#include <bit>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/scsi/scsi_disk.h"
#include "hw/scsi/scsi_opcodes.h"

namespace doppel::hw {

namespace {

/// TEXT in a field of SIZE bytes, filled up with blanks.
void put_text(std::vector<std::byte>& bytes, std::size_t at, std::size_t size, std::string_view text) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<std::byte>(i < text.size() ? text[i] : ' ');
}

std::byte byte(std::uint64_t value) {
  return static_cast<std::byte>(value & 0xffU);
}

constexpr std::uint8_t kAllPages = 0x3f;

}  // namespace

// ---- INQUIRY: SPC-4 section 6.4

Result<> ScsiDisk::inquiry(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kVitalProductData = 0x01;
  const auto& cdb = task->cdb();
  const auto limit = load_be<std::uint16_t>(cdb.data() + 3);
  if ((cdb[1] & kVitalProductData) == 0) {
    if (cdb[2] != 0) return task->check(scsi::kInvalidField);
    return reply(task, standard_inquiry(), limit);
  }
  const Bytes page = vital_product_data(cdb[2]);
  return page.empty() ? task->check(scsi::kInvalidField) : reply(task, page, limit);
}

ScsiDisk::Bytes ScsiDisk::standard_inquiry() const {
  Bytes bytes(36);
  bytes[0] = byte(static_cast<unsigned>(kind_));
  bytes[1] = byte(is_cdrom() ? 0x80 : 0);  // removable
  bytes[2] = byte(5);                      // SPC-3
  bytes[3] = byte(0x12);                   // hierarchical LUNs, this format
  bytes[4] = byte(bytes.size() - 5);
  bytes[7] = byte(0x02);  // command queuing
  put_text(bytes, 8, 8, config_.vendor);
  const std::string_view product = is_cdrom() ? "QEMU CD-ROM" : "QEMU HARDDISK";
  put_text(bytes, 16, 16, config_.product.empty() ? product : std::string_view(config_.product));
  put_text(bytes, 32, 4, config_.ver);
  return bytes;
}

/// Page PAGE of the vital product data (SPC-4 section 7.8, SBC-3 section 6.6), with its header; empty if there is none.
ScsiDisk::Bytes ScsiDisk::vital_product_data(std::uint8_t page) const {
  constexpr std::uint64_t kMostUnmapped = 1 << 22;  // blocks of one UNMAP
  constexpr std::uint32_t kMostEntries = 255;
  Bytes bytes(4);
  switch (page) {
    case 0x00:
      for (const unsigned one : {0x00U, 0x80U, 0x83U}) bytes.push_back(byte(one));
      if (!is_cdrom())
        for (const unsigned one : {0xb0U, 0xb1U, 0xb2U}) bytes.push_back(byte(one));
      break;
    case 0x80:
      for (const char c : config_.serial) bytes.push_back(static_cast<std::byte>(c));
      break;
    case 0x83: {
      const Bytes names = identification();
      bytes.insert(bytes.end(), names.begin(), names.end());
      break;
    }
    case 0xb0:
      if (is_cdrom()) return {};
      bytes.resize(64);
      store_be(bytes.data() + 20, static_cast<std::uint32_t>(kMostUnmapped));
      store_be(bytes.data() + 24, kMostEntries);
      store_be(bytes.data() + 28, config_.physical_block_size / block_);  // optimal granularity
      store_be(bytes.data() + 36, std::uint64_t{0xffffffff});             // most blocks of a WRITE SAME of zeroes
      break;
    case 0xb1:
      if (is_cdrom()) return {};
      bytes.resize(64);
      store_be(bytes.data() + 4, config_.rotation_rate);
      break;
    case 0xb2:
      if (is_cdrom()) return {};
      bytes.resize(8);
      bytes[5] = byte(can_write() ? 0xe0 : 0);  // UNMAP, WRITE SAME (16) and (10) unmap
      bytes[6] = byte(can_write() ? 0x02 : 0);  // thin
      break;
    default: return {};
  }
  bytes[0] = byte(static_cast<unsigned>(kind_));
  bytes[1] = byte(page);
  store_be(bytes.data() + 2, static_cast<std::uint16_t>(bytes.size() - 4));
  return bytes;
}

/// Designators: a name in ASCII, and a world wide name.
ScsiDisk::Bytes ScsiDisk::identification() const {
  Bytes bytes;
  const std::string& name = config_.device_id.empty() ? config_.serial : config_.device_id;
  if (!name.empty()) {
    for (const std::uint64_t one :
         {std::uint64_t{0x02}, std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{name.size()}})
      bytes.push_back(byte(one));
    for (const char c : name) bytes.push_back(static_cast<std::byte>(c));
  }
  if (config_.wwn != 0) {
    for (const unsigned one : {0x01U, 0x03U, 0x00U, 0x08U}) bytes.push_back(byte(one));
    bytes.resize(bytes.size() + 8);
    store_be(bytes.data() + bytes.size() - 8, config_.wwn);
  }
  return bytes;
}

// ---- MODE SENSE: SPC-4 sections 6.11 and 7.5

/// The pages that PAGE names; empty if there is none.
ScsiDisk::Bytes ScsiDisk::mode_pages(std::uint8_t page, bool changeable) const {
  struct Page {
    std::uint8_t code;
    std::uint8_t size;
    bool for_cdrom;
  };
  constexpr Page kPages[] = {{0x01, 10, true}, {0x08, 18, false}, {0x2a, 18, true}};
  Bytes bytes;
  for (const Page& row : kPages) {
    const bool here = is_cdrom() ? row.for_cdrom : row.code != 0x2a;
    if (!here || (page != kAllPages && page != row.code)) continue;
    const std::size_t at = bytes.size();
    bytes.resize(at + 2 + row.size);
    bytes[at] = byte(row.code);
    bytes[at + 1] = byte(row.size);
    if (changeable) continue;                                       // nothing is
    if (row.code == 0x01) bytes[at + 2] = byte(0x80);               // reassigns what fails to be written
    if (row.code == 0x08) bytes[at + 2] = byte(cache_ ? 0x04 : 0);  // WCE
    if (row.code == 0x2a) bytes[at + 6] = byte(0x29);               // tray, lock, eject
  }
  return bytes;
}

Result<> ScsiDisk::mode_sense(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kNoBlockDescriptors = 0x08;
  constexpr unsigned kChangeable = 1;
  constexpr unsigned kSaved = 3;
  const auto& cdb = task->cdb();
  const bool is_long = cdb[0] == scsi::kModeSense10;
  const unsigned control = cdb[2] >> 6U;
  if (control == kSaved) return task->check({0x05, 0x39, 0x00});
  const Bytes pages = mode_pages(cdb[2] & kAllPages, control == kChangeable);
  if (pages.empty() && (cdb[2] & kAllPages) != 0) return task->check(scsi::kInvalidField);
  const bool with_blocks = (cdb[1] & kNoBlockDescriptors) == 0 && !is_cdrom() && disk_ != nullptr;
  const std::size_t header = is_long ? 8 : 4;
  Bytes bytes(header + (with_blocks ? 8 : 0));
  // Write protection, and that DPO and FUA are understood (SBC-3 section 6.4.1).
  const auto specific =
      byte((is_cdrom() || disk_ == nullptr || !disk_->read_only() ? 0U : 0x80U) | (is_cdrom() ? 0U : 0x10U));
  bytes[is_long ? 3 : 2] = specific;
  bytes[is_long ? 7 : 3] = byte(with_blocks ? 8 : 0);
  if (with_blocks) {
    store_be(bytes.data() + header, static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks(), 0xffffff)));
    store_be(bytes.data() + header + 4, block_);
  }
  bytes.insert(bytes.end(), pages.begin(), pages.end());
  if (is_long)
    store_be(bytes.data(), static_cast<std::uint16_t>(bytes.size() - 2));
  else
    bytes[0] = byte(bytes.size() - 1);
  return reply(task, bytes, is_long ? load_be<std::uint16_t>(cdb.data() + 7) : cdb[4]);
}

// ---- Capacities: SBC-3 sections 5.15 and 5.16

Result<> ScsiDisk::read_capacity(const ScsiTaskPtr& task) {
  if (blocks() == 0) return task->check(scsi::kNoMedium);
  Bytes bytes(8);
  store_be(bytes.data(), static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks() - 1, 0xffffffff)));
  store_be(bytes.data() + 4, block_);
  return reply(task, bytes, bytes.size());
}

Result<> ScsiDisk::service_action_in(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kReadCapacity16 = 0x10;
  if ((task->cdb()[1] & 0x1fU) != kReadCapacity16) return task->check(scsi::kInvalidField);
  if (blocks() == 0) return task->check(scsi::kNoMedium);
  Bytes bytes(32);
  store_be(bytes.data(), blocks() - 1);
  store_be(bytes.data() + 8, block_);
  bytes[13] = byte(static_cast<unsigned>(std::countr_zero(config_.physical_block_size / block_)));
  bytes[14] = byte(can_write() ? 0x80 : 0);  // UNMAP is there
  return reply(task, bytes, load_be<std::uint32_t>(task->cdb().data() + 10));
}

// ---- CD-ROM: MMC-6 sections 6.25, 6.5 and 6.6

/// One data track, and the lead-out behind it; or one session.
Result<> ScsiDisk::read_toc(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kLeadOut = 0xaa;
  constexpr std::uint32_t kPregap = 150;
  const auto& cdb = task->cdb();
  const unsigned format = (cdb[2] & 0x0fU) != 0 ? cdb[2] & 0x0fU : cdb[9] >> 6U;
  const bool msf = (cdb[1] & 0x02U) != 0;
  const std::uint8_t first = cdb[6];
  if (format > 1 || (format == 0 && first > 1 && first != kLeadOut)) return task->check(scsi::kInvalidField);
  Bytes bytes(4);
  const auto add = [&](unsigned track, std::uint32_t block) {
    const std::size_t at = bytes.size();
    bytes.resize(at + 8);
    bytes[at + 1] = byte(0x14);  // a data track
    bytes[at + 2] = byte(track);
    if (!msf) return store_be(bytes.data() + at + 4, block);
    const std::uint32_t frame = block + kPregap;
    bytes[at + 5] = byte(frame / (75 * 60));
    bytes[at + 6] = byte(frame / 75 % 60);
    bytes[at + 7] = byte(frame % 75);
  };
  if (format == 1 || first <= 1) add(1, 0);
  if (format == 0) add(kLeadOut, static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks(), 0xffffffff)));
  store_be(bytes.data(), static_cast<std::uint16_t>(bytes.size() - 2));
  bytes[2] = byte(1);
  bytes[3] = byte(1);
  return reply(task, bytes, load_be<std::uint16_t>(cdb.data() + 7));
}

/// The profile alone: a CD-ROM, or a DVD-ROM for what is larger than one.
Result<> ScsiDisk::get_configuration(const ScsiTaskPtr& task) {
  constexpr std::uint64_t kCdBlocks = 80 * 60 * 75;
  Bytes bytes(8);
  const std::uint16_t profile = blocks() == 0 ? 0 : blocks() > kCdBlocks ? 0x10 : 0x08;
  store_be(bytes.data(), static_cast<std::uint32_t>(bytes.size() - 4));
  store_be(bytes.data() + 6, profile);
  return reply(task, bytes, load_be<std::uint16_t>(task->cdb().data() + 7));
}

/// Nothing ever happens to the medium.
Result<> ScsiDisk::get_event_status(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kPolled = 0x01;
  constexpr std::uint8_t kMediaClass = 0x10;
  const auto& cdb = task->cdb();
  if ((cdb[1] & kPolled) == 0) return task->check(scsi::kInvalidField);
  Bytes bytes(4);
  bytes[3] = byte(kMediaClass);
  if ((cdb[4] & kMediaClass) != 0) {
    bytes[2] = byte(0x04);
    bytes.resize(8);
    bytes[5] = byte(disk_ != nullptr ? 0x02 : 0);  // a medium is there
  } else {
    bytes[2] = byte(0x80);
  }
  store_be(bytes.data(), static_cast<std::uint16_t>(bytes.size() - 2));
  return reply(task, bytes, load_be<std::uint16_t>(cdb.data() + 7));
}

}  // namespace doppel::hw
