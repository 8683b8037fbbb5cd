#include "memory/dma.h"

#include <algorithm>
#include <cstring>

namespace doppel::memory {

namespace {

std::unexpected<Error> not_ram(const AddressSpace& space, GuestPhysAddr address, bool writing) {
  return fail(ErrorKind::kOutOfRange, "there is no {}memory at {} of {}", writing ? "writable " : "", address,
              space.name());
}

}  // namespace

Result<> DmaSpace::read(GuestPhysAddr address, std::span<std::byte> out) const {
  const auto view = space_->view();
  while (!out.empty()) {
    const FlatRange* range = view->find(address);
    if (range == nullptr || !range->readable_ram) return not_ram(*space_, address, false);
    const std::uint64_t offset = address - range->start;
    const std::uint64_t step = std::min<std::uint64_t>(out.size(), range->size - offset);
    std::memcpy(out.data(), range->host() + offset, step);
    out = out.subspan(step);
    address += step;
  }
  return {};
}

Result<> DmaSpace::write(GuestPhysAddr address, std::span<const std::byte> data) const {
  const auto view = space_->view();
  while (!data.empty()) {
    const FlatRange* range = view->find(address);
    if (range == nullptr || !range->writable_ram) return not_ram(*space_, address, true);
    const std::uint64_t offset = address - range->start;
    const std::uint64_t step = std::min<std::uint64_t>(data.size(), range->size - offset);
    std::memcpy(range->host() + offset, data.data(), step);
    range->region->ram()->dirty().mark(range->ram_offset() + offset, step);
    data = data.subspan(step);
    address += step;
  }
  return {};
}

Result<DmaSpace::Mapping> DmaSpace::map(GuestPhysAddr address, std::uint64_t length, Access access) const {
  const bool writing = access == Access::kWrite;
  if (length == 0)
    return fail(ErrorKind::kInvalidArgument, "a mapping of no bytes at {} of {}", address, space_->name());
  const auto view = space_->view();
  const FlatRange* range = view->find(address);
  if (range == nullptr || !(writing ? range->writable_ram : range->readable_ram))
    return not_ram(*space_, address, writing);
  const std::uint64_t offset = address - range->start;
  if (length > range->size - offset) return not_ram(*space_, range->end(), writing);
  return Mapping{.bytes = {range->host() + offset, static_cast<std::size_t>(length)},
                 .keep = range->region->ram(),
                 .block_offset = range->ram_offset() + offset};
}

Result<> DmaMappings::add(const DmaSpace& memory, GuestPhysAddr address, std::uint64_t length,
                          DmaSpace::Access access) {
  DOPPEL_ASSIGN(auto run, memory.map(address, length, access));
  runs_.push_back(std::move(run));
  return {};
}

std::vector<iovec> DmaMappings::pieces() const {
  std::vector<iovec> pieces;
  pieces.reserve(runs_.size());
  for (const auto& run : runs_) {
    if (!pieces.empty() && static_cast<std::byte*>(pieces.back().iov_base) + pieces.back().iov_len == run.bytes.data())
      pieces.back().iov_len += run.bytes.size();
    else
      pieces.push_back({.iov_base = run.bytes.data(), .iov_len = run.bytes.size()});
  }
  return pieces;
}

void DmaMappings::mark_dirty() const {
  for (const auto& run : runs_) run.mark_dirty();
}

}  // namespace doppel::memory
