#include "block/file_node.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/bits.h"
#include "block/aligned_buffer.h"
#include "block/file_lock.h"

namespace doppel::block {
namespace {

constexpr std::size_t kBounceSize = kMiB;
constexpr std::size_t kLargeWrite = 128 * kKiB;
constexpr std::size_t kMaxTransfer = kGiB;  // below what read(2) takes at once
// What nearly every O_DIRECT file is content with, where statx(2) does not tell.
constexpr std::size_t kUsualDirectAlignment = 4096;

std::size_t direct_alignment(int fd) {
  struct statx info{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0 || (info.stx_mask & STATX_DIOALIGN) == 0 ||
      info.stx_dio_offset_align == 0)
    return kUsualDirectAlignment;
  return std::max<std::size_t>(std::max(info.stx_dio_offset_align, info.stx_dio_mem_align), 512);
}

}  // namespace

Result<NodePtr> FileNode::open(Context& context, const std::string& path, FileOptions options) {
  if (options.engine == EngineChoice::kUring && !context.has_uring())
    return fail(ErrorKind::kUnsupported, "this host offers no io_uring; write aio=threads");
  const int flags = O_CLOEXEC | (options.writable ? O_RDWR : O_RDONLY) | (options.direct ? O_DIRECT : 0);
  // An image may name anything as its backing file: opening a FIFO must not wait for who writes to it.
  UniqueFd fd(::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid() && options.direct && errno == EINVAL)
    return fail(ErrorKind::kUnsupported, "the file system of '{}' has no O_DIRECT; use cache=writeback", path);
  if (!fd.valid()) return fail_errno("cannot open '{}'", path);
  if (::fcntl(fd.get(), F_SETFL, flags & O_DIRECT) != 0) return fail_errno("cannot open '{}'", path);
  if (options.locking == FileLocking::kOn) DOPPEL_TRY(lock_file(fd.get(), path, image_permissions(options.writable)));
  return adopt(context, std::move(fd), path, options);
}

Result<NodePtr> FileNode::adopt(Context& context, UniqueFd fd, const std::string& name, FileOptions options) {
  std::unique_ptr<FileNode> node(new FileNode(context, std::move(fd), name, options));
  DOPPEL_TRY(node->examine());
  return node;
}

Result<> FileNode::examine() {
  struct stat file{};
  if (::fstat(fd_.get(), &file) != 0) return fail_errno("cannot examine '{}'", path_);
  device_ = S_ISBLK(file.st_mode);
  if (device_) {
    if (::ioctl(fd_.get(), BLKGETSIZE64, &size_) != 0) return fail_errno("cannot tell the size of '{}'", path_);
  } else if (S_ISREG(file.st_mode)) {
    size_ = static_cast<std::uint64_t>(file.st_size);
  } else {
    return fail(ErrorKind::kInvalidArgument, "'{}' is neither a file nor a block device", path_);
  }
  if (options_.direct) alignment_ = direct_alignment(fd_.get());
  return {};
}

std::unexpected<Error> FileNode::io_error(int code, std::string_view what, std::uint64_t offset) const {
  return std::unexpected(Error::from_errno(code, fmt::format("cannot {} '{}' at offset {}", what, path_, offset)));
}

bool FileNode::aligned(std::uint64_t offset, IoView view) const {
  bool fits = is_aligned(offset, alignment_) && is_aligned(view.size(), alignment_);
  view.for_each([&](const std::byte* data, std::size_t size) {
    fits = fits && is_aligned(reinterpret_cast<std::uintptr_t>(data), alignment_) && is_aligned(size, alignment_);
  });
  return fits;
}

/// Until all of VIEW has gone through, or the file ends; how much that was.
Task<Result<std::size_t>> FileNode::transfer(IoOperation operation, std::uint64_t offset, IoView view) {
  const bool filling = operation == IoOperation::kWrite && options_.filling;
  IoEngine& engine = filling ? context_.filling_engine() : context_.engine(options_.engine);
  std::size_t done = 0;
  while (done < view.size()) {
    IoRequest request{.operation = operation, .fd = fd_.get(), .offset = offset + done};
    request.pieces = view.slice(done, std::min(view.size() - done, kMaxTransfer)).pieces();
    // ext4 spends as much on finding blocks one by one, within the write, as on the write itself.
    request.reserve = filling && !device_ && view.size() >= kLargeWrite;
    engine.submit(request);
    const int result = co_await request.done;
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result < 0) co_return io_error(-result, operation == IoOperation::kRead ? "read" : "write", offset + done);
    if (result == 0) break;
    done += static_cast<std::size_t>(result);
  }
  co_return done;
}

/// fallocate(2); 0 or an errno.
Task<int> FileNode::allocate(int mode, std::uint64_t offset, std::uint64_t length) {
  for (;;) {
    IoRequest request{.operation = IoOperation::kAllocate,
                      .fd = fd_.get(),
                      .offset = offset,
                      .length = length,
                      .allocate_mode = mode};
    context_.engine(options_.engine).submit(request);
    const int result = co_await request.done;
    if (result != -EINTR && result != -EAGAIN) co_return -result;
  }
}

Task<Result<>> FileNode::read(std::uint64_t offset, IoView to) {
  const std::size_t inside =
      offset < size_ ? static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), size_ - offset)) : 0;
  to.slice(inside, to.size() - inside).clear();
  if (inside == 0) co_return Result<>{};
  const IoView wanted = to.slice(0, inside);
  if (!aligned(offset, wanted)) co_return co_await read_bounced(offset, wanted);
  DOPPEL_CO_ASSIGN(const std::size_t done, co_await transfer(IoOperation::kRead, offset, wanted));
  wanted.slice(done, inside - done).clear();  // somebody has made the file shorter
  co_return Result<>{};
}

Task<Result<>> FileNode::read_bounced(std::uint64_t offset, IoView to) {
  const AlignedBuffer bounce(std::min<std::size_t>(kBounceSize, to.size() + 2 * alignment_), alignment_);
  if (bounce.size() == 0) co_return fail(ErrorKind::kNoSpace, "no memory to read '{}'", path_);
  for (std::size_t done = 0; done < to.size();) {
    const std::uint64_t begin = align_down(offset + done, alignment_);
    const auto skip = static_cast<std::size_t>(offset + done - begin);
    const std::size_t length = std::min(to.size() - done, bounce.size() - skip);
    const std::span<std::byte> block = bounce.first(align_up(skip + length, alignment_));
    DOPPEL_CO_ASSIGN(const std::size_t got, co_await transfer(IoOperation::kRead, begin, block));
    std::fill(block.begin() + static_cast<std::ptrdiff_t>(got), block.end(), std::byte{0});
    to.slice(done, length).copy_from(block.data() + skip);
    done += length;
  }
  co_return Result<>{};
}

Task<bool> FileNode::splice(std::uint64_t offset, std::size_t length, int pipe) {
  if (options_.direct || offset > size_ || length > size_ - offset) co_return false;
  while (length > 0) {
    IoRequest request{
        .operation = IoOperation::kSplice, .fd = fd_.get(), .offset = offset, .length = length, .pipe = pipe};
    context_.engine(options_.engine).submit(request);
    const int result = co_await request.done;
    if (result == -EINTR) continue;
    if (result <= 0) co_return false;
    offset += static_cast<unsigned>(result);
    length -= static_cast<unsigned>(result);
  }
  co_return true;
}

Task<Result<>> FileNode::write_all(std::uint64_t offset, IoView from) {
  DOPPEL_CO_ASSIGN(const std::size_t done, co_await transfer(IoOperation::kWrite, offset, from));
  if (done < from.size()) co_return io_error(ENOSPC, "write", offset + done);
  size_ = std::max(size_, offset + done);
  co_return Result<>{};
}

Task<Result<>> FileNode::write(std::uint64_t offset, IoView from) {
  if (device_ && (offset > size_ || from.size() > size_ - offset)) co_return io_error(ENOSPC, "write", offset);
  if (alignment_ == 1) co_return co_await write_all(offset, from);
  if (aligned(offset, from)) {
    const auto guard = co_await blocks_.lock_shared();
    co_return co_await write_all(offset, from);
  }
  const auto guard = co_await blocks_.lock();
  co_return co_await write_bounced(offset, from);
}

/// Whole blocks around FROM are read, changed and written. The end of the file does not move further than FROM's.
Task<Result<>> FileNode::write_bounced(std::uint64_t offset, IoView from) {
  const AlignedBuffer bounce(std::min<std::size_t>(kBounceSize, from.size() + 2 * alignment_), alignment_);
  if (bounce.size() == 0) co_return fail(ErrorKind::kNoSpace, "no memory to write '{}'", path_);
  const std::uint64_t new_size = std::max(size_, offset + from.size());
  for (std::size_t done = 0; done < from.size();) {
    const std::uint64_t begin = align_down(offset + done, alignment_);
    const auto skip = static_cast<std::size_t>(offset + done - begin);
    const std::size_t length = std::min(from.size() - done, bounce.size() - skip);
    const std::span<std::byte> block = bounce.first(align_up(skip + length, alignment_));
    DOPPEL_CO_ASSIGN(const std::size_t got, co_await transfer(IoOperation::kRead, begin, block));
    std::fill(block.begin() + static_cast<std::ptrdiff_t>(got), block.end(), std::byte{0});
    from.slice(done, length).copy_to(block.data() + skip);
    DOPPEL_CO_TRY(co_await write_all(begin, block));
    done += length;
  }
  if (size_ > new_size) DOPPEL_CO_TRY(truncate(new_size));
  co_return Result<>{};
}

Task<Result<>> FileNode::write_zero_bytes(std::uint64_t offset, std::uint64_t length) {
  const AlignedBuffer zeroes(std::min<std::uint64_t>(length, kBounceSize), std::max(alignment_, kUsualDirectAlignment));
  if (zeroes.size() == 0) co_return fail(ErrorKind::kNoSpace, "no memory to write '{}'", path_);
  std::fill_n(zeroes.data(), zeroes.size(), std::byte{0});
  while (length > 0) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeroes.size()));
    DOPPEL_CO_TRY(co_await write(offset, zeroes.first(part)));
    offset += part;
    length -= part;
  }
  co_return Result<>{};
}

Task<Result<>> FileNode::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  if (length == 0) co_return Result<>{};
  if (device_ && (offset > size_ || length > size_ - offset)) co_return io_error(ENOSPC, "write", offset);
  if (offset + length > size_) DOPPEL_CO_TRY(truncate(offset + length));  // grows with a hole
  const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};
  for (const int mode : std::span(modes).subspan(unmap == Unmap::kMayUnmap ? 0 : 1)) {
    const int error = co_await allocate(mode, offset, length);
    if (error == 0) co_return Result<>{};
    if (error != EOPNOTSUPP && error != EINVAL && error != ENODEV) co_return io_error(error, "write zeroes to", offset);
  }
  co_return co_await write_zero_bytes(offset, length);
}

Task<Result<>> FileNode::discard(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_ || length == 0) co_return Result<>{};
  length = std::min(length, size_ - offset);
  const int error = co_await allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  // A hint: a host that cannot is no failure.
  if (error != 0 && error != EOPNOTSUPP && error != EINVAL && error != ENODEV)
    co_return io_error(error, "discard in", offset);
  co_return Result<>{};
}

Task<Result<>> FileNode::flush() {
  if (options_.skip_flush) co_return Result<>{};
  IoRequest request{.operation = IoOperation::kSyncData, .fd = fd_.get()};
  context_.engine(options_.engine).submit(request);
  const int result = co_await request.done;
  if (result < 0) co_return std::unexpected(Error::from_errno(-result, fmt::format("cannot flush '{}'", path_)));
  co_return Result<>{};
}

/// lseek(2) knows holes, without touching the disk.
Task<Result<BlockStatus>> FileNode::block_status(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_) co_return BlockStatus{.bytes = length, .allocated = true, .zero = true};
  length = std::min(length, size_ - offset);
  BlockStatus status{.bytes = length, .allocated = true, .data = true, .offset = offset};
  const auto begin = static_cast<off_t>(offset);
  const off_t data = ::lseek(fd_.get(), begin, SEEK_DATA);
  if (data < 0 && errno != ENXIO) co_return status;  // a file system without holes
  if (data == begin) {
    const off_t hole = ::lseek(fd_.get(), begin, SEEK_HOLE);
    if (hole > begin) status.bytes = std::min(length, static_cast<std::uint64_t>(hole - begin));
    co_return status;
  }
  if (data > begin) status.bytes = std::min(length, static_cast<std::uint64_t>(data - begin));
  status.data = false;
  status.zero = true;
  co_return status;
}

Result<> FileNode::truncate(std::uint64_t size) {
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
    return fail_errno("cannot resize '{}' to {} bytes", path_, size);
  size_ = size;
  return {};
}

Task<Result<>> FileNode::resize(std::uint64_t size, Preallocation preallocation) {
  if (device_) {
    if (size <= size_) co_return Result<>{};
    co_return fail(ErrorKind::kNoSpace, "'{}' is a device of {} bytes and cannot grow to {}", path_, size_, size);
  }
  const std::uint64_t old_size = size_;
  if (preallocation != Preallocation::kOff && size < old_size)
    co_return fail(ErrorKind::kInvalidArgument, "preallocation cannot be used for shrinking '{}'", path_);
  if (preallocation == Preallocation::kMetadata)
    co_return fail(ErrorKind::kUnsupported, "a raw file has no metadata to preallocate; use falloc or full");
  if (preallocation == Preallocation::kFull) co_return co_await write_zero_bytes(old_size, size - old_size);
  DOPPEL_CO_TRY(truncate(size));
  if (preallocation == Preallocation::kFalloc && size > 0) {
    const int error = co_await allocate(0, 0, size);
    if (error != 0) co_return io_error(error, "preallocate", old_size);
  }
  co_return Result<>{};
}

NodeInfo FileNode::info() const {
  NodeInfo info{.format = device_ ? "host_device" : "file", .filename = path_, .virtual_size = size_};
  struct stat file{};
  if (::fstat(fd_.get(), &file) == 0) info.disk_size = static_cast<std::uint64_t>(file.st_blocks) * 512;
  return info;
}

}  // namespace doppel::block
