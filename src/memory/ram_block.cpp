#include "memory/ram_block.h"

#include <linux/prctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/bits.h"
#include "base/text.h"
#include "memory/address.h"
#include "memory/host_mapping.h"

namespace doppel::memory {

namespace {

/// Wishes: a kernel that lacks one of them runs the guest all the same.
void advise(const RamOptions& options, std::span<std::byte> bytes) {
  if (options.kind == RamKind::kAnonymous && options.size >= 2 * kMiB)
    ::madvise(bytes.data(), bytes.size(), MADV_HUGEPAGE);
  if (options.merge) ::madvise(bytes.data(), bytes.size(), MADV_MERGEABLE);
  if (!options.dump) ::madvise(bytes.data(), bytes.size(), MADV_DONTDUMP);
  if (options.kind == RamKind::kAnonymous)
    ::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, bytes.data(), bytes.size(), options.name.c_str());
}

}  // namespace

Result<std::shared_ptr<RamBlock>> RamBlock::create(RamOptions options) {
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 52U;  // x86's physical address space
  if (options.size == 0)
    return fail(ErrorKind::kInvalidArgument, "memory '{}' has no size; write one such as 512M", options.name);
  if (options.size > kMostBytes || options.file_offset > kMostBytes)
    return fail(ErrorKind::kOutOfRange, "memory '{}' is larger than any PC can address; write at most 4P",
                options.name);
  DOPPEL_ASSIGN(Backing backing, open_backing(options));
  DOPPEL_ASSIGN(std::byte* const host, map_backing(options, backing));
  std::shared_ptr<RamBlock> block(new RamBlock(std::move(options), std::move(backing.fd), host, backing.page_size));

  const std::span<std::byte> mapped(host, block->mapped_size());
  DOPPEL_TRY(bind_to_nodes(block->options_, mapped));
  advise(block->options_, mapped);
  if (block->options_.prealloc) DOPPEL_TRY(preallocate(block->options_, mapped, block->page_size_));
  return block;
}

RamBlock::RamBlock(RamOptions options, UniqueFd fd, std::byte* host, std::uint64_t page_size)
    : options_(std::move(options)), fd_(std::move(fd)), host_(host), page_size_(page_size), dirty_(options_.size) {}

RamBlock::~RamBlock() {
  if (options_.discard_data && options_.shared) ::madvise(host_, mapped_size(), MADV_REMOVE);
  ::munmap(host_, mapped_size());
}

std::uint64_t RamBlock::mapped_size() const {
  return align_up(options_.size, page_size_);
}

}  // namespace doppel::memory
