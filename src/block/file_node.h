// The protocols `file` and `host_device`: a file of the host.
#pragma once

#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "block/context.h"
#include "block/node.h"

namespace doppel::block {

enum class FileLocking : std::uint8_t { kOn, kOff };

struct FileOptions {
  bool writable = false;
  bool direct = false;      // O_DIRECT: past the host's page cache; what is not aligned goes through bounce buffers
  bool skip_flush = false;  // cache=unsafe: the host writes back when it likes
  bool filling = false;  // a file that is made anew: one thread writes, and reserves a large write's blocks before it
  FileLocking locking = FileLocking::kOn;
  EngineChoice engine = EngineChoice::kBest;  // kUring where the host has none: opening fails
};

/// A regular file or a block device.
class FileNode final : public Node {
 public:
  static Result<NodePtr> open(Context& context, const std::string& path, FileOptions options);
  /// Around FD, already open, such as a temporary file that has no name. It is not locked.
  static Result<NodePtr> adopt(Context& context, UniqueFd fd, const std::string& name, FileOptions options);

  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return !options_.writable; }
  Task<Result<>> read(std::uint64_t offset, IoView to) override;
  Task<bool> splice(std::uint64_t offset, std::size_t length, int pipe) override;
  Task<Result<>> write(std::uint64_t offset, IoView from) override;
  Task<Result<>> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) override;
  Task<Result<>> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> flush() override;
  Task<Result<BlockStatus>> block_status(std::uint64_t offset, std::uint64_t length) override;
  Task<Result<>> resize(std::uint64_t size, Preallocation preallocation) override;
  [[nodiscard]] NodeInfo info() const override;

 private:
  FileNode(Context& context, UniqueFd fd, std::string path, FileOptions options)
      : context_(context), fd_(std::move(fd)), path_(std::move(path)), options_(options) {}

  Result<> examine();
  [[nodiscard]] bool aligned(std::uint64_t offset, IoView view) const;
  Task<Result<std::size_t>> transfer(IoOperation operation, std::uint64_t offset, IoView view);
  Task<int> allocate(int mode, std::uint64_t offset, std::uint64_t length);
  Task<Result<>> read_bounced(std::uint64_t offset, IoView to);
  Task<Result<>> write_all(std::uint64_t offset, IoView from);
  Task<Result<>> write_bounced(std::uint64_t offset, IoView from);
  Task<Result<>> write_zero_bytes(std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] Result<> truncate(std::uint64_t size);
  [[nodiscard]] std::unexpected<Error> io_error(int code, std::string_view what, std::uint64_t offset) const;

  Context& context_;
  UniqueFd fd_;
  std::string path_;
  FileOptions options_;
  bool device_ = false;  // a block device: its size is fixed
  std::uint64_t size_ = 0;
  std::size_t alignment_ = 1;  // of offsets, lengths and memory; 1 without O_DIRECT
  // With O_DIRECT, who replaces part of an aligned block must not race with who writes the rest: the former holds it
  // alone, the latter share it.
  Mutex blocks_;
};

}  // namespace doppel::block
