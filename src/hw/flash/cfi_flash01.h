// A parallel flash chip with Intel's command set, as PCs keep their firmware and its variables in ("cfi.pflash01").
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "block/disk.h"
#include "hw/core/device.h"
#include "hw/flash/cfi_query.h"
#include "hw/flash/flash_image.h"
#include "memory/io_handler.h"
#include "memory/region.h"

namespace doppel::hw {

/// What the chip does with the next bus cycles.
enum class FlashMode : std::uint8_t {
  kArray,
  kStatus,
  kIdentifier,
  kQuery,
  kProgram,        // the next write is the byte
  kErase,          // the next write confirms
  kLock,           // the next write says which way
  kBufferCount,    // the next write says how many bytes
  kBufferData,     // bytes for the buffer
  kBufferConfirm,  // the next write confirms
};

struct BufferedByte {
  std::uint64_t offset = 0;
  std::uint8_t value = 0;
  void describe(auto& fields) {
    fields("offset", offset);
    fields("value", value);
  }
};

struct CfiFlash01State {
  static constexpr std::string_view kName = "cfi.pflash01";
  static constexpr std::uint32_t kVersion = 1;
  FlashMode mode = FlashMode::kArray;
  std::uint8_t status = 0;
  std::uint64_t buffer_block = 0;  // offset of the block that the buffered write is for
  std::uint16_t buffer_size = 0;   // bytes that it is to have
  std::vector<BufferedByte> buffer{};
  void describe(auto& fields) {
    fields("mode", mode);
    fields("status", status);
    fields("buffer_block", buffer_block);
    fields("buffer_size", buffer_size);
    fields("buffer", buffer);
  }
};

/// Eight bits wide, with blocks of 4 KiB. In array mode the guest reads and executes the contents as memory; any
/// command switches the region to the chip's registers. What a byte does on a real chip over microseconds is done at
/// once, so the chip is ready whenever it is asked; how that reaches the disk is FlashImage's affair. A disk that only
/// reads stands for a chip whose write protection is on. The contents are the disk's and are not saved with the
/// machine.
class CfiFlash01 final : public Device, public memory::IoHandler {
 public:
  static constexpr std::uint64_t kBlockSize = FlashImage::kBlockSize;
  static constexpr std::uint32_t kBufferSize = 256;
  static constexpr memory::IoSizes kIoSizes{1, 1};

  /// CONTENTS are all of DISK's bytes, a multiple of kBlockSize. DISK outlives every request.
  static Result<std::unique_ptr<CfiFlash01>> create(memory::Topology& topology, const std::string& name,
                                                    std::span<const std::byte> contents, block::Disk& disk, Logger log);

  [[nodiscard]] std::string_view name() const override { return "cfi.pflash01"; }
  [[nodiscard]] const memory::RegionPtr& region() const { return region_; }
  void reset() override;
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 private:
  CfiFlash01(std::shared_ptr<FlashImage> image, Logger log);

  // Under the lock.
  void cycle(std::uint64_t offset, std::uint8_t value);
  void begin_command(std::uint64_t offset, std::uint8_t command);
  void program(std::uint64_t offset, std::uint8_t value);
  void erase(std::uint64_t offset, std::uint8_t confirmation);
  void take_buffer_size(std::uint8_t count);
  void take_buffer_byte(std::uint64_t offset, std::uint8_t value);
  void program_buffer(std::uint8_t confirmation);
  void end(std::uint8_t errors);
  [[nodiscard]] std::uint8_t identifier(std::uint64_t offset) const;

  /// Lets the region show what the mode asks for. With no lock held.
  void update_region();

  const std::shared_ptr<FlashImage> image_;
  const Logger log_;
  const cfi::Query query_;
  memory::RegionPtr region_;
  CfiFlash01State now_;

  std::mutex region_mutex_;  // orders changes of the region; taken with no device lock held
  bool shows_array_ = true;
};

}  // namespace doppel::hw
