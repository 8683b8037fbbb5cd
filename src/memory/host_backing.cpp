// The files that memory comes from: memfd, hugetlbfs, ordinary files.
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>

#include "base/bits.h"
#include "base/text.h"
#include "memory/address.h"
#include "memory/host_mapping.h"

namespace doppel::memory {

namespace {

/// "WHAT for memory 'NAME': the host's reason; what to write instead".
std::unexpected<Error> fail_hinting(int code, const RamOptions& options, std::string_view what, std::string_view hint) {
  const Error reason = Error::from_errno(code, fmt::format("{} for memory '{}'", what, options.name));
  return fail(reason.kind(), "{}; {}", reason.message(), hint);
}

std::string_view path_hint(int code) {
  switch (code) {
    case ENOENT:
    case ENOTDIR: return "give a file in a directory that exists, or such a directory";
    case EACCES:
    case EPERM:
    case EROFS: return "give a file or directory that this user may write to";
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return "give a path with more room, or a smaller size";
    default: return "give the path of an ordinary file, or of a directory to make one in";
  }
}

std::uint64_t page_size_of(int fd) {
  struct statfs info{};
  if (::fstatfs(fd, &info) == 0 && info.f_type == HUGETLBFS_MAGIC) return static_cast<std::uint64_t>(info.f_bsize);
  return kPageSize;
}

Result<> check_page_multiple(const RamOptions& options, std::uint64_t page_size) {
  if (page_size > kPageSize && !is_aligned(options.size, page_size))
    return fail(ErrorKind::kInvalidArgument,
                "the size of memory '{}', {}, is no multiple of its {} huge pages; write {}M", options.name,
                format_size(options.size), format_size(page_size), align_up(options.size, page_size) / kMiB);
  if (!is_aligned(options.file_offset, page_size))
    return fail(ErrorKind::kInvalidArgument,
                "the file offset of memory '{}', {}, is no multiple of the page size; write {}", options.name,
                options.file_offset, align_down(options.file_offset, page_size));
  return {};
}

Result<Backing> open_memfd(const RamOptions& options) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  if (options.hugetlb) {
    flags |= MFD_HUGETLB;
    if (options.huge_page_size != 0) {
      if (!std::has_single_bit(options.huge_page_size))
        return fail(ErrorKind::kInvalidArgument, "memory '{}': there are no huge pages of {} bytes; write 2M or 1G",
                    options.name, options.huge_page_size);
      flags |= static_cast<unsigned>(std::countr_zero(options.huge_page_size)) << MFD_HUGE_SHIFT;
    }
  }
  Backing backing{.fd = UniqueFd(::memfd_create(options.name.c_str(), flags))};
  if (!backing.fd.valid())
    return fail_hinting(errno, options, "cannot create a memfd",
                        options.hugetlb ? "use a huge page size that this host has (2M or 1G), or leave out hugetlb=on"
                                        : "use anonymous memory (memory-backend-ram)");
  backing.page_size = page_size_of(backing.fd.get());
  DOPPEL_TRY(check_page_multiple(options, backing.page_size));
  if (::ftruncate(backing.fd.get(), static_cast<off_t>(options.file_offset + options.size)) != 0)
    return fail_hinting(errno, options, fmt::format("cannot get {}", format_size(options.size)), "give a smaller size");
  // Whoever gets the descriptor (vhost-user) cannot shrink it under us. Harmless where it cannot be done.
  ::fcntl(backing.fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return backing;
}

/// A file without a name in DIRECTORY.
Result<UniqueFd> open_temporary(const RamOptions& options) {
  std::string name = options.name;
  std::ranges::replace(name, '/', '_');
  std::string path = fmt::format("{}/doppel-{}-XXXXXX", options.path, name);
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd.valid())
    return fail_hinting(errno, options, fmt::format("cannot make a file in '{}'", options.path), path_hint(errno));
  ::unlink(path.c_str());
  return fd;
}

Result<UniqueFd> open_path(const RamOptions& options) {
  struct stat info{};
  if (::stat(options.path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return open_temporary(options);
  const int flags = options.read_only ? O_RDONLY : O_RDWR | O_CREAT;
  UniqueFd fd(::open(options.path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_hinting(errno, options, fmt::format("cannot open '{}'", options.path), path_hint(errno));
  return fd;
}

/// An ordinary file is made long enough; a device keeps the size it has.
Result<> grow(const RamOptions& options, int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return fail_hinting(errno, options, "cannot look at the file", path_hint(errno));
  const std::uint64_t needed = options.file_offset + options.size;
  if (!S_ISREG(info.st_mode) || static_cast<std::uint64_t>(info.st_size) >= needed) return {};
  if (options.read_only)
    return fail(ErrorKind::kInvalidArgument,
                "the file '{}' holds {} bytes, memory '{}' needs {}; give a smaller size, or readonly=off",
                options.path, info.st_size, options.name, needed);
  if (::ftruncate(fd, static_cast<off_t>(needed)) != 0)
    return fail_hinting(errno, options, fmt::format("cannot grow '{}' to {}", options.path, format_size(needed)),
                        path_hint(errno));
  return {};
}

Result<Backing> open_file(const RamOptions& options) {
  if (options.path.empty())
    return fail(ErrorKind::kInvalidArgument, "memory '{}' has no path; give a file, or a directory to make one in",
                options.name);
  Backing backing;
  DOPPEL_ASSIGN(backing.fd, open_path(options));
  backing.page_size = page_size_of(backing.fd.get());
  DOPPEL_TRY(check_page_multiple(options, backing.page_size));
  DOPPEL_TRY(grow(options, backing.fd.get()));
  return backing;
}

}  // namespace

Result<Backing> open_backing(const RamOptions& options) {
  switch (options.kind) {
    case RamKind::kAnonymous: return Backing{.fd = UniqueFd(), .page_size = kPageSize};
    case RamKind::kMemfd: return open_memfd(options);
    case RamKind::kFile: return open_file(options);
  }
  return fail(ErrorKind::kInternal, "memory '{}' is of no known kind", options.name);
}

Result<std::byte*> map_backing(const RamOptions& options, const Backing& backing) {
  const std::uint64_t alignment = std::max(backing.page_size, options.size >= 2 * kMiB ? 2 * kMiB : kPageSize);
  const std::uint64_t size = align_up(options.size, backing.page_size);
  const auto fail_map = [&](int code) {
    if (options.kind == RamKind::kFile && code == ENODEV)
      return fail_hinting(code, options, fmt::format("cannot map '{}'", options.path), "give a file or a directory");
    return fail_hinting(code, options, fmt::format("cannot map {}", format_size(size)),
                        backing.page_size > kPageSize
                            ? "reserve enough huge pages in /proc/sys/vm/nr_hugepages, or do without them"
                            : "give a smaller size");
  };
  // More address space than needed, of which the unaligned ends are given back.
  const std::uint64_t reserved = size + alignment;
  void* const area = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) return fail_map(errno);
  auto* const start = static_cast<std::byte*>(area);
  const std::uint64_t lead =
      align_up(reinterpret_cast<std::uintptr_t>(start), alignment) - reinterpret_cast<std::uintptr_t>(start);

  int flags = MAP_FIXED | (options.shared ? MAP_SHARED : MAP_PRIVATE);
  if (!backing.fd.valid()) flags |= MAP_ANONYMOUS | MAP_NORESERVE;
  const int protection = options.read_only ? PROT_READ : PROT_READ | PROT_WRITE;
  if (::mmap(start + lead, size, protection, flags, backing.fd.get(), static_cast<off_t>(options.file_offset)) ==
      MAP_FAILED) {
    const int code = errno;
    ::munmap(area, reserved);
    return fail_map(code);
  }
  if (lead > 0) ::munmap(start, lead);
  if (lead < alignment) ::munmap(start + lead + size, alignment - lead);
  return start + lead;
}

}  // namespace doppel::memory
