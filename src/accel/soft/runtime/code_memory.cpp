#include "accel/soft/runtime/code_memory.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

constexpr std::size_t kAlignment = 16;  // bytes, of each piece
constexpr std::size_t kLead = 16;       // stay unused: a sanitizer looks in front of the functions that are called

/// SIZE bytes of address space that begin where a huge page may.
void* reserve_aligned(std::size_t size) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const all = ::mmap(nullptr, size + CodeMemory::kHugePage, PROT_NONE, kFlags, -1, 0);
  if (all == MAP_FAILED) return all;
  const auto begin = reinterpret_cast<std::uintptr_t>(all);
  const std::uintptr_t aligned = align_up(begin, std::uintptr_t{CodeMemory::kHugePage});
  if (aligned != begin) ::munmap(all, aligned - begin);
  const std::uintptr_t end = aligned + size;
  if (end != begin + size + CodeMemory::kHugePage)
    ::munmap(reinterpret_cast<void*>(end), begin + size + CodeMemory::kHugePage - end);
  return reinterpret_cast<void*>(aligned);
}

}  // namespace

void serialize_code() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __cpuid(0, eax, ebx, ecx, edx);
}

Result<CodeMemory> CodeMemory::create(std::size_t capacity) {
  CodeMemory memory;
  memory.capacity_ = capacity;
  // Not of a memfd: perf looks for names of generated code (-perfmap) only in memory that is no file's.
  void* const writable =
      ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (writable == MAP_FAILED) return fail_errno("map memory for generated code");
  memory.writable_ = static_cast<std::byte*>(writable);
  // From a size of 0 the same pages are mapped once more, where they can be huge ones.
  void* const place = reserve_aligned(capacity);
  if (place == MAP_FAILED) return fail_errno("find room for generated code");
  void* const executable = ::mremap(writable, 0, capacity, MREMAP_MAYMOVE | MREMAP_FIXED, place);
  if (executable == MAP_FAILED) return fail_errno("map memory for generated code again");
  memory.executable_ = static_cast<std::byte*>(executable);
  if (::mprotect(executable, capacity, PROT_READ | PROT_EXEC) != 0) return fail_errno("make generated code executable");
  return memory;
}

CodeMemory::~CodeMemory() {
  if (writable_ != nullptr) ::munmap(writable_, capacity_);
  if (executable_ != nullptr) ::munmap(executable_, capacity_);
}

const std::byte* CodeMemory::append(std::span<const std::uint8_t> code) {
  const std::size_t at = align_up(std::max(used_, kLead), kAlignment);
  if (at > capacity_ || code.size() > capacity_ - at) return nullptr;
  std::memcpy(writable_ + at, code.data(), code.size());
  used_ = at + code.size();
  return executable_ + at;
}

void CodeMemory::use_huge_page(std::size_t at) const {
  constexpr int kCollapse = 25;  // MADV_COLLAPSE, which Linux 6.1 brought
  if (at + kHugePage <= capacity_) ::madvise(executable_ + at, kHugePage, kCollapse);
}

void CodeMemory::clear() {
  used_ = 0;
  serialize_code();
}

}  // namespace doppel::accel::soft
