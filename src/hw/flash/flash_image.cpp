#include "hw/flash/flash_image.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace doppel::hw {

std::byte FlashImage::at(std::uint64_t offset) const {
  const std::scoped_lock lock(mutex_);
  return memory_->bytes()[offset];
}

void FlashImage::program(std::uint64_t offset, std::byte value) {
  const std::scoped_lock lock(mutex_);
  memory_->bytes()[offset] &= value;
  mark_changed(offset, 1);
}

void FlashImage::erase(std::uint64_t offset) {
  const std::scoped_lock lock(mutex_);
  const std::uint64_t begin = align_down(offset, kBlockSize);
  std::ranges::fill(memory_->bytes().subspan(begin, kBlockSize), std::byte{0xff});
  mark_changed(begin, kBlockSize);
}

void FlashImage::mark_changed(std::uint64_t offset, std::uint64_t size) {
  memory_->dirty().mark(offset, size);
  changed_.insert(align_down(offset, kBlockSize));
}

void FlashImage::write_back() {
  Run run;
  {
    const std::scoped_lock lock(mutex_);
    if (busy_ || (changed_.empty() && !unflushed_)) return;
    busy_ = true;
    if (!changed_.empty()) {
      run.offset = *changed_.begin();
      std::uint64_t end = run.offset;
      while (changed_.erase(end) != 0) end += kBlockSize;
      const auto bytes = memory_->bytes().subspan(run.offset, end - run.offset);
      run.bytes = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
    }
  }
  if (run.bytes == nullptr)
    return disk_.flush([self = shared_from_this()](const Result<>& result) { self->flushed(result); });
  block::Buffers buffers{{.iov_base = run.bytes->data(), .iov_len = run.bytes->size()}};
  disk_.write(run.offset, std::move(buffers),
              [self = shared_from_this(), run](const Result<>& result) { self->written(run, result); });
}

void FlashImage::written(const Run& run, const Result<>& result) {
  {
    const std::scoped_lock lock(mutex_);
    busy_ = false;
    unflushed_ = result.has_value();
    for (std::uint64_t at = 0; !result && at < run.bytes->size(); at += kBlockSize) changed_.insert(run.offset + at);
    note_failure(result);
  }
  if (result) write_back();
}

void FlashImage::flushed(const Result<>& result) {
  {
    const std::scoped_lock lock(mutex_);
    busy_ = false;
    unflushed_ = false;
    note_failure(result);
  }
  if (result) write_back();
}

/// Not tried again by itself: a disk that fails at once would keep the loop busy.
void FlashImage::note_failure(const Result<>& result) {
  if (result) return;
  if (!std::exchange(failed_, true)) log_.error("flash contents cannot be written: {}", result.error().describe());
}

bool FlashImage::take_failure() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(failed_, false);
}

}  // namespace doppel::hw
