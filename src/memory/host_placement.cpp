// Where the pages of guest memory come from, and when: NUMA nodes and preallocation.
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/bits.h"
#include "base/text.h"
#include "memory/address.h"
#include "memory/host_mapping.h"

namespace doppel::memory {

namespace {

constexpr unsigned kMaxNodes = 1024;  // the kernel's own limit (CONFIG_NODES_SHIFT)
constexpr unsigned kMaxThreads = 256;

unsigned long mode_of(NumaPolicy policy) {
  switch (policy) {
    case NumaPolicy::kDefault: return MPOL_DEFAULT;
    case NumaPolicy::kPreferred: return MPOL_PREFERRED;
    case NumaPolicy::kBind: return MPOL_BIND;
    case NumaPolicy::kInterleave: return MPOL_INTERLEAVE;
  }
  return MPOL_DEFAULT;
}

/// 0 or an errno value.
int populate(std::span<std::byte> bytes, bool read_only) {
  while (::madvise(bytes.data(), bytes.size(), read_only ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) != 0) {
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
  return 0;
}

int populate_or_touch(std::span<std::byte> bytes, std::uint64_t page_size, bool read_only) {
  const int code = populate(bytes, read_only);
  return code == EINVAL && !read_only ? detail::touch_pages(bytes, page_size) : code;
}

}  // namespace

Result<> bind_to_nodes(const RamOptions& options, std::span<std::byte> bytes) {
  if (options.policy == NumaPolicy::kDefault) {
    if (options.host_nodes.empty()) return {};
    return fail(ErrorKind::kInvalidArgument,
                "memory '{}' names host nodes but no policy; add policy=bind, preferred or interleave", options.name);
  }
  if (options.host_nodes.empty())
    return fail(ErrorKind::kInvalidArgument,
                "memory '{}' has a NUMA policy but no nodes; add host-nodes=0, for example", options.name);
  constexpr unsigned kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kMaxNodes / kBits] = {};
  for (const unsigned node : options.host_nodes) {
    if (node >= kMaxNodes)
      return fail(ErrorKind::kOutOfRange, "memory '{}': host node {} is too high; the highest is {}", options.name,
                  node, kMaxNodes - 1);
    mask[node / kBits] |= 1UL << (node % kBits);
  }
  // The kernel reads one bit less than it is told.
  if (::syscall(SYS_mbind, bytes.data(), bytes.size(), mode_of(options.policy), mask, kMaxNodes + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) == 0)
    return {};
  const Error reason =
      Error::from_errno(errno, fmt::format("cannot place memory '{}' on its host nodes", options.name));
  return fail(reason.kind(), "{}; give nodes that 'ls /sys/devices/system/node' shows, or leave out host-nodes",
              reason.message());
}

Result<> preallocate(const RamOptions& options, std::span<std::byte> bytes, std::uint64_t page_size) {
  const std::uint64_t pages = (bytes.size() + page_size - 1) / page_size;
  const std::uint64_t threads = std::min<std::uint64_t>(std::clamp(options.prealloc_threads, 1U, kMaxThreads), pages);
  const std::uint64_t share = (pages + threads - 1) / threads * page_size;
  std::atomic<int> code{0};
  const auto work = [&](std::uint64_t start) {
    if (start >= bytes.size()) return;
    const int result =
        populate_or_touch(bytes.subspan(start, std::min(share, bytes.size() - start)), page_size, options.read_only);
    if (result != 0) code = result;
  };
  {
    std::vector<std::jthread> helpers;
    for (std::uint64_t i = 1; i < threads; ++i) helpers.emplace_back(work, i * share);
    work(0);
  }
  if (code == 0) return {};
  // The kernel tells a full tmpfs or an empty pool of huge pages as EFAULT.
  return fail(ErrorKind::kNoSpace,
              "the host cannot give memory '{}' all of its {} now{}; give a smaller size, or leave out prealloc=on",
              options.name, format_size(options.size), page_size > kPageSize ? ": too few huge pages are free" : "");
}

int detail::touch_pages(std::span<std::byte> bytes, std::uint64_t page_size) {
  // One byte of each page goes through a pipe and back: the kernel, not we, runs into the page that cannot be had.
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  for (std::uint64_t offset = 0; offset < bytes.size(); offset += page_size) {
    if (::write(writer.get(), &bytes[offset], 1) != 1) return errno;
    if (::read(reader.get(), &bytes[offset], 1) != 1) return errno;
  }
  return 0;
}

}  // namespace doppel::memory
