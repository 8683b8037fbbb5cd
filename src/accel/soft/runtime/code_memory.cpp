#include "accel/soft/runtime/code_memory.h"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/unique_fd.h"

namespace doppel::accel::soft {

namespace {

constexpr std::size_t kAlignment = 16;  // bytes, of each piece
constexpr std::size_t kLead = 16;       // stay unused: a sanitizer looks in front of the functions that are called

Result<std::byte*> map(int fd, std::size_t size, int protection) {
  void* const place = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  if (place == MAP_FAILED) return fail_errno("map memory for generated code");
  return static_cast<std::byte*>(place);
}

/// Code was changed through another linear address than it is executed at (SDM 3A 8.1.3).
void serialize() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  __cpuid(0, eax, ebx, ecx, edx);
}

}  // namespace

Result<CodeMemory> CodeMemory::create(std::size_t capacity) {
  const UniqueFd fd(::memfd_create("doppel-code", MFD_CLOEXEC));
  if (!fd.valid()) return fail_errno("memfd_create for generated code");
  if (::ftruncate(fd.get(), static_cast<off_t>(capacity)) != 0) return fail_errno("size memory for generated code");
  CodeMemory memory;
  memory.capacity_ = capacity;
  DOPPEL_ASSIGN(memory.writable_, map(fd.get(), capacity, PROT_READ | PROT_WRITE));
  DOPPEL_ASSIGN(memory.executable_, map(fd.get(), capacity, PROT_READ | PROT_EXEC));
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

void CodeMemory::clear() {
  used_ = 0;
  serialize();
}

}  // namespace doppel::accel::soft
