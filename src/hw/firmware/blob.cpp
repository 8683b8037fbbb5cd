#include "hw/firmware/blob.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "base/unique_fd.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kLeastMapped = 1U << 20U;  // what is smaller may as well be read

Result<Blob> map_blob(const UniqueFd& fd, const std::string& path, std::size_t size) {
  void* const begin = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (begin == MAP_FAILED) return fail_errno("cannot map '{}'", path);
  const std::shared_ptr<const void> owner(begin, [size](void* mapping) { ::munmap(mapping, size); });
  return Blob(owner, {static_cast<const std::byte*>(begin), size});
}

}  // namespace

Blob Blob::slice(std::uint64_t offset, std::uint64_t length) const {
  Blob part = *this;
  const std::uint64_t start = std::min<std::uint64_t>(offset, view_.size());
  part.view_ = view_.subspan(start, std::min<std::uint64_t>(length, view_.size() - start));
  return part;
}

bool Blob::has_text(std::uint64_t offset, std::string_view text) const {
  return offset <= view_.size() && view_.size() - offset >= text.size() &&
         std::memcmp(view_.data() + offset, text.data(), text.size()) == 0;
}

void Blob::rest() const {
  if (!is_mapped_) return;
  // Of the view's pages those at its ends may be somebody else's, too, who reads them again then.
  static const auto kPage = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(view_.data()) / kPage * kPage;
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(view_.data()) + view_.size();
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<Blob> read_blob(const std::string& path, std::uint64_t max_size) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return fail_errno("cannot open '{}'", path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno("cannot examine '{}'", path);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::kInvalidArgument, "'{}' is not a regular file", path);
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > max_size)
    return fail(ErrorKind::kInvalidArgument, "'{}' is too large: {}, and at most {} make sense", path,
                format_size(size), format_size(max_size));
  if (size >= kLeastMapped) return map_blob(fd, path, size);
  Bytes bytes(size);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(fd.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("cannot read '{}'", path);
    if (got == 0) return fail(ErrorKind::kIo, "'{}' shrank while it was read", path);
    done += static_cast<std::size_t>(got);
  }
  return Blob(std::move(bytes));
}

Bytes text_bytes(std::string_view text, Terminator terminator) {
  Bytes bytes(text.size() + (terminator == Terminator::kZero ? 1 : 0));
  std::ranges::copy(std::as_bytes(std::span(text)), bytes.begin());
  return bytes;
}

ByteWriter& ByteWriter::zeros(std::size_t count) {
  bytes_.resize(bytes_.size() + count);
  return *this;
}

ByteWriter& ByteWriter::bytes(std::span<const std::byte> bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

ByteWriter& ByteWriter::text(std::string_view text, std::size_t width, char fill) {
  for (std::size_t i = 0; i < width; ++i) bytes_.push_back(static_cast<std::byte>(i < text.size() ? text[i] : fill));
  return *this;
}

std::uint8_t checksum_of(std::span<const std::byte> bytes) {
  unsigned sum = 0;
  for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
  return static_cast<std::uint8_t>(0U - sum);
}

}  // namespace doppel::hw
