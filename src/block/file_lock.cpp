#include "block/file_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>

#include "base/bits.h"

namespace doppel::block {
namespace {

using namespace std::chrono_literals;

// A shared lock on byte 100 + n says "I use permission n", on byte 200 + n "nobody else may". Who comes looks whether
// somebody holds the opposite byte.
constexpr off_t kUsedBase = 100;
constexpr off_t kUnsharedBase = 200;
constexpr unsigned kPermissionBits = 4;
// For the kernel to drop a dead process's lock.
constexpr auto kPatience = 1000ms;
constexpr auto kBetweenTries = 20ms;

struct flock one_byte(short type, off_t byte) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

using Directory = std::unique_ptr<DIR, int (*)(DIR*)>;
Directory open_directory(const std::string& path) {
  return {::opendir(path.c_str()), [](DIR* directory) { return ::closedir(directory); }};
}

/// Does descriptor FD of process PID hold an open-file-description lock? /proc/PID/fdinfo lists them.
bool holds_lock(const std::string& process, const char* fd) {
  std::ifstream info(process + "/fdinfo/" + fd);
  for (std::string line; std::getline(info, line);)
    if (line.find("OFDLCK") != std::string::npos) return true;
  return false;
}

/// Does PROCESS, a directory of /proc, have the file open and locked, but by a descriptor called EXCEPT?
bool has_locked(const std::string& process, const struct stat& file, const std::string& except) {
  const Directory fds = open_directory(process + "/fd");
  if (!fds) return false;
  while (const dirent* entry = ::readdir(fds.get())) {
    if (entry->d_name == except) continue;
    struct stat open_file{};
    if (::stat((process + "/fd/" + entry->d_name).c_str(), &open_file) == 0 && open_file.st_dev == file.st_dev &&
        open_file.st_ino == file.st_ino && holds_lock(process, entry->d_name))
      return true;
  }
  return false;
}

std::optional<std::string> describe_holder(int fd) {
  struct stat file{};
  const Directory processes = open_directory("/proc");
  if (::fstat(fd, &file) != 0 || !processes) return std::nullopt;
  while (const dirent* entry = ::readdir(processes.get())) {
    const std::string_view pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != std::string_view::npos) continue;
    const std::string process = "/proc/" + std::string(pid);
    const bool ours = pid == std::to_string(::getpid());
    if (!has_locked(process, file, ours ? std::to_string(fd) : "")) continue;
    if (ours) return "this program itself";
    std::string name;
    std::getline(std::ifstream(process + "/comm"), name);
    return fmt::format("process {} ({})", pid, name);
  }
  return std::nullopt;
}

/// Somebody else's lock on BYTE? Never ours: locks of one open file do not conflict.
bool locked_by_another(int fd, off_t byte) {
  auto lock = one_byte(F_WRLCK, byte);
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/// What others use the file for, and so we cannot.
enum class Conflict : std::uint8_t { kNone, kTheyWrite, kNobodyMayWrite };

Result<Conflict> try_lock(int fd, const std::string& path, FilePermissions permissions) {
  for (unsigned n = 0; n < kPermissionBits; ++n)
    for (const auto& [bits, base] : {std::pair{permissions.used, kUsedBase}, {permissions.unshared, kUnsharedBase}}) {
      if (!test_bit(bits, n)) continue;
      auto lock = one_byte(F_RDLCK, base + static_cast<off_t>(n));
      if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) continue;
      if (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP)
        return Conflict::kNone;  // this file system has no locks
      if (errno == EAGAIN || errno == EACCES)
        return base == kUnsharedBase ? Conflict::kTheyWrite : Conflict::kNobodyMayWrite;
      return fail_errno("cannot lock '{}'", path);
    }
  for (unsigned n = 0; n < kPermissionBits; ++n) {
    const auto byte = static_cast<off_t>(n);
    if (test_bit(permissions.unshared, n) && locked_by_another(fd, kUsedBase + byte)) return Conflict::kTheyWrite;
    if (test_bit(permissions.used, n) && locked_by_another(fd, kUnsharedBase + byte)) return Conflict::kNobodyMayWrite;
  }
  return Conflict::kNone;
}

}  // namespace

Result<> lock_file(int fd, const std::string& path, FilePermissions permissions) {
  DOPPEL_ASSIGN(Conflict conflict, try_lock(fd, path, permissions));
  std::optional<std::string> holder = conflict == Conflict::kNone ? std::nullopt : describe_holder(fd);
  // A lock that no process has: of one that was killed, whose io_uring the kernel has yet to take apart.
  for (auto waited = 0ms; conflict != Conflict::kNone && !holder && waited < kPatience; waited += kBetweenTries) {
    std::this_thread::sleep_for(kBetweenTries);
    DOPPEL_ASSIGN(conflict, try_lock(fd, path, permissions));
  }
  if (conflict == Conflict::kNone) return {};
  const std::string who = holder.value_or("a process that cannot be seen");
  if (conflict == Conflict::kTheyWrite)
    return fail(ErrorKind::kBusy, "'{}' is locked: {} has it open for writing", path, who);
  return fail(ErrorKind::kBusy, "'{}' is locked: {} uses it and lets nobody write to it", path, who);
}

}  // namespace doppel::block
