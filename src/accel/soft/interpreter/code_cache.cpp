#include "accel/soft/interpreter/code_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/paging.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kPage = x86::kPageSize;
constexpr std::size_t kMostBytes = Block::kMostBytes;
constexpr unsigned kModeShift = 4;  // in a context's id
constexpr unsigned kModeMask = 0xf;

std::uint64_t offset_in_page(std::uint64_t address) {
  return address % kPage;
}

Block::Source source_of(const FetchTarget& target) {
  return {.slot = target.slot, .gpa = target.gpa, .version = target.version};
}

/// The SIZE code bytes behind TARGET, which stay in its page.
void copy_code(Cpu& cpu, const FetchTarget& target, std::size_t size, std::uint8_t* out) {
  if (target.host != nullptr) {
    std::memcpy(out, target.host, size);
    return;
  }
  // Code outside of RAM: as the bus gives it, which for us is nothing but ones where it is no ROM either.
  if (!read_physical(cpu, target.gpa, std::as_writable_bytes(std::span(out, size)))) std::memset(out, 0xff, size);
}

}  // namespace

/// The bytes at a linear address that one block may be made from.
struct CodeCache::Fetched {
  std::uint64_t linear = 0;
  FetchTarget first;
  std::uint32_t generation = 0;  // of the TLB, when FIRST was found
  Block::Source first_source;
  std::array<std::uint8_t, kMostBytes> bytes;
  std::size_t in_page = 0;  // bytes of the first page
  std::size_t fetched = 0;  // of them
};

CodeCache::CodeCache(Cpu& cpu, NativeStubs& stubs) : cpu_(cpu), stubs_(stubs) {
  decoded_.reserve(kMostDecoded);
  reset();
}

void CodeCache::reset() {
  decoder_ = std::make_unique<Decoder>(cpu_.features, stubs_);
  blocks_.clear();
  holders_.clear();
  decoded_.clear();
  std::ranges::fill(quick_, Quick{});
}

CodeCache::Context CodeCache::context() const {
  const bool is_long = cpu_.code_mode == CodeMode::kLong64;
  return {.id = std::uint64_t{cpu_.tlb.generation()} << 8U | static_cast<std::uint64_t>(cpu_.code_mode) << kModeShift |
                static_cast<std::uint64_t>(cpu_.mmu_index),
          .base = is_long ? 0 : cpu_.segment[x86::kCs].base,
          .linear_mask = is_long ? ~std::uint64_t{0} : 0xffff'ffffU,
          .mode = cpu_.code_mode};
}

const Block& CodeCache::look_up(std::uint64_t linear, Quick& quick, const Context& context) {
  ++statistics_.lookups;
  if (cpu_.code_mode == CodeMode::kLong64) {
    if (!x86::is_canonical(linear, cpu_.linear_bits())) raise_gp();
  } else if (cpu_.rip > cpu_.segment[x86::kCs].limit) {
    raise_gp();
  }
  const bool same_mode = static_cast<CodeMode>(quick.context >> kModeShift & kModeMask) == context.mode;
  if (quick.block != nullptr && quick.linear == linear && same_mode && is_still_at(*quick.block, linear)) {
    quick.context = context.id;
    return *quick.block;
  }
  quick.block = nullptr;
  const Block& block = find(linear);
  quick = {.linear = linear, .context = context.id, .block = &block};
  return block;
}

const Block& CodeCache::find(std::uint64_t linear) {
  Fetched from;
  from.linear = linear;
  from.first = fetch_page(cpu_, linear);
  if (from.first.slot != nullptr) from.first.slot->take_host_write(from.first.gpa);
  Block* place = blocks_.find(from.first.gpa, cpu_.code_mode);
  if (place != nullptr && place->is_current() && (!place->crosses() || is_second_page_there(*place, linear)))
    return *place;
  // May wait for other vCPUs, after which the address may lead elsewhere.
  from.first = fetch_code(cpu_, linear);
  from.generation = cpu_.tlb.generation();
  place = blocks_.find(from.first.gpa, cpu_.code_mode);
  from.first_source = source_of(from.first);
  from.in_page = kPage - offset_in_page(linear);
  if (place != nullptr && verify(*place, from)) {
    ++statistics_.verified;
    return *place;
  }
  from.fetched = std::min(from.in_page, kMostBytes);
  copy_code(cpu_, from.first, from.fetched, from.bytes.data());
  if (is_full()) make_room();
  auto fresh = std::make_unique<Block>();
  decode(*fresh, from);
  // The old one may be what ran last: RIP is looked up between blocks only, so nothing refers to it any more. But the
  // quick table may, by other linear addresses.
  place = blocks_.find(from.first.gpa, cpu_.code_mode);
  const std::size_t begin = decoded_.size() - fresh->size;
  if (place != nullptr) {
    fresh->next = place->next;
    *place = std::move(*fresh);
  } else {
    place = &blocks_.add(std::move(fresh));
  }
  keep_instructions(*place, begin);
  ++statistics_.decoded;
  return *place;
}

/// What has translations stays, and the memory for those is limited. Where there are more instructions than stubs can
/// be made for, everything goes.
void CodeCache::make_room() {
  std::ranges::fill(quick_, Quick{});
  if (stubs_.wants_clear()) {
    holders_.clear();
    decoded_.clear();
    blocks_.clear();
    stubs_.clear();
  }
  const auto is_idle = [](const Block& block) { return block.translations == nullptr || block.translations->empty(); };
  std::erase_if(holders_, [&](const Block* block) { return is_idle(*block); });
  blocks_.erase_if(is_idle);
  most_blocks_ = std::max(kEnoughBlocks, blocks_.size() + kEnoughBlocks / 2);
}

bool CodeCache::is_full() const {
  return blocks_.size() >= most_blocks_ || stubs_.wants_clear();
}

const Block* CodeCache::known_beside(const Block& block, std::uint64_t linear) const {
  const std::uint64_t page = block.first.gpa - offset_in_page(block.first.gpa);
  const Block* const found = blocks_.find(page + offset_in_page(linear), block.mode);
  return found != nullptr && found->first.slot == block.first.slot && found->is_current() ? found : nullptr;
}

/// Do the tables still lead from LINEAR to where BLOCK, which was there once, was made from?
bool CodeCache::is_still_at(const Block& block, std::uint64_t linear) const {
  if (!block.is_current()) return false;
  const FetchTarget first = fetch_page(cpu_, linear);
  return first.slot != nullptr && first.slot == block.first.slot && first.gpa == block.first.gpa &&
         (!block.crosses() || is_second_page_there(block, linear));
}

/// A block over two pages depends on where the second one is mapped now.
bool CodeCache::is_second_page_there(const Block& block, std::uint64_t linear) const {
  const std::uint64_t next = (linear & ~(kPage - 1)) + kPage;
  const FetchTarget second = fetch_page(cpu_, cpu_.code_mode == CodeMode::kLong64 ? next : next & 0xffff'ffffU);
  return second.slot != nullptr && second.slot == block.second().slot && second.gpa == block.second().gpa;
}

bool CodeCache::verify(Block& block, const Fetched& from) const {
  if (block.crosses() || from.first.slot == nullptr || block.bytes > from.in_page) return false;
  if (std::memcmp(block.image.get(), from.first.host, block.bytes) != 0) return false;
  block.first = from.first_source;
  return true;
}

/// The instructions become the last of DECODED_.
void CodeCache::decode(Block& block, const Fetched& from) {
  make_room_for_instructions(longest_block_);
  const std::size_t begin = decoded_.size();
  block.first = from.first_source;
  block.mode = cpu_.code_mode;
  std::span<const std::uint8_t> code(from.bytes);
  std::array<std::uint8_t, 2 * kLongestInstruction> bytes{};
  std::size_t at = 0;
  while (at < from.fetched && decoded_.size() < begin + longest_block_) {
    Instruction instruction;
    const std::span<const std::uint8_t> rest(from.bytes.data() + at, from.fetched - at);
    if (decoder_->decode(rest, cpu_.code_mode, instruction) == DecodeStatus::kTooShort) break;
    decoded_.push_back(instruction);
    at += instruction.length;
    if (instruction.ends_block) break;
  }
  if (decoded_.size() == begin) {
    // The first instruction reaches into the next page. Whether that page may be fetched from matters only now.
    std::copy_n(from.bytes.begin(), from.in_page, bytes.begin());
    const std::uint64_t next = (from.linear & ~(kPage - 1)) + kPage;
    const FetchTarget second = fetch_code(cpu_, cpu_.code_mode == CodeMode::kLong64 ? next : next & 0xffff'ffffU);
    block.crosses_page = true;
    block.with_rare().second = source_of(second);
    // Slots may have changed while other vCPUs were waited for: then good for once, as code outside of RAM is.
    if (cpu_.tlb.generation() != from.generation) block.first.slot = nullptr;
    copy_code(cpu_, second, kLongestInstruction, bytes.data() + from.in_page);
    Instruction instruction;
    (void)decoder_->decode(std::span(bytes).first(from.in_page + kLongestInstruction), cpu_.code_mode, instruction);
    instruction.ends_block = true;
    decoded_.push_back(instruction);
    at = instruction.length;
    code = bytes;
  }
  block.size = static_cast<std::uint16_t>(decoded_.size() - begin);
  block.bytes = static_cast<std::uint16_t>(at);
  if (Decoder::only_faults(decoded_.back())) {
    const std::size_t available = block.crosses() ? from.in_page + kLongestInstruction : from.fetched;
    block.beyond = static_cast<std::uint8_t>(std::min<std::size_t>(available - at, kLongestInstruction));
  }
  const auto image = code.first(at + block.beyond);
  block.image = std::make_unique_for_overwrite<std::uint8_t[]>(image.size());
  std::ranges::copy(image, block.image.get());
}

/// The bytes are what they were, and so is what is made of them.
void CodeCache::decode_again(const Block& block) {
  ++statistics_.again;
  make_room_for_instructions(block.size);
  const std::size_t begin = decoded_.size();
  const std::span<const std::uint8_t> bytes(block.image.get(), block.bytes + std::size_t{block.beyond});
  std::size_t at = 0;
  for (unsigned n = 0; n < block.size; ++n) {
    Instruction& instruction = decoded_.emplace_back();
    (void)decoder_->decode(bytes.subspan(at), block.mode, instruction);
    at += instruction.length;
  }
  if (block.crosses()) decoded_.back().ends_block = true;
  keep_instructions(block, begin);
}

/// Of COUNT. Where there is none, all blocks lose theirs: those that are run before they are translated, and they are
/// few at any time, are decoded once more.
void CodeCache::make_room_for_instructions(std::size_t count) {
  if (decoded_.size() + count <= kMostDecoded) return;
  for (const Block* block : holders_) block->decoded = nullptr;
  holders_.clear();
  decoded_.clear();
}

/// BLOCK's are from BEGIN on in DECODED_.
void CodeCache::keep_instructions(const Block& block, std::size_t begin) {
  block.decoded = decoded_.data() + begin;
  holders_.push_back(&block);
}

}  // namespace doppel::accel::soft
