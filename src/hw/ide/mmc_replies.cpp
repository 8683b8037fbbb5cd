#include "hw/ide/mmc_replies.h"

#include <algorithm>
#include <initializer_list>

#include "base/endian.h"

namespace doppel::hw::mmc {

namespace {

constexpr std::uint16_t kProfileCdRom = 0x0008;
constexpr std::uint16_t kProfileDvdRom = 0x0010;
constexpr std::uint32_t kMostCdBlocks = 80 * 60 * 75;  // 80 minutes

Reply bytes(std::initializer_list<unsigned> values) {
  Reply reply;
  for (const unsigned value : values) reply.push_back(static_cast<std::byte>(value));
  return reply;
}

void append(Reply& reply, const Reply& more) {
  reply.insert(reply.end(), more.begin(), more.end());
}

/// TEXT in SIZE bytes, filled up with blanks.
Reply text(std::string_view value, std::size_t size) {
  Reply reply(size, std::byte{' '});
  for (std::size_t i = 0; i < std::min(size, value.size()); ++i) reply[i] = static_cast<std::byte>(value[i]);
  return reply;
}

/// An address on the medium in four bytes; minutes, seconds and frames count from two seconds before block 0.
Reply address(std::uint32_t block, AddressForm form) {
  constexpr std::uint32_t kFrames = 75;
  constexpr std::uint32_t kLeadIn = 2 * kFrames;
  if (form == AddressForm::kMinuteSecondFrame) {
    const std::uint32_t frame = block + kLeadIn;
    return bytes({0, std::min(frame / kFrames / 60, 255U), frame / kFrames % 60, frame % kFrames});
  }
  Reply reply(4);
  store_be(reply.data(), block);
  return reply;
}

std::uint16_t profile(const DriveView& drive) {
  if (drive.blocks == 0) return 0;
  return drive.blocks > kMostCdBlocks ? kProfileDvdRom : kProfileCdRom;
}

// ---- Mode pages

Reply error_recovery_page() {
  return bytes({0x01, 6, 0, 5, 0, 0, 0, 0});  // five retries
}

/// MM Capabilities and Mechanical Status: MMC-3, section 5.5.10.
Reply capabilities_page(const DriveView& drive) {
  constexpr unsigned kReads = 0x3b;           // CD-R, CD-RW, DVD-ROM, DVD-R
  constexpr unsigned kMultiSession = 0x70;    // and mode 2
  constexpr unsigned kTrayThatLocks = 0x29;   // and ejects
  constexpr std::uint16_t kSpeed = 50 * 176;  // kB/s
  Reply page = bytes({0x2a, 18, kReads, 0, kMultiSession, 0, kTrayThatLocks | (drive.locked ? 2U : 0U), 0});
  page.resize(20);
  store_be(page.data() + 8, kSpeed);
  store_be<std::uint16_t>(page.data() + 10, 2);    // volume levels
  store_be<std::uint16_t>(page.data() + 12, 512);  // KiB of buffer
  store_be(page.data() + 14, kSpeed);
  return page;
}

// ---- Features

struct Feature {
  std::uint16_t code;
  std::uint8_t flags;  // version, persistent, current
  Reply data;
};

std::vector<Feature> features(const DriveView& drive) {
  const std::uint16_t now = profile(drive);
  const auto current = [now](std::uint16_t wanted) { return now == wanted ? 1U : 0U; };
  const auto flags = [&](std::uint16_t wanted) { return static_cast<std::uint8_t>(current(wanted)); };
  return {
      {0x0000, 0x03,
       bytes({0x00, 0x10, current(kProfileDvdRom), 0x00, 0x00, 0x08, current(kProfileCdRom), 0x00})},  // profiles
      {0x0001, 0x0b, bytes({0, 0, 0, 2, 0, 0, 0, 0})},                                                 // core; ATAPI
      {0x0003, 0x03, bytes({0x29, 0, 0, 0})},                            // a tray that locks and ejects
      {0x0010, flags(kProfileDvdRom), bytes({0, 0, 8, 0, 0, 1, 0, 0})},  // random access, blocks of 2048
      {0x001e, flags(kProfileCdRom), bytes({0, 0, 0, 0})},               // CD read
      {0x001f, flags(kProfileDvdRom), {}},                               // DVD read
  };
}

}  // namespace

Reply sense_data(const Sense& sense) {
  return bytes({0x70, 0, sense.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, static_cast<unsigned>(sense.code >> 8U),
                sense.code & 0xffU, 0, 0, 0, 0});
}

Reply inquiry(const DriveView& drive) {
  constexpr unsigned kCdRom = 0x05;
  constexpr unsigned kRemovable = 0x80;
  constexpr unsigned kAtapiFormat = 0x21;
  Reply reply = bytes({kCdRom, kRemovable, 0, kAtapiFormat, 31, 0, 0, 0});
  append(reply, text(drive.product.substr(0, drive.product.find(' ')), 8));
  append(reply, text(drive.product, 16));
  append(reply, text(drive.version, 4));
  return reply;
}

Reply capacity(const DriveView& drive) {
  Reply reply(8);
  store_be(reply.data(), drive.blocks - 1);
  store_be<std::uint32_t>(reply.data() + 4, kBlockSize);
  return reply;
}

std::optional<Reply> table_of_contents(const DriveView& drive, unsigned format, AddressForm form, unsigned first) {
  constexpr unsigned kDataTrack = 0x14;
  constexpr unsigned kLeadOut = 0xaa;
  const bool lead_out_only = first == kLeadOut;
  if (format > 1 || (format == 0 && first > 1 && !lead_out_only)) return std::nullopt;
  Reply reply = bytes({0, 0, 1, 1});  // first and last track, or session
  if (format == 1 || !lead_out_only) {
    append(reply, bytes({0, kDataTrack, 1, 0}));
    append(reply, address(0, form));
  }
  if (format == 0) {
    append(reply, bytes({0, kDataTrack, kLeadOut, 0}));
    append(reply, address(drive.blocks, form));
  }
  store_be(reply.data(), static_cast<std::uint16_t>(reply.size() - 2));
  return reply;
}

Reply configuration(const DriveView& drive, FeatureSelection selection, unsigned first) {
  Reply reply(8);
  for (const Feature& feature : features(drive)) {
    const bool wanted = selection == FeatureSelection::kOne ? feature.code == first : feature.code >= first;
    if (!wanted || (selection == FeatureSelection::kCurrent && (feature.flags & 1U) == 0)) continue;
    append(reply, bytes({static_cast<unsigned>(feature.code >> 8U), feature.code & 0xffU, feature.flags,
                         static_cast<unsigned>(feature.data.size())}));
    append(reply, feature.data);
  }
  store_be(reply.data(), static_cast<std::uint32_t>(reply.size() - 4));
  store_be(reply.data() + 6, profile(drive));
  return reply;
}

Reply event_status(const DriveView& drive, std::uint8_t classes, std::uint8_t media_event) {
  constexpr unsigned kMedia = 0x10;  // as a mask; the class is 4
  constexpr unsigned kNoSuchEvents = 0x80;
  if ((classes & kMedia) == 0) return bytes({0, 2, kNoSuchEvents, kMedia});
  const unsigned state = (drive.tray_open ? 1U : 0U) | (drive.blocks != 0 ? 2U : 0U);
  return bytes({0, 6, 4, kMedia, media_event, state, 0, 0});
}

Reply disc_information() {
  constexpr unsigned kComplete = 0x0e;  // disc and last session; nothing can be added
  constexpr unsigned kUnrestricted = 0x20;
  Reply reply = bytes({0, 32, kComplete, 1, 1, 1, 1, kUnrestricted});
  reply.resize(34);
  return reply;
}

Reply mechanism_status(const DriveView& drive) {
  return bytes({0, drive.tray_open ? 0x10U : 0U, 0, 0, 0, 0, 0, 0});
}

std::optional<Reply> mode_pages(const DriveView& drive, unsigned page, std::size_t header_size) {
  constexpr unsigned kAll = 0x3f;
  Reply reply(header_size);
  if (page == 0x01 || page == kAll) append(reply, error_recovery_page());
  if (page == 0x2a || page == kAll) append(reply, capabilities_page(drive));
  if (reply.size() == header_size) return std::nullopt;
  // The header's first field is the length behind itself.
  if (header_size == 8)
    store_be(reply.data(), static_cast<std::uint16_t>(reply.size() - 2));
  else
    reply[0] = static_cast<std::byte>(reply.size() - 1);
  return reply;
}

}  // namespace doppel::hw::mmc
