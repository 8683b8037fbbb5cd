#include "hw/flash/cfi_flash01.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/bits.h"
#include "hw/flash/cfi_registers.h"

namespace doppel::hw {

namespace command = cfi::command;
namespace status = cfi::status;

Result<std::unique_ptr<CfiFlash01>> CfiFlash01::create(memory::Topology& topology, const std::string& name,
                                                       std::span<const std::byte> contents, block::Disk& disk,
                                                       Logger log) {
  DOPPEL_ASSIGN(auto memory, memory::RamBlock::create({.name = name, .size = contents.size()}));
  std::ranges::copy(contents, memory->host());
  auto image = std::make_shared<FlashImage>(memory, disk, log);
  std::unique_ptr<CfiFlash01> chip(new CfiFlash01(std::move(image), std::move(log)));
  chip->region_ = topology.rom_device(name, std::move(memory), *chip);
  return chip;
}

CfiFlash01::CfiFlash01(std::shared_ptr<FlashImage> image, Logger log)
    : image_(std::move(image)),
      log_(std::move(log)),
      query_(cfi::make_query(static_cast<std::uint32_t>(image_->size() / kBlockSize), kBlockSize, kBufferSize)) {
  now_.status = status::kReady;
}

void CfiFlash01::reset() {
  {
    const DeviceGuard guard(*this);
    now_ = {};
    now_.status = status::kReady;
  }
  update_region();
}

std::uint64_t CfiFlash01::read(std::uint64_t offset, unsigned /*size*/) {
  const DeviceGuard guard(*this);
  switch (now_.mode) {
    case FlashMode::kArray: return std::to_integer<std::uint8_t>(image_->at(offset));
    case FlashMode::kIdentifier: return identifier(offset);
    case FlashMode::kQuery: return offset < query_.size() ? query_.at(offset) : 0;
    default: break;
  }
  if (image_->take_failure()) now_.status |= status::kProgramError;
  return now_.status;
}

/// Data sheet, table 6: the chip's codes, and the lock bit of each block.
std::uint8_t CfiFlash01::identifier(std::uint64_t offset) const {
  if (offset == 0) return cfi::kManufacturer;
  if (offset == 1) return cfi::kDevice;
  const bool asks_for_lock = offset % kBlockSize == 2;
  return asks_for_lock && image_->read_only() ? 1 : 0;
}

void CfiFlash01::write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) {
  {
    const DeviceGuard guard(*this);
    cycle(offset, static_cast<std::uint8_t>(value));
  }
  image_->write_back();
  update_region();
}

void CfiFlash01::cycle(std::uint64_t offset, std::uint8_t value) {
  switch (now_.mode) {
    case FlashMode::kProgram: return program(offset, value);
    case FlashMode::kErase: return erase(offset, value);
    case FlashMode::kBufferCount: return take_buffer_size(value);
    case FlashMode::kBufferData: return take_buffer_byte(offset, value);
    case FlashMode::kBufferConfirm: return program_buffer(value);
    case FlashMode::kLock: {
      const bool good = value == command::kSetLock || value == command::kConfirm || value == command::kLockDown;
      return end(good ? 0 : status::kEraseError | status::kProgramError);
    }
    default: return begin_command(offset, value);
  }
}

void CfiFlash01::begin_command(std::uint64_t offset, std::uint8_t value) {
  switch (value) {
    case 0x00:  // firmware that probes for flash ends with this, too
    case command::kReadArray: now_.mode = FlashMode::kArray; break;
    case command::kReadStatus: now_.mode = FlashMode::kStatus; break;
    case command::kReadIdentifier: now_.mode = FlashMode::kIdentifier; break;
    case command::kReadQuery: now_.mode = FlashMode::kQuery; break;
    case command::kProgram:
    case command::kProgramAlternate: now_.mode = FlashMode::kProgram; break;
    case command::kBlockErase: now_.mode = FlashMode::kErase; break;
    case command::kLockSetup: now_.mode = FlashMode::kLock; break;
    case command::kClearStatus:
      // OVMF takes a chip for flash only if nothing is set here, not even "ready", which returns with the next
      // operation.
      now_.status = 0;
      now_.mode = FlashMode::kArray;
      break;
    case command::kWriteToBuffer:
      now_.status |= status::kReady;  // the buffer is free
      now_.buffer_block = align_down(offset, kBlockSize);
      now_.mode = FlashMode::kBufferCount;
      break;
    default: log_.guest_error("command {:#04x} at {:#x} is none of this chip's", value, offset); break;
  }
}

void CfiFlash01::program(std::uint64_t offset, std::uint8_t value) {
  if (image_->read_only()) return end(status::kProgramError | status::kProtected);
  image_->program(offset, std::byte{value});
  end(0);
}

void CfiFlash01::erase(std::uint64_t offset, std::uint8_t confirmation) {
  if (confirmation != command::kConfirm) return end(status::kEraseError | status::kProgramError);
  if (image_->read_only()) return end(status::kEraseError | status::kProtected);
  image_->erase(offset);
  end(0);
}

void CfiFlash01::take_buffer_size(std::uint8_t count) {
  now_.buffer_size = static_cast<std::uint16_t>(count + 1);
  now_.buffer.clear();
  now_.mode = FlashMode::kBufferData;
}

/// All bytes lie within one block, and within the buffer's size behind the first of them.
void CfiFlash01::take_buffer_byte(std::uint64_t offset, std::uint8_t value) {
  const std::uint64_t first = now_.buffer.empty() ? offset : now_.buffer.front().offset;
  if (align_down(offset, kBlockSize) != now_.buffer_block || offset < first || offset - first >= now_.buffer_size)
    return end(status::kEraseError | status::kProgramError);
  now_.buffer.push_back({.offset = offset, .value = value});
  if (now_.buffer.size() == now_.buffer_size) now_.mode = FlashMode::kBufferConfirm;
}

void CfiFlash01::program_buffer(std::uint8_t confirmation) {
  if (confirmation != command::kConfirm) return end(status::kEraseError | status::kProgramError);
  if (image_->read_only()) return end(status::kProgramError | status::kProtected);
  for (const BufferedByte& byte : now_.buffer) image_->program(byte.offset, std::byte{byte.value});
  end(0);
}

void CfiFlash01::end(std::uint8_t errors) {
  if (errors != 0) log_.guest_error("a command failed: status bits {:#04x}", errors);
  now_.buffer.clear();
  now_.buffer_size = 0;
  now_.status |= status::kReady | errors;
  now_.mode = FlashMode::kStatus;
}

void CfiFlash01::update_region() {
  const std::scoped_lock lock(region_mutex_);
  bool array = false;
  {
    const DeviceGuard guard(*this);
    array = now_.mode == FlashMode::kArray;
  }
  if (std::exchange(shows_array_, array) != array) region_->set_rom_readable(array);
}

void CfiFlash01::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, now_);
}

Result<> CfiFlash01::load(state::Reader& reader) {
  DOPPEL_ASSIGN(CfiFlash01State saved, state::load<CfiFlash01State>(reader));
  const bool buffers = saved.mode == FlashMode::kBufferData || saved.mode == FlashMode::kBufferConfirm;
  const std::size_t most = saved.mode == FlashMode::kBufferConfirm ? saved.buffer_size : saved.buffer_size - 1U;
  const auto is_outside = [&](const BufferedByte& byte) { return byte.offset >= image_->size(); };
  const bool good = saved.mode <= FlashMode::kBufferConfirm && saved.buffer_size <= kBufferSize &&
                    saved.buffer_block < image_->size() && buffers == (saved.buffer_size != 0) &&
                    (buffers ? saved.buffer.size() <= most : saved.buffer.empty()) &&
                    std::ranges::none_of(saved.buffer, is_outside);
  if (!good) return fail(ErrorKind::kCorrupt, "the saved state of a flash chip is damaged or another chip's");
  {
    const DeviceGuard guard(*this);
    now_ = std::move(saved);
  }
  update_region();
  return {};
}

}  // namespace doppel::hw
