// The log of a VHDX image: sectors that were to be written when the image was left, section 2.3.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "block/node.h"
#include "block/vhdx/header.h"

namespace doppel::block::vhdx {

/// What the log wants written: sectors of 4 KiB by their offset.
class LogContents {
 public:
  using Sector = std::array<std::byte, kLogSector>;

  [[nodiscard]] bool empty() const { return sectors_.empty() && zeroes_.empty() && file_size_ == 0; }
  [[nodiscard]] std::uint64_t file_size() const { return file_size_; }
  void set_file_size(std::uint64_t size) { file_size_ = size; }
  void put(std::uint64_t offset, const Sector& sector) { sectors_[offset] = std::make_unique<Sector>(sector); }
  void put_zeroes(std::uint64_t offset, std::uint64_t length);

  /// Lays what it has over TO, which was read from OFFSET of the file.
  void patch(std::uint64_t offset, IoView to) const;
  /// Writes it all to FILE.
  Task<Result<>> write_to(Node& file) const;

 private:
  std::map<std::uint64_t, std::unique_ptr<Sector>> sectors_;
  std::map<std::uint64_t, std::uint64_t> zeroes_;  // offset to length; sectors_ lie above them
  std::uint64_t file_size_ = 0;                    // that the file had at least
};

/// Finds the newest whole sequence of entries, section 2.3.3. HEADER says where the log is.
Task<Result<LogContents>> read_log(Node& file, const RawHeader& header);

/// A file as it will be when its log is replayed. Read-only.
class ReplayedFile final : public Node {
 public:
  ReplayedFile(NodePtr file, LogContents log) : file_(std::move(file)), log_(std::move(log)) {}

  [[nodiscard]] std::uint64_t size() const override { return std::max(file_->size(), log_.file_size()); }
  [[nodiscard]] bool read_only() const override { return true; }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override { co_return Result<>{}; }
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  Task<Result<>> close() override { return file_->close(); }
  [[nodiscard]] NodeInfo info() const override { return file_->info(); }

 private:
  NodePtr file_;
  LogContents log_;
};

}  // namespace doppel::block::vhdx
