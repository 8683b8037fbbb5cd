// The data that a CD-ROM drive answers packets with, each as its manual's table has it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "hw/ide/mmc.h"

namespace doppel::hw::mmc {

using Reply = std::vector<std::byte>;

/// What replies depend on.
struct DriveView {
  bool tray_open = false;
  bool locked = false;
  std::uint32_t blocks = 0;  // of the medium; 0: there is none
  std::string_view product;
  std::string_view version;
};

/// SPC-3 section 4.5.3, fixed format.
Reply sense_data(const Sense& sense);
/// SPC-3 section 6.4.2.
Reply inquiry(const DriveView& drive);
/// MMC-6 section 6.22.
Reply capacity(const DriveView& drive);

enum class AddressForm : std::uint8_t { kBlock, kMinuteSecondFrame };
/// MMC-6 section 6.25: FORMAT 0 (the tracks) and 1 (the sessions), from track FIRST. Nothing for what there is not.
std::optional<Reply> table_of_contents(const DriveView& drive, unsigned format, AddressForm form, unsigned first);

enum class FeatureSelection : std::uint8_t { kAll = 0, kCurrent = 1, kOne = 2 };
/// MMC-6 section 6.5: the features from number FIRST.
Reply configuration(const DriveView& drive, FeatureSelection selection, unsigned first);

/// MMC-6 section 6.6; CLASSES is the request's mask.
Reply event_status(const DriveView& drive, std::uint8_t classes, std::uint8_t media_event);
/// MMC-6 section 6.21.
Reply disc_information();
/// MMC-6 section 6.10.
Reply mechanism_status(const DriveView& drive);

/// The mode pages PAGE (3Fh: all) behind a header of HEADER_SIZE bytes, 4 or 8. Nothing for a page there is not.
std::optional<Reply> mode_pages(const DriveView& drive, unsigned page, std::size_t header_size);

}  // namespace doppel::hw::mmc
