#include "memory/region.h"

#include <algorithm>
#include <cassert>

#include "memory/address_space.h"

namespace doppel::memory {

Region::Region(Topology& topology, RegionKind kind, std::string name, std::uint64_t size)
    : topology_(topology), kind_(kind), name_(std::move(name)), size_(size) {}

Region::~Region() {
  if (children_.empty()) return;
  const Transaction transaction(topology_);
  for (const RegionPtr& child : children_) child->parent_ = nullptr;
}

void Region::add(const RegionPtr& child, std::uint64_t offset, int priority) {
  assert(kind_ == RegionKind::kContainer);
  const Transaction transaction(topology_);
  if (child->parent_ != nullptr) child->parent_->take_out(child);
  child->parent_ = this;
  child->offset_ = offset;
  child->priority_ = priority;
  const auto behind = std::ranges::find_if(children_, [&](const auto& other) { return other->priority_ <= priority; });
  children_.insert(behind, child);
  topology_.changed_ = true;
}

void Region::remove(const RegionPtr& child) {
  const Transaction transaction(topology_);
  if (child->parent_ == this) take_out(child);
}

void Region::take_out(const RegionPtr& child) {
  std::erase(children_, child);
  child->parent_ = nullptr;
  topology_.changed_ = true;
}

template <class T>
void Region::change(T& field, T value) {
  const Transaction transaction(topology_);
  if (field == value) return;
  field = value;
  topology_.changed_ = true;
}

void Region::set_enabled(bool enabled) {
  change(enabled_, enabled);
}

void Region::set_offset(std::uint64_t offset) {
  change(offset_, offset);
}

void Region::set_size(std::uint64_t size) {
  change(size_, ram_ != nullptr ? std::min(size, ram_->size() - ram_offset_) : size);
}

void Region::set_read_only(bool read_only) {
  change(read_only_, read_only);
}

void Region::set_rom_readable(bool readable) {
  change(rom_readable_, readable);
}

void Region::set_alias_offset(std::uint64_t target_offset) {
  change(alias_offset_, target_offset);
}

RegionPtr Topology::container(std::string name, std::uint64_t size) {
  return RegionPtr(new Region(*this, RegionKind::kContainer, std::move(name), size));
}

RegionPtr Topology::make_ram(RegionKind kind, std::string name, std::shared_ptr<RamBlock> block,
                             std::uint64_t block_offset, std::uint64_t size) {
  block_offset = std::min(block_offset, block->size());
  size = std::min(size, block->size() - block_offset);
  RegionPtr region(new Region(*this, kind, std::move(name), size));
  region->ram_ = std::move(block);
  region->ram_offset_ = block_offset;
  return region;
}

RegionPtr Topology::ram(std::string name, std::shared_ptr<RamBlock> block, std::uint64_t block_offset,
                        std::uint64_t size) {
  return make_ram(RegionKind::kRam, std::move(name), std::move(block), block_offset, size);
}

RegionPtr Topology::rom(std::string name, std::shared_ptr<RamBlock> block, std::uint64_t block_offset,
                        std::uint64_t size) {
  return make_ram(RegionKind::kRom, std::move(name), std::move(block), block_offset, size);
}

RegionPtr Topology::rom_device(std::string name, std::shared_ptr<RamBlock> block, IoHandler& handler) {
  const std::uint64_t size = block->size();
  RegionPtr region = make_ram(RegionKind::kRomDevice, std::move(name), std::move(block), 0, size);
  region->handler_ = &handler;
  return region;
}

RegionPtr Topology::io(std::string name, std::uint64_t size, IoHandler& handler, IoSizes sizes) {
  RegionPtr region(new Region(*this, RegionKind::kIo, std::move(name), size));
  region->handler_ = &handler;
  region->io_sizes_ = sizes;
  return region;
}

RegionPtr Topology::alias(std::string name, RegionPtr target, std::uint64_t target_offset, std::uint64_t size) {
  RegionPtr region(new Region(*this, RegionKind::kAlias, std::move(name), size));
  region->alias_target_ = std::move(target);
  region->alias_offset_ = target_offset;
  return region;
}

void Topology::begin() {
  mutex_.lock();
  ++depth_;
}

void Topology::end() {
  // A listener may change regions again: that is another round, not a nested one.
  while (depth_ == 1 && changed_) {
    changed_ = false;
    for (std::size_t i = 0; i < spaces_.size(); ++i) spaces_[i]->rebuild();
  }
  --depth_;
  mutex_.unlock();
}

}  // namespace doppel::memory
