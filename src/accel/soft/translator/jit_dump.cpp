#include "accel/soft/translator/jit_dump.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <ctime>

#include "accel/soft/translator/perf_map.h"
#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

namespace {

// The file's structures, in the host's byte order.
struct FileHeader {
  std::uint32_t magic = 0x4a695444;  // "JiTD"
  std::uint32_t version = 1;
  std::uint32_t size = sizeof(FileHeader);
  std::uint32_t machine = EM_X86_64;
  std::uint32_t reserved = 0;
  std::uint32_t pid = 0;
  std::uint64_t timestamp = 0;
  std::uint64_t flags = 0;
};
static_assert(sizeof(FileHeader) == 40);

enum class RecordKind : std::uint32_t { kLoad = 0, kClose = 3 };

struct RecordHeader {
  RecordKind kind = RecordKind::kLoad;
  std::uint32_t size = 0;  // of all of the record
  std::uint64_t timestamp = 0;
};
static_assert(sizeof(RecordHeader) == 16);

/// Behind it the name with its zero, and the code.
struct LoadRecord {
  RecordHeader header;
  std::uint32_t pid = 0;
  std::uint32_t tid = 0;
  std::uint64_t runtime_address = 0;
  std::uint64_t address = 0;
  std::uint64_t code_size = 0;
  std::uint64_t index = 0;
};
static_assert(sizeof(LoadRecord) == 56);

/// By the clock of `perf record -k mono`.
std::uint64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec);
}

template <class T>
std::string_view bytes_of(const T& structure) {
  return {reinterpret_cast<const char*>(&structure), sizeof structure};
}

}  // namespace

std::string JitDump::usual_path() {
  return fmt::format("jit-{}.dump", ::getpid());
}

Result<std::unique_ptr<JitDump>> JitDump::create(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return fail_errno("cannot open '{}'", path);
  void* const mark = ::mmap(nullptr, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), PROT_READ | PROT_EXEC,
                            MAP_PRIVATE, file.get(), 0);
  if (mark == MAP_FAILED) return fail_errno("cannot map '{}'", path);
  std::unique_ptr<JitDump> dump(new JitDump(std::move(file), mark));
  dump->write(bytes_of(FileHeader{.pid = static_cast<std::uint32_t>(::getpid()), .timestamp = now()}));
  return dump;
}

JitDump::~JitDump() {
  write(bytes_of(RecordHeader{.kind = RecordKind::kClose, .size = sizeof(RecordHeader), .timestamp = now()}));
  ::munmap(mark_, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
}

void JitDump::translated(const FreshTranslation& fresh) {
  const std::string symbol = symbol_of(fresh.translation.key.linear);
  load(fresh.hot, symbol);
  load(fresh.cold, symbol + "_out");
}

void JitDump::gate_generated(const HostCode& gate) {
  load(gate, kGateSymbol);
}

void JitDump::load(const HostCode& code, std::string_view symbol) {
  if (code.bytes.empty()) return;
  const std::size_t size = sizeof(LoadRecord) + symbol.size() + 1 + code.bytes.size();
  const std::scoped_lock lock(mutex_);
  const LoadRecord record{
      .header = {.kind = RecordKind::kLoad, .size = static_cast<std::uint32_t>(size), .timestamp = now()},
      .pid = static_cast<std::uint32_t>(::getpid()),
      .tid = static_cast<std::uint32_t>(::gettid()),
      .runtime_address = code.address,
      .address = code.address,
      .code_size = code.bytes.size(),
      .index = loaded_++};
  std::string whole(bytes_of(record));
  whole += symbol;
  whole += '\0';
  whole.append(reinterpret_cast<const char*>(code.bytes.data()), code.bytes.size());
  write(whole);
}

/// At once, so that a process which is killed leaves whole records. A full disk costs names alone.
void JitDump::write(std::string_view record) const {
  (void)!::write(file_.get(), record.data(), record.size());
}

}  // namespace doppel::accel::soft
